"""Real processes on a real PostgreSQL, killed on purpose: each person has each message exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from notifications.models import Attempt, Delivery, Receipt, Report, Subscription
from tests.crowd import arrived_by_person, crowd, one_each
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.sandbox_process import CORPID

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

PEOPLE = 40


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    env = {**process_environ, "WECOM_TOTAL_TIMEOUT_SECONDS": "7"}
    with crowd(PEOPLE, env=env, root=project_root, folder=tmp_path) as stack:
        yield stack


def subscribe(title: str, *, due_at: datetime) -> Subscription:
    """Create a subscription that is due once, in that minute, so that its messages can be counted at any time later."""
    report = Report.objects.create(title=title, body="今天一切正常。")
    slot = due_at.replace(second=0, microsecond=0)
    daily = f"{slot.minute} {slot.hour} * * *"
    subscription = Subscription.objects.create(
        name=title, report=report, to_everyone=True, crontab=daily, time_zone="UTC"
    )
    Subscription.objects.filter(pk=subscription.pk).update(next_run_at=slot)
    return subscription


def test_a_killed_worker_sends_nothing_twice_and_one_that_is_asked_to_stop_loses_nothing(stack: Stack) -> None:
    # WeCom takes the message, and the answer never comes: the worker dies waiting for it.
    stack.sandbox.fault("hang", "message/send", processed=True, seconds=120)
    subscribe("日报", due_at=datetime.now(UTC))
    with ExitStack() as exits:
        doomed = stack.start_worker(exits, "doomed")
        stack.start_beat(exits)
        eventually(lambda: stack.sandbox.messages(CORPID, "p000"), stack.programs.values())
        assert Attempt.objects.get().outcome == Attempt.Outcome.STARTED
        doomed.kill()
        second = stack.start_worker(exits, "second")

        eventually(Delivery.objects.filter(status="accepted").exists, stack.programs.values(), seconds=240)

        assert arrived_by_person(stack) == one_each(PEOPLE)
        assert list(Attempt.objects.order_by("number").values_list("outcome", flat=True)) == ["unclear", "accepted"]
        assert Receipt.objects.filter(status="", delivery__status="accepted").count() == PEOPLE
        sent = [call for call in stack.sandbox.calls("message/send") if call["errcode"] == 0]
        assert len(sent) <= 2

        # A second message with the same text is being sent when its worker is asked to stop.
        stack.sandbox.fault("slow", "message/send", seconds=2)
        again = subscribe("日报", due_at=datetime.now(UTC))
        eventually(lambda: Attempt.objects.count() == 3, stack.programs.values())
        second.stop(seconds=60)

    assert second.process.returncode == 0
    assert Delivery.objects.get(run__subscription=again).status == Delivery.Status.ACCEPTED
    assert set(arrived_by_person(stack).values()) == {2}
