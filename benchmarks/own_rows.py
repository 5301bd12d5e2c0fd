"""A report with own rows for so many people of one company, as text cards, with all limits on: is rendering ever slower
than WeCom's limit?

Run `python -m benchmarks.own_rows [--people N]`. Real workers, PostgreSQL, Valkey and sandbox. Figures are added to
benchmarks/results/own_rows.jsonl.
"""

from __future__ import annotations

import argparse
import bisect
import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

from benchmarks import runner
from benchmarks.goals import Found, Goal
from benchmarks.push_engine import LATENCY_SECONDS, PARALLEL, WORKERS, _sends, _start_beat, _start_workers
from benchmarks.push_world import World, make_corps, make_people, megabytes, processor_seconds, running_world

PEOPLE, ROWS_EACH = 10_000, 5
# Calls that WeCom takes from one company in a minute, and what we use of them (LIMIT_RESERVED_PERCENT).
LIMIT, USED = 10_000, 0.98
FIRST_SECONDS = 5
GOAL_GROWTH = 1.1


def measure(people: int) -> Found:
    with running_world(SEND_PARALLEL_PER_TASK=str(PARALLEL)) as world:
        world.start_sandbox(1, people, latency_seconds=LATENCY_SECONDS, calls_kept=2 * people)
        [corp] = make_corps(world, 1)
        make_people(corp, people)
        run = make_run(people)
        _start_workers(world)
        _start_beat(world)
        from notifications import tasks

        before = processor_seconds(world)
        started = time.time()
        tasks.enqueue_runs([run.pk])
        held = _until_accepted(world, run, people)
        after = processor_seconds(world)
        times = sorted(call["at"] - started for call in _sends(world) if call["errcode"] == 0)
        behind = _most_behind(times, people)
        growth = max(held[-1]) / max(held[0])
        figures = {
            "people": people,
            "first_call_after_seconds": round(times[0], 2),
            "last_call_after_seconds": round(times[-1], 2),
            "calls": len(times),
            "calls_in_each_second": [_count(times, second, second + 1) for second in range(int(times[-1]) + 1)],
            "most_calls_behind_the_limit_from_the_fifth_second_on": behind,
            "megabytes_of_each_worker_at_each_tenth": held,
            "growth": round(growth, 2),
            "processor_ms_of_each_person": {
                name: round((after[name] - before[name]) / people * 1000, 2) for name in before
            },
        }
        return figures, [
            Goal.of("own rows: accepted messages", len(times), "=", people),
            Goal.of(f"own rows: calls fewer than the limit admits, from second {FIRST_SECONDS} on", behind, "=", 0),
            Goal.of("own rows: workers' memory, of that after a tenth", growth, "≤", GOAL_GROWTH, digits=2),
        ]


def _most_behind(times: list[float], people: int) -> int:
    """How many calls fewer than the limit admits, at the worst second after FIRST_SECONDS."""
    allowed = LIMIT * USED / 60
    seconds = range(FIRST_SECONDS, int(times[-1]) + 1)
    return max([0, *(min(people, round((at - FIRST_SECONDS) * allowed)) - _count(times, 0, at) for at in seconds)])


def _count(times: list[float], start: float, end: float) -> int:
    return bisect.bisect_left(times, end) - bisect.bisect_left(times, start)


def make_run(people: int, **fields: Any) -> Any:
    """A run whose data is there: ROWS_EACH rows for each person, found by an attribute."""
    from accounts.models import Attribute, AttributeValue, User, fold_value
    from integrations.data.table import Column, Kind, Table
    from integrations.models import Card, CardData, DataSource
    from integrations.models.datasources import packed
    from notifications.models import OwnRowsRule, Report, ReportCard, Run, Subscription

    now = datetime.now(UTC)
    names = [f"门店{number}" for number in range(people)]
    shop = Attribute.objects.create(key="shop", name="门店")
    owners = User.objects.order_by("pk")[:people]
    AttributeValue.objects.bulk_create(
        (
            AttributeValue(user=person, attribute=shop, value=name, folded=fold_value(name))
            for person, name in zip(owners, names, strict=True)
        ),
        batch_size=5000,
    )
    columns = (Column("门店", Kind.TEXT), Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER, "元"))
    first = date(2026, 11, 1)
    rows = tuple(
        (name, first + timedelta(days=day), (number * 37 + day * 11) % 9973)
        for number, name in enumerate(names)
        for day in range(ROWS_EACH)
    )
    card = Card.objects.create(source=DataSource.objects.create(name="观远", kind="guandata"), name="日销售额")
    CardData.objects.create(
        **{"card": card, "slot_at": now, "status": CardData.Status.READY, "row_count": len(rows)},
        **{"content": packed(Table(columns, rows, now)), "requested_at": now, "next_try_at": now},
        **{"finished_at": now, "notified_at": now},
    )
    body = "合计 {{ sales.sum('销售额') }} 元，最高 {{ sales.max('销售额') }} 元，共 {{ sales.count }} 天"
    report = Report.objects.create(title="门店日报", body=body, is_template=True)
    ReportCard.objects.create(report=report, card=card, alias="sales")
    OwnRowsRule.objects.create(report=report, alias="sales", column="门店", attribute=shop)
    subscription = Subscription.objects.create(
        **{
            "name": "门店日报",
            "report": report,
            "crontab": "0 9 * * *",
            "to_everyone": True,
            "message_form": "textcard",
        }
        | fields
    )
    return Run.objects.create(
        key="bench:own-rows", subscription=subscription, trigger="manual", slot_at=now, claimed_at=now, render_after=now
    )


def _until_accepted(world: World, run: Any, people: int) -> list[list[float]]:
    """What each worker held when the first tenth was accepted, and at each further one."""
    from notifications.models import Delivery

    held: list[list[float]] = []
    ours = Delivery.objects.filter(run=run, status=Delivery.Status.ACCEPTED)
    started = time.monotonic()
    while (accepted := ours.count()) < people:
        if accepted * 10 >= people * (len(held) + 1):
            held.append(megabytes(world))
        run.refresh_from_db()
        if run.error or time.monotonic() - started > 900:
            raise RuntimeError(run.error or "it takes too long")
        time.sleep(0.5)
    return [*held, megabytes(world)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=PEOPLE)
    load = runner.load()
    figures, wanted = measure(parser.parse_args().people)
    figures = {"load_before": load, "load": runner.load(), "workers": WORKERS, **figures}
    return runner.finish("own_rows", figures, wanted)


if __name__ == "__main__":
    sys.exit(main())
