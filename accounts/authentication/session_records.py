"""The browsers in which a person is signed in: recorded as they are used, shown to the person, ended by the person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import F

from accounts.authentication import session_store
from accounts.authentication.flow import Device, device_of
from accounts.authentication.session_store import stored_key
from accounts.authentication.sessions import CORP_KEY, is_over, longest
from accounts.models import SignedInSession, User
from accounts.models.security import USER_AGENT_CHARACTERS

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest


# So often the last use is written down at most. Unused sessions of staff end soon: theirs is noted more often.
NOTED_EVERY = timedelta(minutes=10)
NOTED_EVERY_OF_STAFF = timedelta(minutes=1)
# More than anybody has; a list that long would help nobody.
SHOWN_AT_MOST = 50
PURGED_AT_ONCE = 1000
# By hand, with a new session itself (session_store): where one of them is, the other is.
_INSERT = """
INSERT INTO accounts_signedinsession (user_id, session_key, corp_id, user_agent, began_at, last_used_at)
VALUES (%s, %s, %s, %s, %s, %s)
"""
# In the session: under which stored key and when it was last noted.
_NOTED = "noted"


@dataclass(frozen=True, slots=True)
class OwnSession:
    """A session as its person sees it."""

    pk: int
    device: Device
    company: str
    began_at: datetime
    last_used_at: datetime
    is_current: bool


def note_use(request: HttpRequest, *, was_signed_in: bool, now: datetime) -> None:
    """Write down that the session of `request` is in use; at once for a new one, else every NOTED_EVERY or so.

    `was_signed_in`: already before the request, which may have deleted its person. Called before the session is saved.
    Django gives a session another key at sign-in and when a password changes.
    """
    session: Any = request.session
    user_id = session.get(SESSION_KEY)
    if user_id is None:
        return
    if session.session_key is None:
        session.save()
    key = stored_key(str(session.session_key))
    noted = session.get(_NOTED)
    is_staff = isinstance(request.user, User) and request.user.is_staff
    every = NOTED_EVERY_OF_STAFF if is_staff else NOTED_EVERY
    if noted is not None and noted[0] == key and now.timestamp() - noted[1] < every.total_seconds():
        return
    if noted is not None and noted[0] != key:
        _forget(noted[0])
    session[_NOTED] = [key, int(now.timestamp())]
    if noted is not None and noted[0] == key and _write_again(request, int(user_id), key, now):
        return
    row = _row(request, int(user_id), key, now)
    if noted is None and not was_signed_in:  # signing in has just given the session a key, which nobody else has
        session.write_beside(_INSERT, [row.user_id, key, row.corp_id, row.user_agent, now, now])
    elif not was_signed_in or User.objects.filter(pk=user_id).exists():
        _write(row)


def last_noted(session: SessionBase) -> datetime | None:
    """When the session was last written down as used."""
    noted = session.get(_NOTED)
    return None if noted is None else datetime.fromtimestamp(noted[1], UTC)


def forget(*, session_key: str) -> None:
    """The session is over: its person signed out in it, or it has another key now."""
    _forget(stored_key(session_key))


def of_person(user: User, *, current_key: str | None, now: datetime) -> list[OwnSession]:
    """Sessions that are still good, this one first, then the last used. Two queries."""
    rows = SignedInSession.objects.filter(user=user).select_related("corp").order_by(F("last_used_at").desc())
    newest = [row for row in rows[:SHOWN_AT_MOST] if not _is_over(row, user, now)]
    current = None if current_key is None else stored_key(current_key)
    good = set(
        Session.objects.filter(session_key__in=[row.session_key for row in newest], expire_date__gt=now).values_list(
            "session_key", flat=True
        )
    )
    found = [
        OwnSession(
            pk=row.pk,
            device=device_of(row.user_agent),
            company=row.corp.name if row.corp else "",
            began_at=row.began_at,
            last_used_at=row.last_used_at,
            is_current=row.session_key == current,
        )
        for row in newest
        if row.session_key in good
    ]
    return sorted(found, key=lambda session: not session.is_current)


def end(*, user: User, pk: int) -> bool:
    """End one session of `user`, wherever it is. False where there is none of that number (any more).

    Raises redis.RedisError where Valkey may still hold a copy; the row then stays, so that it can be tried again.
    """
    row = SignedInSession.objects.filter(user=user, pk=pk).first()
    if row is None:
        return False
    session_store.end(row.session_key)
    row.delete()
    return True


def end_all(*, user: User) -> None:
    """End every session of `user`, also those that nobody has written down."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    SignedInSession.objects.filter(user=user).delete()


def purge(*, now: datetime) -> int:
    """Remove what stands for sessions that are over for want of use."""
    old = SignedInSession.objects.filter(last_used_at__lte=now - longest()).order_by("pk")
    removed = 0
    while keys := list(old.values_list("pk", flat=True)[:PURGED_AT_ONCE]):
        removed += SignedInSession.objects.filter(pk__in=keys).delete()[0]
    return removed


def _write_again(request: HttpRequest, user_id: int, key: str, now: datetime) -> bool:
    """The usual case. False where there is no row (any more)."""
    rows = SignedInSession.objects.filter(session_key=key, user_id=user_id)
    return bool(rows.update(last_used_at=now, corp_id=request.session.get(CORP_KEY)))


def _row(request: HttpRequest, user_id: int, key: str, now: datetime) -> SignedInSession:
    return SignedInSession(
        session_key=key,
        user_id=user_id,
        corp_id=request.session.get(CORP_KEY),
        user_agent=request.headers.get("User-Agent", "")[:USER_AGENT_CHARACTERS],
        began_at=now,
        last_used_at=now,
    )


def _write(row: SignedInSession) -> None:
    """One statement, so that two requests at once in one new browser write one row."""
    changed = ("user", "corp", "user_agent", "last_used_at")
    SignedInSession.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["session_key"], update_fields=changed
    )


def _forget(stored: str) -> None:
    SignedInSession.objects.filter(session_key=stored).delete()


def _is_over(row: SignedInSession, user: User, now: datetime) -> bool:
    return is_over(opened_at=row.began_at, used_at=row.last_used_at, is_staff=user.is_staff, now=now)
