"""How many messages a second the sandbox takes on one core, with 100,000 members.

Run `python -m benchmarks.sandbox_throughput`.

The client runs in this process, the sandbox in its own; each is pinned to a core where there are two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import suppress

import aiohttp

from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

GOAL_PER_SECOND = 2000


def big_company(members: int) -> dict[str, object]:
    """Departments of 500, all under one that the app sees."""
    count = members // 500
    departments = [{"id": number, "name": f"部门{number}", "parentid": 2} for number in range(100, 100 + count)]
    people = [
        {"userid": f"user{number}", "name": f"员工{number}", "department": [100 + number % count]}
        for number in range(members)
    ]
    base = company()
    return {**base, "departments": base["departments"] + departments, "members": people, "tags": []}


async def load(base_url: str, seconds: float, connections: int, members: int) -> int:
    """Send texts to two members each until the time is over. Returns how many were accepted."""
    accepted = 0
    deadline = time.monotonic() + seconds
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        query = {"corpid": CORPID, "corpsecret": SECRET}
        async with session.get(f"{base_url}/cgi-bin/gettoken", params=query) as answer:
            token = (await answer.json())["access_token"]
        url = f"{base_url}/cgi-bin/message/send?access_token={token}"

        async def sender(offset: int) -> None:
            nonlocal accepted
            number = offset
            while time.monotonic() < deadline:
                number += connections
                people = f"user{number % members}|User{(number * 7) % members}"
                message = {
                    "touser": people,
                    "msgtype": "text",
                    "agentid": AGENTID,
                    "text": {"content": f"报告 {number}"},
                }
                body = {**message, "enable_duplicate_check": 1}
                async with session.post(url, json=body) as answer:
                    result = await answer.json()
                assert result["errcode"] == 0, result
                accepted += 1

        await asyncio.gather(*(sender(offset) for offset in range(connections)))
    return accepted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--members", type=int, default=100_000)
    options = parser.parse_args()
    started = time.monotonic()
    seed = {"companies": [big_company(options.members)], "settings": {"limits_enabled": False}}
    with start_sandbox(seed=seed) as sandbox:
        print(f"{options.members} members loaded in {time.monotonic() - started:.1f} s")
        with suppress(OSError, AttributeError):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[0]})
            os.sched_setaffinity(sandbox.pid, {cores[-1]})
        accepted = asyncio.run(load(sandbox.base_url, options.seconds, options.connections, options.members))
    rate = accepted / options.seconds
    print(f"{rate:.0f} messages a second ({accepted} in {options.seconds:g} s); goal {GOAL_PER_SECOND}")
    if rate < GOAL_PER_SECOND:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
