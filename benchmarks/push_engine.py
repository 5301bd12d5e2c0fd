"""Measure the push engine's speed, and that it exceeds no limit: real workers, PostgreSQL, Valkey, the sandbox.

Run `python -m benchmarks.push_engine [NAME …]`; without names all of them, which takes about 20 minutes. Each has its
own servers on this machine; its figures are added to benchmarks/results/. benchmarks/README.md has them.
"""

from __future__ import annotations

import argparse
import bisect
import json
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks import runner
from benchmarks.goals import Goal, Measurement
from benchmarks.push_orders import (
    check_receipts,
    make_personal_subscriptions,
    make_run,
    make_subscriptions,
    send_all,
    send_run,
)
from benchmarks.push_world import (
    World,
    make_corps,
    make_people,
    make_personal_messages,
    read_cpu_seconds,
    read_megabytes,
    read_process_cpu,
    run_world,
    wait_until,
)
from tests.sandbox_process import SandboxHandle

# Processes, tasks at once in each, calls at once in each task.
WORKERS, THREADS, PARALLEL = 2, 2, 200
# People or messages, and people of the warm-up.
MOST, WARM_UP = 100_000, 1000
LATENCY_SECONDS = 0.05
LIMITS = (
    *("LIMIT_ADDRESS_PER_MINUTE", "LIMIT_COMPANY_PER_MINUTE", "LIMIT_COMPANY_PARALLEL"),
    *("LIMIT_ADDRESS_PER_HOUR", "LIMIT_COMPANY_PER_HOUR"),
    "LIMIT_MEMBER_PER_MINUTE",
)
NO_LIMITS = dict.fromkeys(LIMITS, "0")


