"""Whether the session's person confirmed recently, by password or another factor, that it is still them.

Asked before rights, secrets, addresses and tokens are changed (integrations.core.reauthentication). A sign-in of that
kind counts, too; WeCom's silent one never does, since it asks the phone and not the person.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.http import QueryDict

from accounts.authentication.admin_rights import carries_rights
from accounts.models import WeComAccount
from integrations.models.fields import cipher

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

    from accounts.models import User
    from integrations.models import Corp

# In the session: when its person was last proven to be there.
CONFIRMED_KEY = "confirmed_at"
# How long what somebody typed waits for them to confirm it.
TYPED_SECONDS = 3600


def note_confirmed(session: SessionBase, now: datetime) -> None:
    session[CONFIRMED_KEY] = now.timestamp()


def forget(session: SessionBase) -> None:
    session.pop(CONFIRMED_KEY, None)


def is_fresh(session: SessionBase, now: datetime) -> bool:
    """Within settings.CONFIRMATION_MINUTES."""
    seconds = session.get(CONFIRMED_KEY)
    period = timedelta(minutes=settings.CONFIRMATION_MINUTES)
    return seconds is not None and now.timestamp() - seconds < period.total_seconds()


def companies_to_scan_for(person: User) -> list[Corp]:
    """Through which companies a scan of WeCom's QR code confirms `person`: where it carries all their rights."""
    accounts = (
        WeComAccount.objects.signing_in().filter(user=person).select_related("corp").order_by("-is_primary", "pk")
    )
    return [
        account.corp for account in accounts if account.corp is not None and carries_rights(person, corp=account.corp)
    ]


def seal(typed: QueryDict, *, person: User, path: str) -> str:
    """What was sent to `path`, for the page that asks to hold: nobody else, and no other page, can use it."""
    return cipher().encrypt(json.dumps([person.pk, path, typed.urlencode()]).encode()).decode()


def unseal(sealed: str, *, person: User, path: str) -> QueryDict | None:
    """None for what was not sealed for `person` and `path`, or too long ago."""
    try:
        person_id, sealed_path, typed = json.loads(cipher().decrypt(sealed.encode(), ttl=TYPED_SECONDS))
    except (InvalidToken, UnicodeEncodeError):
        return None
    return QueryDict(typed) if (person_id, sealed_path) == (person.pk, path) else None
