"""Sends a run again to those whom it did not reach. Who may have got it is left out unless that is confirmed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from notifications.dispatch import run_fields
from notifications.models import Run

if TYPE_CHECKING:
    from accounts.models import User

OVER = (Run.Status.SENDING, Run.Status.FINISHED)


def can_be_resent(run: Run) -> bool:
    """Whether the run has come as far as having receipts, and its order still says what to send."""
    return run.status in OVER and run.subscription_id is not None and run.recall_asked_at is None


def request_resend(run: Run, *, number: int, with_unknown: bool, person: User, now: datetime) -> tuple[Run, bool]:
    """The run that sends it again, and whether it is new. The same page sent twice gives the same run.

    `number`: which resending of the run this is, from next_number. Its slot is that of the run, so that what it says
    of its time stays true; it is worthless its full lifetime from now. Its subscription's present text is sent.
    """
    if run.subscription is None:
        raise ValueError("a run without its subscription cannot be sent again")
    fields = run_fields(run.subscription, Run.Trigger.RESEND, slot_at=now, now=now)
    asked = {"requested_by": person, "resends": run, "resends_unknown": with_unknown}
    return Run.objects.get_or_create(key=f"resend:{run.pk}:{number}", defaults={**fields, **asked})


def next_number(run: Run) -> int:
    return Run.objects.filter(resends=run).count() + 1
