"""Subscriptions, runs, sends and checks for the measurements of the push engine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.push_world import wait_until

# Time limit of one measurement: three times as long as a million messages take.
SECONDS_AT_MOST = 3600


def make_run(**fields: Any) -> Any:
    """Make a push with these fields, and a run of it that is to be rendered now."""
    from notifications.models import Report, Run, Subscription

    report = Report.objects.create(title="日报", body="今天的销售额: 100 万元")
    subscription = Subscription.objects.create(name="日报", report=report, crontab="0 9 * * *", **fields)
    now = datetime.now(UTC)
    times = {"slot_at": now, "claimed_at": now, "render_after": now}
    return Run.objects.create(key=f"bench:{report.pk}", subscription=subscription, trigger="manual", **times)


def send_run(run: Any) -> float:
    """Have the run rendered and sent by the workers. Return the seconds until all its deliveries are settled."""
    from notifications import tasks
    from notifications.models import Delivery

    started = time.perf_counter()
    tasks.enqueue_runs([run.pk])
    ours = Delivery.objects.filter(run=run)
    wait_until(lambda: ours.exists() and not ours.unsettled().exists(), seconds=SECONDS_AT_MOST)
    return time.perf_counter() - started


def send_all(total: int) -> float:
    """Hand deliveries out as the tick does until all are settled. Return the seconds. Raise RuntimeError if fewer than
    `total` are accepted."""
    from integrations.core.background import database_clock
    from notifications import tasks
    from notifications.models import Delivery

    started = tick_at = time.perf_counter()
    while Delivery.objects.unsettled().exists():
        if time.perf_counter() >= tick_at:
            tasks._hand_out(database_clock()())
            tick_at += 2
        time.sleep(0.05)
        if time.perf_counter() - started > SECONDS_AT_MOST:
            raise TimeoutError
    seconds = time.perf_counter() - started
    if (accepted := Delivery.objects.filter(status="accepted").count()) != total:
        raise RuntimeError(f"{accepted} of {total} accepted")
    return seconds


def check_receipts(total: int) -> None:
    """Raise RuntimeError unless there are so many accepted receipts and attempts."""
    from notifications.models import Attempt, Receipt

    receipts = Receipt.objects.filter(status="", delivery__status="accepted").count()
    attempts = Attempt.objects.filter(outcome="accepted").count()
    if (receipts, attempts) != (total, total):
        raise RuntimeError(f"{receipts} receipts and {attempts} attempts of {total} messages")


def make_subscriptions(due: int, others: int) -> None:
    """Make subscriptions due now, and others due a day later, as copies of one row inside the database."""
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


def make_personal_subscriptions() -> None:
    """Make a push to each person, due at the next minute only."""
    from accounts.models import User
    from notifications.models import Report, Subscription
    from notifications.subscriptions.schedules import reschedule

    report = Report.objects.create(title="日报", body="x")
    for person in User.objects.order_by("pk"):
        subscription = Subscription(name="x", report=report, crontab="* * * * *")
        reschedule(subscription, now=datetime.now(UTC))
        subscription.valid_to = (subscription.next_run_at or datetime.now(UTC)) + timedelta(seconds=30)
        subscription.save()
        subscription.users.add(person)
