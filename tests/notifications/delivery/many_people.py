"""A company with a person for each message, and the programs that send, for tests that kill programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from accounts.models import User
from notifications import tasks
from notifications.models import Delivery, MessageForm, Run
from tests.crowd import expect_one_each, run_crowd
from tests.e2e.stack import Stack
from tests.notifications.factories import make_report, make_run, make_subscription

# As many as one task renders and one task sends: once the first is accepted, all are rendered and handed out.
MESSAGES = tasks.RUNS_PER_TASK
# The expected result of tests.crowd.arrived_by_person.
ONE_EACH = expect_one_each(MESSAGES)


@contextmanager
def stack_of_many(*, env: dict[str, str], root: Path, folder: Path) -> Iterator[Stack]:
    """Run a stack of one company with one person for each message; no worker yet."""
    ours = {**env, "WECOM_TOTAL_TIMEOUT_SECONDS": "7"}
    with run_crowd(MESSAGES, env=ours, root=root, folder=folder) as stack:
        yield stack


def ask_for_personal_messages() -> None:
    """Enqueue a run with one delivery for each person. One task renders all runs, another sends all messages."""
    now = datetime.now(UTC)
    form = MessageForm.TEXT
    runs: list[Run] = []
    for person in User.objects.order_by("pk"):
        subscription = make_subscription(person, report=make_report(), message_form=form, next_run_at=None)
        runs.append(make_run(subscription, now=now))
    tasks.enqueue_runs([run.pk for run in runs])


def all_accepted() -> bool:
    return Delivery.objects.filter(status=Delivery.Status.ACCEPTED).count() == MESSAGES
