"""Real processes on a real PostgreSQL, killed and doubled on purpose: each person has each message exactly once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from notifications.models import Attempt, Delivery, Receipt, Report, Run, Subscription
from tests.crowd import arrived_by_person, crowd, one_each
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.sandbox_process import CORPID

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

# Wakes both at the same moment: each waits for a line, then claims all that is due.
DISPATCHER = """
import sys, json, django
django.setup()
from django.utils import timezone
from notifications.delivery.runs import scheduler
from django.db import connection
connection.ensure_connection()
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(scheduler.claim_due(now=timezone.now())), flush=True)
"""


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    env = {**process_environ, "WECOM_TOTAL_TIMEOUT_SECONDS": "7"}
    with crowd(40, env=env, root=project_root, folder=tmp_path) as stack:
        yield stack


def subscribe(title: str, *, due_at: datetime) -> Subscription:
    """Due once, in that minute: what arrived can be counted, however long it takes."""
    report = Report.objects.create(title=title, body="今天一切正常。")
    slot = due_at.replace(second=0, microsecond=0)
    daily = f"{slot.minute} {slot.hour} * * *"
    subscription = Subscription.objects.create(
        name=title, report=report, to_everyone=True, crontab=daily, time_zone="UTC"
    )
    Subscription.objects.filter(pk=subscription.pk).update(next_run_at=slot)
    return subscription


def test_two_dispatchers_at_once_claim_each_slot_once(stack: Stack) -> None:
    now = datetime.now(UTC)
    for number in range(200):
        subscribe(f"日报 {number}", due_at=now)
    command = [sys.executable, "-c", DISPATCHER]
    env = {**stack.env, "DJANGO_SETTINGS_MODULE": "guanwecom.settings"}
    with ExitStack() as exits:
        dispatchers = [
            exits.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=stack.root
                )
            )
            for _ in range(2)
        ]
        for dispatcher in dispatchers:
            assert dispatcher.stdout is not None
            assert dispatcher.stdout.readline() == "ready\n"
        answers = [dispatcher.communicate("go\n")[0] for dispatcher in dispatchers]

    first, second = (set(json.loads(answer)) for answer in answers)
    assert not first & second
    assert len(first | second) == 200
    assert Run.objects.count() == 200


def test_a_worker_killed_between_call_and_settling_sends_nothing_twice(stack: Stack) -> None:
    # WeCom takes the message, and the answer never comes: the worker dies waiting for it.
    stack.sandbox.fault("hang", "message/send", processed=True, seconds=120)
    subscribe("日报", due_at=datetime.now(UTC))
    with ExitStack() as exits:
        doomed = stack.start_worker(exits, "doomed")
        stack.start_beat(exits)
        eventually(lambda: stack.sandbox.messages(CORPID, "p000"), stack.programs.values())
        assert Attempt.objects.get().outcome == Attempt.Outcome.STARTED
        doomed.kill()
        stack.start_worker(exits, "second")

        eventually(Delivery.objects.filter(status="accepted").exists, stack.programs.values(), seconds=240)

    assert arrived_by_person(stack) == one_each(40)
    assert list(Attempt.objects.order_by("number").values_list("outcome", flat=True)) == ["unclear", "accepted"]
    assert Receipt.objects.filter(status="", delivery__status="accepted").count() == 40
    sent = [call for call in stack.sandbox.calls("message/send") if call["errcode"] == 0]
    assert len(sent) <= 2


def test_the_same_text_ten_minutes_apart_arrives_twice(stack: Stack) -> None:
    now = datetime.now(UTC)
    with ExitStack() as exits:
        stack.start_worker(exits)
        stack.start_beat(exits)
        for due_at in (now - timedelta(minutes=10), now):
            subscription = subscribe("日报", due_at=due_at)
            run = eventually(
                Run.objects.filter(subscription=subscription, status="finished").first, stack.programs.values()
            )
            assert run.deliveries.get().status == Delivery.Status.ACCEPTED

    assert set(arrived_by_person(stack).values()) == {2}


def test_a_worker_asked_to_stop_loses_nothing(stack: Stack) -> None:
    stack.sandbox.fault("slow", "message/send", seconds=2)
    subscribe("日报", due_at=datetime.now(UTC))
    with ExitStack() as exits:
        worker = stack.start_worker(exits)
        stack.start_beat(exits)
        eventually(Attempt.objects.exists, stack.programs.values())

        worker.stop(seconds=60)

    assert worker.process.returncode == 0
    assert Delivery.objects.get().status == Delivery.Status.ACCEPTED
    assert set(arrived_by_person(stack).values()) == {1}
