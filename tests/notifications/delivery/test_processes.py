"""Real workers and a real sandbox on PostgreSQL: interrupted among many messages, none is lost, none doubled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from notifications.models import Attempt, Delivery, Run
from tests.crowd import arrived_by_person
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.notifications.delivery.many_people import (
    MESSAGES,
    ONE_EACH,
    all_accepted,
    ask_for_personal_messages,
    stack_of_many,
)
from tools.services import start_valkey

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

# The time that a service manager gives a program between SIGTERM and SIGKILL.
GRACE_SECONDS = 60


@pytest.fixture
def stack(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Stack]:
    with stack_of_many(env=process_environ, root=project_root, folder=tmp_path) as stack:
        yield stack


def test_a_worker_stopped_in_the_middle_ends_after_the_message_it_is_at(stack: Stack) -> None:
    stack.env["SEND_PARALLEL_PER_TASK"] = "1"
    stack.sandbox.fault("slow", "message/send", seconds=1, count=None)
    with ExitStack() as exits:
        first = stack.start_worker(exits, "first")
        ask_for_personal_messages()
        eventually(Delivery.objects.filter(status="accepted").exists, stack.programs.values())

        first.stop(GRACE_SECONDS)

        assert first.process.returncode == 0
        assert not Delivery.objects.filter(status=Delivery.Status.SENDING).exists()
        assert 0 < Attempt.objects.count() < MESSAGES
        # Messages that were not tried are given back at once.
        waiting = Delivery.objects.filter(status=Delivery.Status.PENDING)
        assert not waiting.filter(queued_until__isnull=False).exists()
        stack.sandbox.control("DELETE", "faults")
        stack.start_worker(exits, "second")
        stack.start_beat(exits)
        eventually(all_accepted, stack.programs.values())

    assert arrived_by_person(stack) == ONE_EACH
    assert Attempt.objects.count() == MESSAGES


def test_a_worker_outlives_a_broker_that_goes_away_while_a_task_is_under_way(stack: Stack) -> None:
    stack.sandbox.fault("slow", "message/send", seconds=4, count=MESSAGES)
    broker = start_valkey()
    stack.env["VALKEY_URL"] = broker.url
    try:
        with ExitStack() as exits:
            worker = stack.start_worker(exits)
            stack.start_beat(exits)
            # This process uses another broker, so the tick has to find the runs.
            ask_for_personal_messages()
            Run.objects.update(render_after=datetime.now(UTC))
            eventually(Attempt.objects.exists, stack.programs.values())

            broker.kill()
            time.sleep(1)
            broker.restart()

            eventually(all_accepted, stack.programs.values(), seconds=240)
            assert worker.process.poll() is None
    finally:
        broker.stop()

    assert arrived_by_person(stack) == ONE_EACH
