"""Sessions that were opened through WeCom: they last only as long as the account behind them may sign in."""

from __future__ import annotations

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest

from accounts.arrival import Session
from accounts.models import WeComAccount
from integrations.models import Corp

# In the session: the corp through which the person signed in. Absent after sign-in by password.
CORP_KEY = "corp_id"
REMEMBERED_SECONDS = 30 * 24 * 3600


def tie_to_corp(request: HttpRequest, corp: Corp) -> None:
    """Note, after login(), that this session was opened through `corp`.

    Django keeps the session of somebody who signs in again: how long a password before it was remembered ends here.
    """
    request.session[CORP_KEY] = corp.pk
    request.session.set_expiry(None)


def untie(request: HttpRequest) -> None:
    """Note, after login(), that this session was opened by password: it depends on no corp (any more)."""
    request.session.pop(CORP_KEY, None)


def set_length(request: HttpRequest, *, is_remembered: bool) -> None:
    """After sign-in by password: until the browser is closed, or for REMEMBERED_SECONDS after the last use."""
    request.session.set_expiry(REMEMBERED_SECONDS if is_remembered else 0)


def of_request(request: HttpRequest, *, corp_id: int) -> Session:
    """Who the browser's session belongs to, as seen by the company of this number."""
    is_signed_in = request.user.is_authenticated
    return Session(is_signed_in=is_signed_in, is_of_this_corp=is_signed_in and request.session.get(CORP_KEY) == corp_id)


def is_outlived(request: HttpRequest) -> bool:
    """True for a session whose person is disabled, or that was opened through a corp in which the person has no account
    any more that may sign in.

    One look-up by index beside that of the person, which the page needs anyway; none for anonymous people, and for
    sessions opened by password. Nothing is remembered from one request to the next: access ends at the next click.
    """
    corp_id, user_id = request.session.get(CORP_KEY), request.session.get(SESSION_KEY)
    if user_id is None:
        return False
    if not request.user.is_authenticated:  # or it would go on once the person is enabled again
        return True
    if corp_id is None:
        return False
    return not WeComAccount.objects.signing_in().filter(user_id=user_id, corp_id=corp_id).exists()
