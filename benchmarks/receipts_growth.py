"""What receipts cost as they grow: their size, writing, reading and purging them with 1, 2, 5 and 10 million there.

Run `python -m benchmarks.receipts_growth [--millions 10]`; it takes some ten minutes. The rows are made by the
database; what is measured on top is the product's own: `write_receipts`, the pages' queries, `purge`. Times are
processor time of this process and of its PostgreSQL process, which other programs of this machine change little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from benchmarks import goals, runner
from benchmarks.goals import Goal
from benchmarks.push_world import make_people, running_world

PEOPLE = 10_000
# A message to so many, as WeCom takes at most.
PER_RUN = 1000
DAYS = 360
MILLIONS = (1, 2, 5, 10)
WRITTEN_RUNS, READ_ROUNDS, PURGE_CALLS = 30, 15, 300
GROWTH = 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, default=MILLIONS[-1])
    most = parser.parse_args().millions
    load_before = runner.load()
    with running_world() as world:
        steps = []
        for millions in MILLIONS:
            if millions <= most:
                steps.append(_measured(world, millions))
                _show(steps[-1])
    first, last = steps[0], steps[-1]
    growth = {name: last["milliseconds"][name] / first["milliseconds"][name] for name in first["milliseconds"]}
    wanted = [
        Goal.of(f"receipts, {name}: time with the most, of that with the fewest", value, "≤", GROWTH, digits=2)
        for name, value in growth.items()
    ]
    figures = {"load_before": load_before, "load": runner.load(), "steps": steps, "growth": growth}
    runner.keep("receipts_growth", {**figures, **goals.kept(wanted)})
    return 0 if goals.report(wanted) else 1


def _show(step: dict[str, Any]) -> None:
    shown = ", ".join(f"{name} {value:.2f} ms" for name, value in step["milliseconds"].items())
    written = PER_RUN * 1000 / step["milliseconds"]["write 1000"]
    size = f"{step['receipts']:>11,} receipts, {step['bytes_per_receipt']:.0f} bytes each"
    print(f"{size}: {shown}; {written:,.0f} written a second of processor time", flush=True)


def _measured(world: Any, millions: int) -> dict[str, Any]:
    from notifications.models import Receipt

    corp = _corp(world)
    started = time.perf_counter()
    missing = millions * 1_000_000 - Receipt.objects.count()
    _fill(corp, missing)
    filled_seconds = time.perf_counter() - started
    milliseconds = {"write 1000": _write(corp), **_pages(corp)}
    milliseconds["purge call"] = _purge()
    count, size = Receipt.objects.count(), _bytes()
    return {
        "receipts": count,
        "fill_seconds": filled_seconds,
        "bytes_per_receipt": size / count,
        "milliseconds": milliseconds,
    }


def _corp(world: Any) -> Any:
    """The one company, with its people."""
    from integrations.models import Corp

    corp = Corp.objects.first()
    if corp is None:
        corp = Corp.objects.create(name="公司", corpid="ww0000000000000000", agentid=1000002, is_enabled=True)
        make_people(corp, PEOPLE)
    return corp


def _fill(corp: Any, count: int) -> None:
    """So many receipts of runs of PER_RUN people, spread over the last DAYS."""
    from django.db import connection

    from accounts.models import User

    deliveries = _messages(corp, count // PER_RUN)
    first = User.objects.order_by("pk").values_list("pk", flat=True)[0]
    with connection.cursor() as cursor:
        # Foreign keys are not looked at: they hold, and take most of the time.
        cursor.execute("SET session_replication_role = replica")
        for start in range(0, len(deliveries), 250):
            cursor.execute(
                "INSERT INTO notifications_receipt (run_id, delivery_id, channel, user_id, address, reason, status) "
                "SELECT one.run_id, one.id, 'wecom', %s + (one.id * 37 + n) %% %s, "
                "one.corp_id || ':u' || ((one.id * 37 + n) %% %s), '', '' "
                "FROM notifications_delivery AS one, generate_series(0, %s) AS n WHERE one.id = ANY(%s) ORDER BY 2",
                (first, PEOPLE, PEOPLE, PER_RUN - 1, deliveries[start : start + 250]),
            )
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM ANALYZE notifications_receipt, notifications_delivery, notifications_run")


def _messages(corp: Any, count: int) -> list[int]:
    """Ids of so many accepted messages, each with its ended run."""
    from notifications.models import Delivery, Run, new_mark

    now = datetime.now(UTC)
    step = timedelta(days=DAYS) / max(1, count)
    times = [now - timedelta(days=DAYS) + step * n for n in range(count)]
    runs = Run.objects.bulk_create(
        Run(
            key=f"bench:{uuid.uuid4()}", trigger="manual", slot_at=at, claimed_at=at, render_after=at,
            status="finished", finished_at=at, rendered_at=at, recipient_count=PER_RUN,
        )
        for at in times
    )  # fmt: skip
    made = Delivery.objects.bulk_create(
        Delivery(
            run=run, corp=corp, channel="wecom", message_form="text", created_at=run.claimed_at, title="日报", text="x",
            corpid=corp.corpid, agentid=corp.agentid, body=b"{}", mark=new_mark(), language="zh-hans",
            recipient_count=PER_RUN, next_attempt_at=run.claimed_at, expires_at=run.claimed_at, status="accepted",
            settled_at=run.claimed_at,
        )
        for run in runs
    )  # fmt: skip
    return [delivery.pk for delivery in made]


def _write(corp: Any) -> float:
    """Median milliseconds of processor time for the receipts of one run, in its transaction."""
    from django.db import transaction

    from accounts.models import User
    from notifications.delivery.bulk import write_receipts
    from notifications.models import Delivery

    people = list(User.objects.order_by("pk").values_list("pk", flat=True)[:PER_RUN])
    found = iter(Delivery.objects.filter(pk__in=_messages(corp, WRITTEN_RUNS)))

    def write() -> None:
        one = next(found)
        rows = [(one.pk, one.channel, pk, f"{corp.pk}:u{n}", "") for n, pk in enumerate(people)]
        with transaction.atomic():
            write_receipts(one.run_id, rows)

    return _median(write, WRITTEN_RUNS)


def _pages(corp: Any) -> dict[str, float]:
    """Median milliseconds of what the pages ask: the log, a person's messages, a run's people, the exceptions."""
    from notifications.models import Receipt, Run

    person = Receipt.objects.order_by("-pk").values_list("user", flat=True)[0]
    run = Run.objects.filter(receipts__isnull=False).order_by("pk")[0]
    questions = {
        "log": Receipt.objects.select_related("delivery").order_by("-pk")[:100],
        "person": Receipt.objects.filter(user=person).select_related("delivery").order_by("-pk")[:20],
        "old run": Receipt.objects.filter(run=run).order_by("-pk")[:100],
        "skipped": Receipt.objects.with_status("skipped").order_by("-pk")[:100],
    }
    return {name: _median(partial(_read, rows), READ_ROUNDS) for name, rows in questions.items()}


def _read(rows: Any) -> None:
    list(rows.all())


def _purge() -> float:
    """Median milliseconds of a call of the purge, with as many runs too old as it needs."""
    from django.conf import settings

    from notifications.delivery.maintenance import purge
    from notifications.models import Run

    now = datetime.now(UTC)
    oldest = Run.objects.order_by("claimed_at").values_list("pk", flat=True)[:PURGE_CALLS]
    Run.objects.filter(pk__in=list(oldest)).update(claimed_at=now - timedelta(days=settings.LOG_RETENTION_DAYS + 1))
    return _median(lambda: purge.purge(now=now), PURGE_CALLS)


def _bytes() -> int:
    """The table of receipts with its indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('notifications_receipt')")
        return int(cursor.fetchone()[0])


def _median(step: Callable[[], object], rounds: int) -> float:
    from django.db import connection

    found = []
    for _ in range(rounds):
        began = runner.processor_milliseconds(connection)
        step()
        found.append(runner.processor_milliseconds(connection) - began)
    return statistics.median(found)


if __name__ == "__main__":
    sys.exit(main())
