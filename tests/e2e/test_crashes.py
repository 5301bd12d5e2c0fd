"""Real processes on a real PostgreSQL, killed on purpose: each person has each message exactly once."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from notifications.models import Attempt, Delivery, Receipt, Report, Subscription
from tests.crowd import count_messages_by_person, expect_one_each, run_crowd
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.sandbox_process import CORPID

pytestmark = [nightly, pytest.mark.processes, pytest.mark.django_db(transaction=True)]

PEOPLE = 40


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    env = {**process_environ, "WECOM_TOTAL_TIMEOUT_SECONDS": "7"}
    with run_crowd(PEOPLE, env=env, root=project_root, folder=tmp_path) as stack:
        yield stack


def test_a_killed_worker_sends_nothing_twice_and_loses_nothing(stack: Stack) -> None:
    # WeCom takes the message, and the answer never comes: the worker dies waiting for it.
    stack.sandbox.fault("hang", "message/send", processed=True, seconds=120)
    slot = datetime.now(UTC).replace(second=0, microsecond=0)
    report = Report.objects.create(title="日报", body="今天一切正常。")
    daily = {"crontab": f"{slot.minute} {slot.hour} * * *", "time_zone": "UTC"}
    Subscription.objects.create(name="日报", report=report, to_everyone=True, **daily)
    Subscription.objects.update(next_run_at=slot)
    with ExitStack() as exits:
        doomed = stack.start_worker(exits, "doomed")
        stack.start_beat(exits)
        eventually(lambda: stack.sandbox.messages(CORPID, "p000"), stack.programs.values())
        assert Attempt.objects.get().outcome == Attempt.Outcome.STARTED
        doomed.kill()
        stack.start_worker(exits, "second")
        Delivery.objects.update(lease_until=datetime.now(UTC))  # as a minute without the worker does

        eventually(Delivery.objects.filter(status="accepted").exists, stack.programs.values())

        assert count_messages_by_person(stack) == expect_one_each(PEOPLE)
        assert list(Attempt.objects.order_by("number").values_list("outcome", flat=True)) == ["unclear", "accepted"]
        assert Receipt.objects.filter(status="", delivery__status="accepted").count() == PEOPLE
        sent = [call for call in stack.sandbox.calls("message/send") if call["errcode"] == 0]
        assert len(sent) <= 2
