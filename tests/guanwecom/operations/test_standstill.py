"""Real processes are killed. The health address, the index and mails to operators report it, and its end."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db.models import F
from django.test import Client
from redis import Redis

from guanwecom.operations.watch import CONFIRMED_AFTER
from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import EngineWatch, Heartbeat
from notifications.models import Delivery, Run, Subscription, TickClaim
from tests.e2e.stack import BIN, Program, Stack
from tests.e2e.waiting import eventually
from tests.notifications.factories import make_corp, make_person, make_run, make_subscription, make_superuser
from tests.programs import needs
from tests.sandbox_process import start_sandbox
from tools.services import start_valkey

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
TOKEN = "invented-token-of-at-least-32-characters"


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    """A stack whose processes write mails into their logs."""
    ours = {"METRICS_TOKEN": TOKEN, "EMAIL_URL": "consolemail://", "OPERATOR_EMAILS": "ops@example.com"}
    with start_sandbox() as sandbox:
        yield Stack(env={**process_environ, **ours}, root=project_root, folder=tmp_path, sandbox=sandbox)


def begin_worker(stack: Stack, exits: ExitStack, name: str, queues: str) -> Program:
    options = ["--pool", "threads", "--concurrency", "4", "--loglevel", "INFO", "-Q", queues, "-n", f"{name}@%h"]
    return stack.start(name, [str(BIN / "celery"), "-A", "guanwecom", "worker", *options], exits)


def engine(stack: Stack) -> tuple[int, dict[str, Any]]:
    url, headers = f"{stack.web_url}/healthz/engine", {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(url, headers=headers, timeout=60)
    return answer.status_code, answer.json()


def problems(stack: Stack) -> tuple[int, list[str]]:
    code, document = engine(stack)
    return code, document["problems"]


def mails(stack: Stack) -> list[str]:
    """Return the texts of the mails, in no order.

    Workers log each mail as an event, other processes write it as it is. A restarted process has a log of the same
    name.
    """
    lines = "".join(path.read_text(errors="replace") for path in stack.folder.glob("*.log")).split("\n")
    written = [json.loads(line)["event"] if line[:1] == "{" and line[-1:] == "}" else line for line in lines]
    texts = "\n".join(written).split("Subject: ")[1:]
    return [part.partition("\n\n")[2].partition("-----")[0] for part in texts]


def count_mails(stack: Stack, words: str) -> int:
    return sum(words in mail for mail in mails(stack))


def let_pass(problems: list[str]) -> None:
    """Wait until the watch has found these problems, and let them have lasted long enough to be told."""
    found = EngineWatch.objects.filter(found=",".join(sorted(problems)))
    eventually(found.exists)
    found.update(found_since=F("found_since") - CONFIRMED_AFTER)


def test_a_full_valkey_and_killed_processes_are_told_of_once_each_and_so_is_the_end(stack: Stack) -> None:
    service = start_valkey()
    stack.env["VALKEY_URL"] = service.url
    programs = stack.programs.values()
    with ExitStack() as exits, Redis.from_url(service.url) as store:
        exits.callback(service.stop)
        stack.begin_web(exits)
        doomed = [begin_worker(stack, exits, "main", "urgent,celery"), begin_worker(stack, exits, "data", "data")]
        doomed.append(stack.begin_beat(exits))
        stack.wait_for_web()
        eventually(lambda: problems(stack) == (200, []), programs)

        store.config_set("maxmemory", 1)
        eventually(lambda: problems(stack) == (503, ["valkey:memory full"]), programs)
        let_pass(["valkey:memory full"])
        (mail,) = eventually(lambda: mails(stack), programs)
        assert "Valkey 的内存已满" in mail
        for program in doomed:
            program.kill()
        # The heartbeats of the dead grow old at once.
        dead = Heartbeat.objects.exclude(kind=Heartbeat.Kind.WEB)
        dead.update(beat_at=F("beat_at") - timedelta(seconds=STALE_SECONDS))
        eventually(lambda: problems(stack) == (503, ["valkey:memory full", "beat"]), programs)
        store.config_set("maxmemory", 0)

        stopped = ["beat", "queue:urgent", "queue:celery", "queue:data"]
        eventually(lambda: problems(stack) == (503, stopped), programs)
        subscription = make_subscription(crontab="* * * * *", now=datetime.now(UTC))
        due = Subscription.objects.filter(pk=subscription.pk)
        due.update(next_run_at=datetime.now(UTC) - timedelta(minutes=2))
        eventually(lambda: engine(stack)[1]["overdue"]["count"] == 1, programs)
        assert requests.get(f"{stack.web_url}/healthz/ready", timeout=60).status_code == 200
        client = Client()
        client.force_login(make_superuser())
        text = client.get("/admin/").text
        assert "beat 没有运行：定时推送和预警都不会开始。" in text
        assert "systemctl restart guanwecom-beat" in text
        assert text.count("没有 worker 处理队列") == 3
        let_pass(stopped)
        eventually(lambda: count_mails(stack, "没有 worker 处理队列“data”") == 1, programs)
        assert not Run.objects.exists()

        begin_worker(stack, exits, "main-again", "urgent,celery")
        begin_worker(stack, exits, "data-again", "data")
        stack.begin_beat(exits, "beat-again")
        eventually(lambda: problems(stack) == (200, []), programs)
        let_pass([])
        eventually(lambda: count_mails(stack, "beat 和所有队列的 worker 都在运行。") == 1, programs)
        eventually(Run.objects.exists, programs)

    assert count_mails(stack, "没有 worker 处理队列“data”") == 1
    assert count_mails(stack, "beat 和所有队列的 worker 都在运行。") == 1
    # One more if Valkey was full for twenty seconds after beat ended.
    assert len(mails(stack)) in {3, 4}


def wait_for_a_message(*, tomorrow: datetime) -> None:
    """Make a message that waits until then, so that each tick has something to look at."""
    corp = make_corp()
    run = make_run(make_subscription(make_person(corp, "lilei")), status=Run.Status.SENDING)
    Delivery.objects.create(
        **{"run": run, "corp": corp, "channel": "wecom", "message_form": "text", "created_at": run.claimed_at},
        **{"text": "x", "corpid": corp.corpid, "agentid": corp.agentid, "body": b"{}", "language": "en"},
        **{"recipient_count": 1, "next_attempt_at": tomorrow, "expires_at": tomorrow},
    )


def ticked_period() -> int:
    return sum(TickClaim.objects.values_list("period", flat=True))


def has_ticked_since(period: int) -> bool:
    return ticked_period() > period


@needs("faketime")
def test_wrong_clocks_of_beat_s_hosts_hold_nothing_up(stack: Stack) -> None:
    """Run two beats with wrong clocks. Some ticks come in each state, and none waits for the other host's clock."""
    offset = stack.folder / "offset"
    library = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/faketime/libfaketimeMT.so.1"
    faked = {
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    wait_for_a_message(tomorrow=datetime.now(UTC) + timedelta(days=1))
    with ExitStack() as exits:
        begin_worker(stack, exits, "main", "urgent,celery")
        stack.env |= {**faked, "LD_PRELOAD": library}
        offset.write_text("+0")
        stack.begin_beat(exits)
        stack.begin_beat(exits, "second")
        eventually(partial(has_ticked_since, 0), stack.programs.values())
        for wrong in ("+3h", "-14h"):
            offset.write_text(wrong)
            eventually(partial(has_ticked_since, ticked_period() + 4), stack.programs.values(), seconds=60)
