"""An hour's traffic in a few minutes, and what the programs hold meanwhile."""

from __future__ import annotations

import asyncio
import statistics
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from benchmarks.goals import Found, Goal
from benchmarks.load import traffic
from benchmarks.load.bursts import ALL_FROM_HERE, SignIns, company_keys, events
from benchmarks.load.town import administrator_cookie, make_company, start_beat, start_web
from benchmarks.load.traffic import Answer, ask, pour
from benchmarks.push_world import World, make_personal_messages, running_world

# Of a company of 10,000 people in its busiest hour.
PEOPLE = 2000
SIGN_INS, CALLBACKS, LISTS, MESSAGES = 2500, 1500, 1000, 10_000
SAMPLE_SECONDS, BATCH_SECONDS = 2, 5
# Where the machine cannot do an hour's work in this while, what is under way after so long is broken off.
LAST_SECONDS = 15
# What may come between the second quarter and the last one.
MEMORY_GROWTH, MORE_DESCRIPTORS = 1.05, 5


def hour(minutes: float = 3) -> Found:
    """Sign-ins, callbacks, lists and messages, all at once."""
    with running_world(**ALL_FROM_HERE) as world:
        corp = make_company(world, PEOPLE)
        company_keys(corp)
        port, web = start_web(world)
        world.start_worker(0, 8)
        beat = start_beat(world)
        programs = {"web": web.process.pid, "worker": world.workers[0].pid, "beat": beat.process.pid}
        is_over = threading.Event()
        samples: dict[str, list[tuple[float, int]]] = defaultdict(list)
        beside = [
            threading.Thread(target=_sample, args=(programs, samples, is_over)),
            threading.Thread(target=_order, args=(corp, minutes, is_over)),
        ]
        for thread in beside:
            thread.start()
        answers, visits, is_whole = asyncio.run(_traffic(world, port, corp, minutes))
        is_over.set()
        for thread in beside:
            thread.join()
        from notifications.models import Delivery

        accepted = Delivery.objects.filter(status="accepted").count()
    found = {name: _growth(name, held) for name, held in samples.items()}
    figures = {
        "minutes": minutes,
        "is_whole": is_whole,
        "sign_ins": visits.are_in.total(),
        "accepted": accepted,
        **traffic.summary(answers + visits.answers),
        "programs": {name: program for name, (program, _goals) in found.items()},
    }
    whole = Goal("an hour's traffic: done", "all" if is_whole else "broken off", "all", is_whole)
    return figures, [whole, *(goal for _program, goals in found.values() for goal in goals)]


async def _traffic(world: World, port: int, corp: Any, minutes: float) -> tuple[list[Answer], SignIns, bool]:
    """Answers to lists and callbacks, the sign-ins, and whether all came to an end."""
    seconds, answers = minutes * 60, list[Answer]()
    visits = SignIns(world, port, corp, PEOPLE)
    cookie = await asyncio.to_thread(administrator_cookie)
    paths = ("/admin/notifications/receipt/", "/admin/notifications/run/", "/admin/accounts/user/?q=77", "/admin/")

    def asking(request: bytes) -> Callable[[float], Any]:
        async def visit(since: float) -> None:
            answers.append(await ask(port, request, since=since))

        return visit

    def signing_in(number: int) -> Callable[[float], Any]:
        return lambda since: visits.sign_in(number, since)

    lists = [asking(traffic.get(paths[number % len(paths)], cookies=cookie)) for number in range(LISTS)]
    callbacks = [asking(request) for request in await asyncio.to_thread(lambda: list(events(corp, CALLBACKS)))]
    sign_ins = [signing_in(number) for number in range(SIGN_INS)]
    try:
        async with asyncio.timeout(seconds + LAST_SECONDS):
            await asyncio.gather(
                *(pour(these, per_second=len(these) / seconds) for these in (lists, callbacks, sign_ins))
            )
    except TimeoutError:
        return answers, visits, False
    return answers, visits, True


def _order(corp: Any, minutes: float, is_over: threading.Event) -> None:
    """Messages that are due at once, every few seconds; beat hands them out."""
    count = max(1, round(MESSAGES * BATCH_SECONDS / (minutes * 60)))
    from django.db import connection

    while not is_over.wait(BATCH_SECONDS):
        make_personal_messages([corp], min(count, PEOPLE))
    connection.close()


def _sample(programs: dict[str, int], samples: dict[str, list[tuple[float, int]]], is_over: threading.Event) -> None:
    """Megabytes and descriptors of each program with its children."""
    while not is_over.wait(SAMPLE_SECONDS):
        for name, pid in programs.items():
            with suppress(psutil.NoSuchProcess):
                first = psutil.Process(pid)
                processes = [first, *first.children(recursive=True)]
                held = sum(one.memory_info().rss for one in processes) / 2**20
                samples[name].append((held, sum(one.num_fds() for one in processes)))


def _growth(name: str, held: list[tuple[float, int]]) -> Found:
    """Medians of the second quarter, after all is loaded, and of the last."""
    quarter = len(held) // 4
    before, after = held[quarter : 2 * quarter], held[-quarter:]
    megabytes = [round(statistics.median(one[0] for one in part), 1) for part in (before, after)]
    descriptors = [round(statistics.median(one[1] for one in part)) for part in (before, after)]
    growth, more = megabytes[1] / megabytes[0], descriptors[1] - descriptors[0]
    goals = [
        Goal.of(
            f"an hour's traffic, {name}: memory, of that of the second quarter", growth, "≤", MEMORY_GROWTH, digits=2
        ),
        Goal.of(f"an hour's traffic, {name}: descriptors more than then", more, "≤", MORE_DESCRIPTORS),
    ]
    is_flat = all(goal.is_met for goal in goals)
    return {"megabytes": megabytes, "descriptors": descriptors, "is_flat": is_flat}, goals
