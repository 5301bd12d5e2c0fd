"""Makes the run of a notice: a message of the product itself to one person."""

from __future__ import annotations

from datetime import datetime

from notifications.delivery.leases import RENDER_LEASE
from notifications.models import Run


def new_notice(*, key: str, person_id: int | None, corp_id: int | None, now: datetime) -> Run:
    """Return the run of a notice to one person, which is not saved yet."""
    return Run(
        key=key,
        corp_id=corp_id,
        trigger=Run.Trigger.NOTICE,
        requested_by_id=person_id,
        slot_at=now,
        claimed_at=now,
        render_after=now + RENDER_LEASE,
    )
