"""Measure the cost of the WeCom client per call: `python -m benchmarks.client_overhead [--calls N] [--rounds N]`.

It calls one server on this machine, by turns in each round, with our client (message/send, a shared token store), a
bare `requests.Session` that only posts the same bytes and reads the JSON, the same session with its defaults (which
read the environment for proxies), and wechatpy. It prints processor time per call, and its ratio to that of the bare
session (medians over the rounds).

Goal: at most 1.15 times the processor time of the bare session.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from wechatpy.enterprise import WeChatClient

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import goals
from benchmarks.goals import Goal
from benchmarks.stand_in import run_stand_in
from integrations.clients.transport import open_session
from integrations.clients.wecom.builders import build_app_message, build_text_content, encode_body
from integrations.clients.wecom.calls import Wire
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.tokens import FetchedToken, TrialTokens

GOAL = 1.15
CORPID, AGENTID, TOKEN = "ww1a2b3c4d5e6f7a8b", 1000002, "sim-" + "A" * 200
CONTENT = build_text_content("营收 1.2 亿,环比 +3.4%。" * 10)
BODY = encode_body(build_app_message(agentid=AGENTID, userids=["lilei"], content=CONTENT))
ANSWER = b'{"errcode":0,"errmsg":"ok","invaliduser":"","invalidparty":"","invalidtag":"","msgid":"sim-msg-0001"}'
Call = Callable[[], object]


def make_answer(_request: bytes) -> bytes:
    """Return the same answer to every request."""
    return ANSWER


def make_client_call(url: str) -> Call:
    """Return a call of our client."""
    store = TrialTokens()
    store.get(CORPID, AGENTID, lambda: FetchedToken(TOKEN, 7200))
    wire = Wire(session=open_session(), base_url=url)
    client = WeComClient(corpid=CORPID, agentid=AGENTID, secret="unused", token_store=store, wire=wire)
    return lambda: client.message_send(BODY)


def make_bare_call(url: str, *, trust_env: bool = False) -> Call:
    """Return a call that uses requests directly, without a client."""
    session = requests.Session()
    session.trust_env = trust_env
    session.mount("http://", HTTPAdapter(pool_maxsize=32))
    address, headers = f"{url}/cgi-bin/message/send", {"Content-Type": "application/json"}

    def call() -> object:
        answer = session.post(address, params={"access_token": TOKEN}, data=BODY, headers=headers, timeout=(5, 15))
        result: dict[str, Any] = answer.json()
        assert result["errcode"] == 0
        return result

    return call


def make_wechatpy_call(url: str) -> Call:
    """Return a call of wechatpy, the most used library."""
    client = WeChatClient(CORPID, "unused", TOKEN, timeout=15)
    client.API_BASE_URL = f"{url}/cgi-bin/"
    client._http.mount("http://", HTTPAdapter(pool_maxsize=32))
    client.expires_at = int(time.time()) + 7200
    content = "营收 1.2 亿,环比 +3.4%。" * 10
    return lambda: client.message.send_text(AGENTID, ["lilei"], content)


def measure_processor_seconds(call: Call, count: int) -> float:
    """Return the processor time per call."""
    started = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - started) / count


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the cost of calls to WeCom.")
    parser.add_argument("--calls", type=int, default=300, help="calls in each round (300)")
    parser.add_argument("--rounds", type=int, default=11, help="rounds of every contender (11)")
    options = parser.parse_args()
    with run_stand_in(make_answer) as url:
        contenders = {
            "bare session": make_bare_call(url),
            "our client": make_client_call(url),
            "bare session, reading the environment": make_bare_call(url, trust_env=True),
            "wechatpy": make_wechatpy_call(url),
        }
        for call in contenders.values():
            measure_processor_seconds(call, 50)
        rounds = [
            {name: measure_processor_seconds(call, options.calls) for name, call in contenders.items()}
            for _ in range(options.rounds)
        ]
        ratio = _print_costs(rounds)
    goal = Goal.of("call to WeCom: processor time, relative to a bare session", ratio, "≤", GOAL, digits=2)
    return 0 if goals.report_goals([goal]) else 1


def _print_costs(rounds: list[dict[str, float]]) -> float:
    """Print a line for each contender. Return the ratio of our client."""
    ratios = {}
    for name in rounds[0]:
        microseconds = statistics.median(each[name] for each in rounds) * 1e6
        ratios[name] = statistics.median(each[name] / each["bare session"] for each in rounds)
        spread = [each[name] / each["bare session"] for each in rounds]
        print(
            f"{name:40} {microseconds:7.0f} µs of processor per call, {ratios[name]:.2f} × bare"
            f" ({min(spread):.2f} to {max(spread):.2f})"
        )
    return ratios["our client"]


if __name__ == "__main__":
    sys.exit(main())
