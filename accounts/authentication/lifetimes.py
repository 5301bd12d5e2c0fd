"""Maximum age and idle time of sessions; shorter for administrators.

Django's own expiry moves on with each use. These ends do not: they are counted from the sign-in, and for staff from the
last use, too. Both stand in the session, so a request looks nothing up.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

# In the session: when somebody signed in with it.
OPENED_KEY = "opened_at"


def note_opened(session: SessionBase, now: datetime) -> None:
    session[OPENED_KEY] = int(now.timestamp())


def opened_at(session: SessionBase) -> datetime | None:
    """None for a session from before this was noted."""
    seconds = session.get(OPENED_KEY)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def is_over(*, opened_at: datetime, used_at: datetime, is_staff: bool, now: datetime) -> bool:
    """Whether a session of that age, last used then, has reached its end."""
    if not is_staff:
        return now - opened_at >= timedelta(days=settings.EMPLOYEE_SESSION_DAYS)
    if now - opened_at >= timedelta(hours=settings.STAFF_SESSION_HOURS):
        return True
    return now - used_at >= timedelta(minutes=settings.STAFF_SESSION_IDLE_MINUTES)


def longest() -> timedelta:
    """How long any session can last."""
    return timedelta(days=settings.EMPLOYEE_SESSION_DAYS)
