"""Stores in the session how and when its person signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from accounts.authentication import confirmation, lifetimes, totp
from accounts.models import User

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest


def note_sign_in(sender: object, request: HttpRequest, user: Any, **_kwargs: Any) -> None:
    """A receiver of user_logged_in: whatever the session held of an earlier sign-in is replaced."""
    now = timezone.now()
    lifetimes.note_opened(request.session, now)
    if isinstance(user, User):
        totp.note_sign_in(request.session, user)
    confirmation.note_confirmed(request.session, now)  # what WeCom's ways prove, accounts.authentication.sessions knows


def note_code(session: SessionBase) -> None:
    """Its person gave a right code. Another key for the session, as at sign-in: it can do more now."""
    session.cycle_key()
    totp.note_verified(session)
    confirmation.note_confirmed(session, timezone.now())
