"""How soon a web process that was just started replies to WeCom's first callback, with a thousand events waiting.

Run `python -m benchmarks.callback_reply [--rounds N]`. Each round starts gunicorn as README's command does, with one
worker, on a PostgreSQL and a Valkey of this machine, and posts one event, sealed by wechatpy.

* `first reply`: the worker has loaded the program and has answered nothing that touches database or Valkey;
* `from the start`: the event is posted as soon as the port is open, and waits until the worker has loaded the program.

Goal: the first reply within 1 s; WeCom itself gives up after 5 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import requests

from benchmarks import goals
from benchmarks.goals import Goal
from benchmarks.push_world import World, running_world, until
from tests.e2e.stack import BIN, Program, running, wait_for_http
from tests.sandbox_process import ROOT
from tools.services import free_port

if TYPE_CHECKING:
    from tests.integrations.callback_sender import Sender

GOAL_MILLISECONDS = 1000
WAITING_EVENTS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with running_world() as world:
        sender = _sender()
        first = [_measured(world, sender, number, is_loaded=True) for number in range(rounds)]
        whole = [_measured(world, sender, rounds + number, is_loaded=False) for number in range(rounds)]
    print(f"first reply: median {statistics.median(first):.0f} ms, longest {max(first):.0f} ms")
    print(f"from the start: median {statistics.median(whole):.0f} ms, longest {max(whole):.0f} ms")
    goal = Goal.of("callback: longest first reply of a new process", max(first), "≤", GOAL_MILLISECONDS, "ms")
    return 0 if goals.report([goal]) else 1


def _sender() -> Sender:
    """To the address of a company whose events wait in their hundreds; at WeCom's address nobody listens."""
    from integrations.models import CallbackEvent, Corp, EventWork
    from tests.integrations.callback_sender import Sender, with_keys

    corp = with_keys(Corp(name="北山制造", secret="s", is_enabled=True, api_base_url=f"http://127.0.0.1:{free_port()}"))
    now = datetime.now(UTC)
    times = {"happened_at": now, "received_at": now}
    events = [
        CallbackEvent(corp=corp, kind="app", key=f"waiting{number}", event="subscribe", is_event=True, body="", **times)
        for number in range(WAITING_EVENTS)
    ]
    made = CallbackEvent.objects.bulk_create(events)
    EventWork.objects.bulk_create(EventWork(event=one, corp=corp, consumer="integrations.directory") for one in made)
    return Sender(f"/wecom/{corp.pk}/events/")


def _measured(world: World, sender: Sender, number: int, *, is_loaded: bool) -> float:
    """Milliseconds until the reply: from the post of an event on, or from the program's start on."""
    from tests.integrations.callback_sender import AGENTID, event_xml

    port = free_port()
    command = [str(BIN / "gunicorn"), "guanwecom.wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    command += ["--threads", "8", "--no-control-socket"]
    plaintext = event_xml(name="subscribe", created_at=int(time.time()), AgentID=AGENTID).replace("sys", f"u{number}")
    query, body = sender.sealed(plaintext)
    started = time.perf_counter()
    with ExitStack() as exits:
        web = exits.enter_context(running(f"web{number}", command, env=world.env, folder=world.folder, cwd=ROOT))
        if is_loaded:
            wait_for_http(f"http://127.0.0.1:{port}/static/nothing", web)
            started = time.perf_counter()
        else:
            _wait_for_port(web)
        _post(f"http://127.0.0.1:{port}{sender.path}", query, body)
        return (time.perf_counter() - started) * 1000


def _wait_for_port(web: Program) -> None:
    until(lambda: "Listening at" in web.log.read_text(errors="replace"), seconds=60, pause=0.01)


def _post(url: str, query: dict[str, str], body: bytes) -> None:
    answer: Any = requests.post(url, params=query, data=body, timeout=60)
    if (answer.status_code, answer.content) != (200, b""):
        raise RuntimeError(f"HTTP {answer.status_code}")


if __name__ == "__main__":
    sys.exit(main())
