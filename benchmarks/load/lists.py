"""Administrators search while receipts are written."""

from __future__ import annotations

import asyncio
import threading
import time

from benchmarks.goals import Found, Goal
from benchmarks.load import traffic
from benchmarks.load.town import administrator_cookie, make_company, start_web
from benchmarks.load.traffic import Answer, ask
from benchmarks.push_orders import order_push, run_to_end
from benchmarks.push_world import make_people, process_seconds, running_world

PEOPLE, ADMINISTRATORS, PAUSE_SECONDS = 100_000, 4, 0.5
GOAL_MILLISECONDS = 300
QUIET_SECONDS = 20
PATHS = (
    "/admin/notifications/receipt/",
    "/admin/notifications/receipt/?q=1-777",
    "/admin/notifications/receipt/?status=accepted",
    "/admin/notifications/delivery/?q=日报",
    "/admin/notifications/run/",
    "/admin/notifications/subscription/?q=日报",
    "/admin/accounts/user/?q=77777",
)


def lists(people: int = PEOPLE) -> Found:
    """One content to 100,000 people, and again until there are a hundred answers; before that the same quietly."""
    with running_world() as world:
        corp = make_company(world, 1000)
        make_people(corp, people)
        port, web = start_web(world)
        cookie = administrator_cookie()
        world.start_worker(0, 8, gives_way=True)
        _search(port, cookie, _after(5))  # all is loaded then
        run_to_end(order_push(to_everyone=True))  # something to search in
        quiet = _search(port, cookie, _after(QUIET_SECONDS))
        is_over, receipts = threading.Event(), [people]
        answers: list[Answer] = []
        searching = threading.Thread(target=lambda: answers.extend(_search(port, cookie, is_over)))
        started, used = time.perf_counter(), process_seconds(web.process.pid)
        searching.start()
        run_to_end(order_push(to_everyone=True))
        while time.perf_counter() - started < QUIET_SECONDS:
            run_to_end(order_push(to_everyone=True))
            receipts.append(people)
        seconds = time.perf_counter() - started
        is_over.set()
        searching.join()
        used = process_seconds(web.process.pid) - used
    p95 = traffic.percentile((one.seconds for one in answers), 95)
    figures = {
        "receipts": sum(receipts),
        "seconds": round(seconds, 1),
        "p95_ms": p95,
        "p50_ms": traffic.percentile((one.seconds for one in answers), 50),
        "web_processor_ms_per_list": round(1000 * used / max(1, len(answers)), 1),
        "p95_ms_without_writing": traffic.percentile((one.seconds for one in quiet), 95),
        **{name: value for name, value in traffic.summary(answers).items() if name in {"requests", "other_answers"}},
    }
    work = "lists while 100,000 receipts are written"
    return figures, [
        Goal.of(f"{work}: p95", p95, "≤", GOAL_MILLISECONDS, "ms", digits=1),
        Goal.of(f"{work}: failed", sum(one.status != 200 for one in answers), "=", 0),
    ]


def _after(seconds: float) -> threading.Event:
    """Set after so long."""
    event = threading.Event()
    timer = threading.Timer(seconds, event.set)
    timer.daemon = True
    timer.start()
    return event


def _search(port: int, cookie: str, is_over: threading.Event) -> list[Answer]:
    answers: list[Answer] = []

    async def administrator(number: int) -> None:
        while not is_over.is_set():
            path = PATHS[number % len(PATHS)].replace("日报", "%E6%97%A5%E6%8A%A5")
            answers.append(await ask(port, traffic.get(path, cookies=cookie)))
            number += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def all_of_them() -> None:
        await asyncio.gather(*map(administrator, range(ADMINISTRATORS)))

    asyncio.run(all_of_them())
    return answers