def broadcast(most: int = MOST) -> Measurement:
    """Send one content to many people, without latency, and measure the time from the claim to the last receipt."""
    with run_world() as world:
        world.start_sandbox(1, most, latency_seconds=0)
        [corp] = make_corps(world, 1)
        _start_workers(world)
        make_people(corp, WARM_UP)
        send_run(make_run(to_everyone=True))
        make_people(corp, most)
        before = len(_list_sends(world))
        seconds = send_run(make_run(to_everyone=True))
        calls = len(_list_sends(world)) - before
        from notifications.models import Delivery, Receipt

        receipts = Receipt.objects.filter(status="", delivery__status=Delivery.Status.ACCEPTED).count()
        figures = {
            "people": most,
            "calls": calls,
            "accepted_receipts": receipts,
            "seconds": seconds,
            "people_per_second": most / seconds,
        }
        return figures, [
            Goal.of(f"one content for {most:,} people: calls", calls, "=", most // 1000),
            Goal.of("one content: accepted receipts", receipts, "=", WARM_UP + most),
            Goal.of(f"one content for {most:,} people: people a second", most / seconds, "≥", 10_000),
        ]


def own_speed(count: int = 10_000, companies: int = 20) -> Measurement:
    """Send personal messages with all limits off."""
    with run_world(**NO_LIMITS, SEND_PARALLEL_PER_TASK=str(PARALLEL)) as world:
        world.start_sandbox(companies, -(-count // companies), latency_seconds=LATENCY_SECONDS, limits_enabled=False)
        corps = make_corps(world, companies)
        _start_workers(world)
        make_personal_messages(corps, count // 10)  # tokens, connections, threads
        send_all(count // 10)
        make_personal_messages(corps, count)
        before = read_cpu_seconds(world)
        per_second = count / send_all(count + count // 10)
        spent = read_cpu_seconds(world)
        check_receipts(count + count // 10)
        each_ms = {name: (spent[name] - before[name]) / count * 1000 for name in spent}
        figures = {
            "messages": count,
            "companies": companies,
            "calls_at_once": WORKERS * THREADS * PARALLEL,
            "per_second": per_second,
            "processor_ms_per_message": each_ms,
        }
        return figures, [
            Goal.of("personal message: processor time of the workers", each_ms["workers"], "≤", 0.9, "ms", digits=2)
        ]


def memory(most: int = MOST) -> Measurement:
    """Send personal messages without limits and latency, and measure how the workers' memory grows."""
    with run_world(**NO_LIMITS, SEND_PARALLEL_PER_TASK=str(PARALLEL)) as world:
        world.start_sandbox(20, most // 20, latency_seconds=0, limits_enabled=False)
        corps = make_corps(world, 20)
        _start_workers(world)
        make_personal_messages(corps, most // 10)
        send_all(most // 10)
        before = read_megabytes(world)
        make_personal_messages(corps, most)
        seconds = send_all(most // 10 + most)
        after = read_megabytes(world)
        check_receipts(most // 10 + most)
        growth = max(end / start for start, end in zip(before, after, strict=True))
        figures = {
            "messages": most,
            "megabytes_before": before,
            "megabytes": after,
            "seconds": seconds,
            "growth": growth,
        }
        return figures, [Goal.of("workers' memory, relative to a tenth of the messages", growth, "≤", 1.1, digits=2)]


def one_company(count: int = 30_000) -> Measurement:
    """Send personal messages in one company with all limits, and measure which share of its limit is used."""
    return _measure_limit("limit of a company", count, companies=1, limit=10_000)


def one_address(count: int = 30_000) -> Measurement:
    """Send personal messages in many companies with all limits, of which that of the address is reached first."""
    return _measure_limit("limit of the address", count, companies=20, limit=20_000)


def _measure_limit(work: str, count: int, *, companies: int, limit: int) -> Measurement:
    with run_world(SEND_PARALLEL_PER_TASK=str(PARALLEL)) as world:
        world.start_sandbox(companies, -(-count // companies), latency_seconds=LATENCY_SECONDS, calls_kept=2 * count)
        corps = make_corps(world, companies)
        make_personal_messages(corps, count)
        _start_workers(world)
        seconds = send_all(count)
        calls = _list_sends(world)
        times = sorted(call["at"] for call in calls)
        whole_minutes = int((times[-1] - times[0]) // 60)
        first = bisect.bisect_left(times, times[0] + 60 * whole_minutes)
        used = first / (limit * whole_minutes) if whole_minutes else 0.0
        half = Counter(call["corpid"] for call in sorted(calls, key=lambda call: call["at"])[: len(calls) // 2])
        evenness = min(half[corp.corpid] for corp in corps) / max(half.values())
        most = _count_most_in_a_minute(times)
        check_receipts(count)
        figures = {
            "messages": count,
            "companies": companies,
            "calls": len(calls),
            "seconds": seconds,
            "limit_per_minute": limit,
            "most_in_any_60_seconds": most,
            "used_of_the_allowed_in_whole_minutes": used,
            "refused_by_the_sandbox": sum(call["errcode"] != 0 for call in calls),
            "of_the_first_half_least_company_by_most": evenness,
        }
        return figures, [
            Goal.of(f"{work}: used share", used, "≥", 0.95, digits=3),
            Goal.of(f"{work}: most calls in any 60 s", most, "≤", limit),
            Goal.of(f"{work}: half-way, least calls of a company, relative to the most", evenness, "≥", 0.9, digits=2),
        ]


def due_at_once(due: int = 50_000, others: int = 950_000) -> Measurement:
    """Make runs of subscriptions that are due at one minute, among many others, with one dispatcher and with two."""
    with run_world() as world:
        make_subscriptions(due, others)
        from notifications.models import Run, Subscription

        slot = Subscription.objects.order_by("next_run_at").values_list("next_run_at", flat=True)[0]
        found: dict[str, Any] = {"due": due, "rows": due + others, "scans": _explain_scans(slot or datetime.now(UTC))}
        for dispatchers in (1, 2):
            Run.objects.all().delete()
            Subscription.objects.filter(pk__lte=due).update(next_run_at=slot)
            spans = _run_dispatchers(world, dispatchers)
            found[f"seconds_with_{dispatchers}"] = max(end for _start, end in spans) - min(start for start, _ in spans)
            found[f"runs_with_{dispatchers}"] = Run.objects.count()
        share, work = found["seconds_with_2"] / found["seconds_with_1"], f"{due:,} due at once"
        return found, [
            Goal.of(f"{work}: time of one dispatcher", found["seconds_with_1"], "≤", 6, "s", digits=1),
            Goal.of(f"{work}: time of two dispatchers, relative to one", share, "<", 1, digits=2),
            Goal.of(f"{work}: runs by one dispatcher", found["runs_with_1"], "=", due),
            Goal.of(f"{work}: runs by two dispatchers", found["runs_with_2"], "=", due),
        ]


def _explain_scans(now: datetime) -> list[str]:
    """Return how PostgreSQL finds the next rows to claim."""
    from notifications.delivery.runs import scheduler

    plan = scheduler.find_claimable(now).order_by("next_run_at")[: scheduler.BATCH].explain()
    return [line.strip(" ->").split("  (")[0] for line in plan.splitlines() if "Scan" in line]


def _run_dispatchers(world: World, dispatchers: int) -> list[list[float]]:
    command = [sys.executable, "-m", "benchmarks.push_engine", "--dispatch"]
    running = [subprocess.Popen(command, env=world.env, stdout=subprocess.PIPE, text=True) for _ in range(dispatchers)]  # noqa: S603  # ourselves
    return [json.loads(process.communicate()[0]) for process in running]


def lag(due: int = 100) -> Measurement:
    """Measure how late the last of `due` subscriptions of one minute is accepted, with a real beat."""
    with run_world() as world:
        world.start_sandbox(1, due, latency_seconds=LATENCY_SECONDS)
        [corp] = make_corps(world, 1)
        make_people(corp, due)
        make_personal_subscriptions()
        _start_workers(world)
        start_beat(world)
        from notifications.models import Delivery

        wait_until(lambda: Delivery.objects.filter(status="accepted").count() == due, seconds=150, pause=0.5)
        lags = sorted(
            (settled - slot).total_seconds()
            for settled, slot in Delivery.objects.values_list("settled_at", "run__slot_at")
            if settled is not None
        )
        figures = {"due": due, "median_seconds": statistics.median(lags), "last_seconds": lags[-1]}
        return figures, [Goal.of(f"lag of the last of {due} due at one minute", lags[-1], "≤", 2.2, "s", digits=2)]


def idle(seconds: int = 60) -> Measurement:
    """Measure the processor time of beat and a worker that only tick, as shares of a core."""
    with run_world() as world:
        world.start_sandbox(1, 1, latency_seconds=0)
        make_corps(world, 1)
        make_subscriptions(0, 10_000)
        world.start_worker(0, THREADS)
        beat = start_beat(world)
        time.sleep(20)  # start-up, first ticks
        before = {**read_cpu_seconds(world), "beat": read_process_cpu(beat.pid)}
        time.sleep(seconds)
        after = {**read_cpu_seconds(world), "beat": read_process_cpu(beat.pid)}
        shares = {name: (after[name] - before[name]) / seconds for name in after}
        dispatcher = shares["beat"] + shares["workers"]
        figures = {"shares_of_a_core": shares, "dispatcher": dispatcher}
        return figures, [Goal.of("idle: beat and worker, share of a core", 100 * dispatcher, "≤", 0.6, "%", digits=2)]


def _start_workers(world: World) -> None:
    for number in range(WORKERS):
        world.start_worker(number, THREADS)


def start_beat(world: World) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "guanwecom", "beat", "--loglevel", "WARNING", "--pidfile", ""]
    process = subprocess.Popen(command, env=world.env)  # noqa: S603  # our own command
    world.exits.callback(process.wait)
    world.exits.callback(process.terminate)
    return process


def _require_sandbox(world: World) -> SandboxHandle:
    if world.sandbox is None:
        raise RuntimeError("no sandbox")
    return world.sandbox


def _list_sends(world: World) -> list[dict[str, Any]]:
    return list(_require_sandbox(world).calls("message/send"))


def _count_most_in_a_minute(times: list[float]) -> int:
    return max(bisect.bisect_left(times, moment + 60) - index for index, moment in enumerate(times))


def dispatch_once() -> None:
    """Make runs of all due subscriptions, as one dispatcher."""
    import django

    django.setup()
    from notifications import tasks

    started = time.time()
    tasks._claim_due(datetime.now(UTC))
    print(json.dumps([started, time.time()]))


MEASUREMENTS: dict[str, Callable[..., Measurement]] = {
    function.__name__: function
    for function in (broadcast, own_speed, memory, one_company, one_address, due_at_once, lag, idle)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *MEASUREMENTS])
    sizes = (MOST // 10, MOST, 10 * MOST)
    parser.add_argument("--most", type=int, choices=sizes, help="of broadcast: people; of memory: messages")
    parser.add_argument("--dispatch", action="store_true")
    options = parser.parse_args()
    if options.dispatch:
        dispatch_once()
        return 0
    if options.most and options.names not in (["broadcast"], ["memory"]):
        parser.error("--most goes with the name broadcast, or memory")
    if len(options.names) == 1:
        return _measure(options.names[0], **({"most": options.most} if options.most else {}))
    return runner.run_each("push_engine", options.names or MEASUREMENTS)


def _measure(name: str, **options: int) -> int:
    load_before = runner.read_load()
    figures, goals = MEASUREMENTS[name](**options)
    figures["megabytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    loads = {"load_before": load_before, "load": runner.read_load()}
    return runner.report_result("push_engine", {"name": name, **loads, **figures}, goals)


if __name__ == "__main__":
    sys.exit(main())
