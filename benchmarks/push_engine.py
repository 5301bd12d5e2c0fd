"""How fast the push engine is, and that it never crosses a limit: real workers, PostgreSQL, Valkey, the sandbox.

Run `python -m benchmarks.push_engine [NAME …]`; without names all of them, which takes about ten minutes. Each has
servers of its own, on this machine; its figures are added to benchmarks/results/. benchmarks/README.md has them.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from benchmarks.push_world import (
    World,
    make_corps,
    make_people,
    make_personal_messages,
    megabytes,
    running_world,
    until,
)
from tests.sandbox import AGENTID

RESULTS = Path(__file__).resolve().parent / "results"
WORKERS, THREADS, PARALLEL = 2, 4, 100
LATENCY_SECONDS = 0.05
LIMITS = (
    *("LIMIT_ADDRESS_PER_MINUTE", "LIMIT_COMPANY_PER_MINUTE", "LIMIT_COMPANY_PARALLEL"),
    *("LIMIT_MEMBER_PER_MINUTE", "LIMIT_MEMBER_PER_HOUR"),
)
NO_LIMITS = dict.fromkeys(LIMITS, "0")


def broadcast(people: int = 100_000) -> dict[str, Any]:
    """One content to many people, at no latency: from the claim to the last receipt."""
    with running_world() as world:
        world.start_sandbox(1, people, latency_seconds=0)
        [corp] = make_corps(world, 1)
        make_people(corp, people)
        run = _order(to_everyone=True)
        _start_workers(world)
        seconds = _run_to_end(run)
        from notifications.models import Delivery, Receipt

        calls = len(_sends(world))
        return {
            "people": people,
            "calls": calls,
            "receipts": Receipt.objects.count(),
            "accepted": Delivery.objects.filter(status="accepted").count(),
            "seconds": seconds,
            "people_per_second": people / seconds,
            "goal": "exactly 1 call for 1000 people; at least 10,000 people a second",
            "is_met": calls == -(-people // 1000) and people / seconds >= 10_000,
        }


def own_speed(count: int = 10_000, companies: int = 20) -> dict[str, Any]:
    """Personal messages with all limits off, beside a bare pool of threads with the same number of calls at once."""
    with running_world(**NO_LIMITS, SEND_PARALLEL_PER_TASK=str(PARALLEL)) as world:
        world.start_sandbox(companies, -(-count // companies), latency_seconds=LATENCY_SECONDS, limits_enabled=False)
        corps = make_corps(world, companies)
        bare = _bare_pool(world, count, companies)
        _start_workers(world)
        make_personal_messages(corps, count // 10)  # tokens, connections, threads
        _send_all(count // 10)
        make_personal_messages(corps, count)
        seconds = _send_all(count + count // 10)
        ours = count / seconds
        return {
            "messages": count,
            "companies": companies,
            "calls_at_once": WORKERS * THREADS * PARALLEL,
            "per_second": ours,
            "bare_requests_per_second": bare,
            "ratio": ours / bare,
            "goal": "at least 0.8 of a bare requests thread pool",
            "is_met": ours / bare >= 0.8,
        }


def memory(first: int = 10_000, total: int = 100_000) -> dict[str, Any]:
    """What the workers hold in memory after some messages, and after ten times as many."""
    with running_world(**NO_LIMITS, SEND_PARALLEL_PER_TASK=str(PARALLEL)) as world:
        world.start_sandbox(20, first // 20, latency_seconds=0, limits_enabled=False)
        corps = make_corps(world, 20)
        _start_workers(world)
        found = []
        for sent in range(first, total + 1, first):
            make_personal_messages(corps, first)
            _send_all(sent)
            found.append(megabytes(world))
        growth = max(after / before for before, after in zip(found[0], found[-1], strict=True))
        return {
            "messages": total,
            "megabytes_of_each_worker_after_every_10000": found,
            "growth_from_first_to_last": growth,
            "goal": "flat: at most a tenth more after 100,000 than after 10,000",
            "is_met": growth <= 1.1,
        }


def one_company(count: int = 30_000) -> dict[str, Any]:
    """Personal messages in one company with all limits on: how much of the allowed is used, and never more."""
    return _limited(count, companies=1, limit=10_000)


def one_address(count: int = 30_000) -> dict[str, Any]:
    """The same over many companies: the limit of the address binds."""
    return _limited(count, companies=20, limit=20_000)


def _limited(count: int, *, companies: int, limit: int) -> dict[str, Any]:
    with running_world(SEND_PARALLEL_PER_TASK=str(PARALLEL)) as world:
        world.start_sandbox(companies, -(-count // companies), latency_seconds=LATENCY_SECONDS)
        corps = make_corps(world, companies)
        make_personal_messages(corps, count)
        _start_workers(world)
        seconds = _send_all(count)
        calls = _sends(world)
        times = sorted(call["at"] for call in calls)
        whole_minutes = int((times[-1] - times[0]) // 60)
        first = bisect.bisect_left(times, times[0] + 60 * whole_minutes)
        used = first / (limit * whole_minutes) if whole_minutes else 0.0
        half = Counter(call["corpid"] for call in sorted(calls, key=lambda call: call["at"])[: len(calls) // 2])
        most = _most_in_a_minute(times)
        return {
            "messages": count,
            "companies": companies,
            "calls": len(calls),
            "seconds": seconds,
            "limit_per_minute": limit,
            "most_in_any_60_seconds": most,
            "used_of_the_allowed_in_whole_minutes": used,
            "refused_by_the_sandbox": sum(call["errcode"] != 0 for call in calls),
            "of_the_first_half_least_and_most_of_a_company": [min(half.values()), max(half.values())],
            "goal": "at least 95 % used, not one call above the limit in any 60 s, companies evenly",
            "is_met": used >= 0.95 and most <= limit and max(half.values()) - min(half.values()) <= 0.1 * limit,
        }


def due_at_once(due: int = 50_000, others: int = 950_000) -> dict[str, Any]:
    """Subscriptions due in one minute among very many: claimed and published, by one dispatcher and by two."""
    with running_world() as world:
        _subscriptions(due, others)
        from notifications.models import Run, Subscription

        slot = Subscription.objects.order_by("next_run_at").values_list("next_run_at", flat=True)[0]
        found: dict[str, Any] = {"due": due, "rows": due + others, "scans": _scans(slot or datetime.now(UTC))}
        for dispatchers in (1, 2):
            Run.objects.all().delete()
            Subscription.objects.filter(pk__lte=due).update(next_run_at=slot)
            spans = _dispatched(world, dispatchers)
            found[f"seconds_with_{dispatchers}"] = max(end for _start, end in spans) - min(start for start, _ in spans)
            found[f"runs_with_{dispatchers}"] = Run.objects.count()
        runs = {found["runs_with_1"], found["runs_with_2"]}
        goal = "all claimed and published within 10 s; a second dispatcher makes it faster, never doubles one"
        is_met = found["seconds_with_1"] <= 10 and runs == {due}
        return {**found, "goal": goal, "is_met": is_met and found["seconds_with_2"] < found["seconds_with_1"]}


def _scans(now: datetime) -> list[str]:
    """How PostgreSQL finds the next ones to claim."""
    from notifications import dispatch

    plan = dispatch._claimable(now).order_by("next_run_at")[: dispatch.BATCH].explain()
    return [line.strip(" ->").split("  (")[0] for line in plan.splitlines() if "Scan" in line]


def _dispatched(world: World, dispatchers: int) -> list[list[float]]:
    command = [sys.executable, "-m", "benchmarks.push_engine", "--dispatch"]
    running = [subprocess.Popen(command, env=world.env, stdout=subprocess.PIPE, text=True) for _ in range(dispatchers)]  # noqa: S603  # ourselves
    return [json.loads(process.communicate()[0]) for process in running]


def lag(due: int = 100) -> dict[str, Any]:
    """So many subscriptions due at the same minute, with a real beat: how late the last one is accepted."""
    with running_world() as world:
        world.start_sandbox(1, due, latency_seconds=LATENCY_SECONDS)
        [corp] = make_corps(world, 1)
        make_people(corp, due)
        _personal_subscriptions(corp)
        _start_workers(world)
        _start_beat(world)
        from notifications.models import Delivery

        until(lambda: Delivery.objects.filter(status="accepted").count() == due, seconds=150, pause=0.5)
        lags = sorted(
            (settled - slot).total_seconds()
            for settled, slot in Delivery.objects.values_list("settled_at", "run__slot_at")
            if settled is not None
        )
        return {
            "due": due,
            "median_seconds": statistics.median(lags),
            "last_seconds": lags[-1],
            "goal": "the last within 5 s",
            "is_met": lags[-1] <= 5,
        }


def idle(ticks: int = 200) -> dict[str, Any]:
    """Processor time of a tick with nothing to do, as a share of a core at the usual interval."""
    with running_world() as world:
        world.start_sandbox(1, 1, latency_seconds=0)
        make_corps(world, 1)
        _subscriptions(0, 10_000)
        from django.conf import settings

        from notifications import tasks

        now = datetime.now(UTC)
        tasks._claim_due(now)
        before = time.process_time()
        for _ in range(ticks):
            tasks._claim_due(now)
            tasks._sweep(now)
            tasks._hand_out(now)
            tasks._tell_administrators(now)
        share = (time.process_time() - before) / ticks / settings.DISPATCH_INTERVAL_SECONDS
        return {"share_of_a_core": share, "goal": "under 1 %", "is_met": share < 0.01}


def _start_workers(world: World) -> None:
    for number in range(WORKERS):
        world.start_worker(number, THREADS)


def _start_beat(world: World) -> None:
    command = [sys.executable, "-m", "celery", "--app", "guanwecom", "beat", "--loglevel", "WARNING", "--pidfile", ""]
    process = subprocess.Popen(command, env=world.env)  # noqa: S603  # our own command
    world.exits.callback(process.wait)
    world.exits.callback(process.terminate)


def _order(**fields: Any) -> Any:
    from notifications.models import Report, Run, Subscription

    report = Report.objects.create(title="日报", body="今天的销售额: 100 万元")
    subscription = Subscription.objects.create(name="日报", report=report, crontab="0 9 * * *", **fields)
    now = datetime.now(UTC)
    return Run.objects.create(
        key="bench:1", subscription=subscription, trigger="manual", slot_at=now, claimed_at=now, render_after=now
    )


def _run_to_end(run: Any) -> float:
    from notifications import tasks
    from notifications.models import Delivery

    started = time.perf_counter()
    tasks.enqueue_runs([run.pk])
    until(lambda: Delivery.objects.exists() and not Delivery.objects.unsettled().exists(), seconds=120)
    return time.perf_counter() - started


def _send_all(total: int) -> float:
    """Hand out as the clock does until so many are accepted. Returns the seconds that it took."""
    from notifications import tasks
    from notifications.clock import database_clock
    from notifications.models import Delivery

    started = tick_at = time.perf_counter()
    accepted = Delivery.objects.filter(status="accepted")
    while accepted.count() < total:
        if time.perf_counter() >= tick_at:
            tasks._hand_out(database_clock()())
            tick_at += 2
        time.sleep(0.05)
        if time.perf_counter() - started > 600:
            raise TimeoutError(f"{accepted.count()} of {total}")
    return time.perf_counter() - started


def _sends(world: World) -> list[dict[str, Any]]:
    if world.sandbox is None:
        raise RuntimeError("no sandbox")
    return list(world.sandbox.calls("message/send"))


def _most_in_a_minute(times: list[float]) -> int:
    return max(bisect.bisect_left(times, moment + 60) - at for at, moment in enumerate(times))


def _bare_pool(world: World, count: int, companies: int) -> float:
    """The same calls by plain threads in as many processes, with tokens fetched before. Calls a second."""
    if world.sandbox is None:
        raise RuntimeError("no sandbox")
    command = [sys.executable, "-m", "benchmarks.push_engine", "--bare", world.sandbox.base_url]
    sizes = [*command, str(count // WORKERS), str(companies), str(THREADS * PARALLEL)]
    running = [subprocess.Popen([*sizes, str(n)], stdout=subprocess.PIPE, text=True) for n in range(WORKERS)]  # noqa: S603  # ourselves
    spans = [json.loads(process.communicate()[0]) for process in running]
    return float(count / (max(end for _start, end in spans) - min(start for start, _end in spans)))


def bare(base_url: str, count: int, companies: int, threads: int, number: int) -> None:
    """One process of the bare pool: prints when it began and ended."""
    tokens = []
    for company in range(companies):
        query = {"corpid": f"ww{company:016d}", "corpsecret": f"secret-{company}"}
        tokens.append(requests.get(f"{base_url}/cgi-bin/gettoken", params=query, timeout=20).json()["access_token"])
    numbers = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        session = requests.Session()
        session.trust_env = False
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            text = {"content": f"您的销售额: {number}-{n} 元" + "。" * 60}
            body = {"touser": f"U{n % 500}", "msgtype": "text", "agentid": AGENTID, "text": text}
            data = json.dumps({**body, "enable_duplicate_check": 1}, ensure_ascii=False).encode()
            url = f"{base_url}/cgi-bin/message/send?access_token={tokens[n % companies]}"
            assert session.post(url, data=data, timeout=20).json()["errcode"] == 0

    pool = [threading.Thread(target=work) for _ in range(threads)]
    started = time.time()
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    print(json.dumps([started, time.time()]))


def _subscriptions(due: int, others: int) -> None:
    """So many due now, and so many a day later: copies of one row, made by the database."""
    from django.db import connection

    from notifications.models import Report, Subscription

    report = Report.objects.create(title="日报", body="x")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    columns = ", ".join(f'"{one.column}"' for one in Subscription._meta.concrete_fields if not one.primary_key)
    table = Subscription._meta.db_table
    for total, moment in ((due, now), (others, now + timedelta(days=1))):
        if total:
            first = Subscription.objects.create(name="x", report=report, crontab="* * * * *", next_run_at=moment)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}, generate_series(2, %s) "  # noqa: S608  # names of our own
                    f"WHERE {table}.id = %s",
                    (total, first.pk),
                )
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {table}")


def _personal_subscriptions(corp: Any) -> None:
    from accounts.models import User
    from notifications import schedule
    from notifications.models import Report, Subscription

    report = Report.objects.create(title="日报", body="x")
    for person in User.objects.order_by("pk"):
        subscription = Subscription(name="x", report=report, crontab="* * * * *")
        schedule.reschedule(subscription, now=datetime.now(UTC))
        subscription.valid_to = (subscription.next_run_at or datetime.now(UTC)) + timedelta(seconds=30)
        subscription.save()
        subscription.users.add(person)


def dispatch_once() -> None:
    """One dispatcher: claim and publish whatever is due."""
    import django

    django.setup()
    from notifications import tasks

    started = time.time()
    tasks._claim_due(datetime.now(UTC))
    print(json.dumps([started, time.time()]))


MEASUREMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    function.__name__: function
    for function in (broadcast, own_speed, memory, one_company, one_address, due_at_once, lag, idle)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *MEASUREMENTS])
    parser.add_argument("--bare", nargs=5)
    parser.add_argument("--dispatch", action="store_true")
    options = parser.parse_args()
    if options.dispatch:
        dispatch_once()
        return 0
    if options.bare:
        base_url, *sizes = options.bare
        bare(base_url, *map(int, sizes))
        return 0
    if len(options.names) == 1:
        return _measure(options.names[0])
    # Each in a process of its own: Django is set up once for one database.
    command = [sys.executable, "-m", "benchmarks.push_engine"]
    statuses = [subprocess.run([*command, name], check=False).returncode for name in options.names or MEASUREMENTS]  # noqa: S603  # ourselves
    return max(statuses)


def _measure(name: str) -> int:
    found = MEASUREMENTS[name]()
    found["megabytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    RESULTS.mkdir(exist_ok=True)
    line = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "name": name, "load": os.getloadavg()[0], **found}
    with (RESULTS / "push_engine.jsonl").open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(json.dumps(line, ensure_ascii=False, indent=2))
    return 0 if found.get("is_met", True) else 1


if __name__ == "__main__":
    sys.exit(main())
