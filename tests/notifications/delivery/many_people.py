"""One company with a person for each message, and real programs that send it: what tests of lost programs share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accounts.models import User, WeComAccount
from integrations.models import Corp
from notifications import tasks
from notifications.models import Delivery, MessageForm, Run
from tests.e2e.stack import Stack
from tests.notifications.factories import make_report, make_run, make_subscription
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

# As many as one task makes and one task sends: when the first is accepted, none is still to be made or handed out.
MESSAGES = tasks.RUNS_PER_TASK
# The shortest that the checks allow: longer than a call's total deadline.
LEASE_SECONDS = 21


@contextmanager
def stack_of_many(*, env: dict[str, str], root: Path, folder: Path) -> Iterator[Stack]:
    """One company, one person for each message; no worker yet."""
    members: list[dict[str, Any]] = [
        {"userid": f"P{number:03}", "name": f"员工{number}", "department": [2]} for number in range(MESSAGES)
    ]
    with start_sandbox(seed={"companies": [company(members=members, tags=[])]}) as sandbox:
        corp = Corp.objects.create(
            name="北山制造",
            corpid=CORPID,
            agentid=AGENTID,
            secret=SECRET,
            api_base_url=sandbox.base_url,
            is_enabled=True,
        )
        for member in members:
            person = User.objects.create(username=member["userid"])
            WeComAccount.objects.create(user=person, corp=corp, userid=member["userid"])
        ours = {**env, "DELIVERY_LEASE_SECONDS": str(LEASE_SECONDS)}
        yield Stack(env=ours, root=root, folder=folder, sandbox=sandbox)


def ask_for_personal_messages() -> None:
    """One run, and so one delivery, for each person: all of them are made by one task, and sent by another."""
    now = datetime.now(UTC)
    form = MessageForm.TEXT
    runs: list[Run] = []
    for person in User.objects.order_by("pk"):
        subscription = make_subscription(person, report=make_report(), message_form=form, next_run_at=None)
        runs.append(make_run(subscription, now=now))
    tasks.enqueue_runs([run.pk for run in runs])


def arrived(stack: Stack) -> Counter[str]:
    people = WeComAccount.objects.values_list("userid", flat=True)
    return Counter({userid: len(stack.sandbox.messages(CORPID, userid)) for userid in people})


ONE_EACH = Counter({f"P{number:03}": 1 for number in range(MESSAGES)})


def all_accepted() -> bool:
    return Delivery.objects.filter(status=Delivery.Status.ACCEPTED).count() == MESSAGES
