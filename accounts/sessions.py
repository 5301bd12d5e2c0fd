"""Sessions that were opened through WeCom: they last only as long as the account behind them may sign in."""

from __future__ import annotations

from enum import Enum

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.arrival import Session
from accounts.authentication import confirmation, lifetimes, sign_ins
from accounts.authentication.admin_rights import SignInMethod, carries_rights, method_of, note_method, reaches_beyond
from accounts.login_state import Kind
from accounts.models import User, WeComAccount
from integrations.models import Corp

# In the session: the corp through which the person signed in. Absent after sign-in by password.
CORP_KEY = "corp_id"
REMEMBERED_SECONDS = 30 * 24 * 3600
_METHODS = {Kind.QR: SignInMethod.WECOM_QR, Kind.SILENT: SignInMethod.WECOM_SILENT}


class Standing(Enum):
    """What a session is worth at a request."""

    OPEN = "open"
    WITHOUT_RIGHTS = "without rights"  # an employee's, though its person has rights
    OUTLIVED = "outlived"


def tie_to_corp(request: HttpRequest, corp: Corp, *, kind: Kind) -> None:
    """Note, after login(), that this session was opened through `corp`, and how.

    Django keeps the session of somebody who signs in again: how long a password before it was remembered ends here.
    """
    request.session[CORP_KEY] = corp.pk
    note_method(request.session, _METHODS[kind])
    request.session.set_expiry(None)
    if not (kind is Kind.QR and isinstance(request.user, User) and carries_rights(request.user, corp=corp)):
        confirmation.forget(request.session)


def untie(request: HttpRequest) -> None:
    """Note, after login(), that this session was opened by password: it depends on no corp (any more)."""
    request.session.pop(CORP_KEY, None)
    note_method(request.session, SignInMethod.PASSWORD)


def add_code(request: HttpRequest, person: User) -> None:
    """Note that `person`, whom WeCom signed in without rights, gave a right code. The session goes on as a full one.

    It still depends on the corp: the code says that the person is there, not that they may sign in without WeCom.
    """
    sign_ins.note_code(request.session)
    lifetimes.note_opened(request.session, timezone.now())
    note_method(request.session, SignInMethod.WECOM_AND_CODE)
    audit.record_sign_in(user=User.objects.get(pk=person.pk), note=audit.WECOM_AND_CODE)


def is_independent_of_wecom(request: HttpRequest) -> bool:
    """Whether its person gave something that whoever decides what WeCom says does not have."""
    return CORP_KEY not in request.session or method_of(request.session) is SignInMethod.WECOM_AND_CODE


def set_length(request: HttpRequest, *, is_remembered: bool) -> None:
    """After sign-in by password: until the browser is closed, or for REMEMBERED_SECONDS after the last use."""
    request.session.set_expiry(REMEMBERED_SECONDS if is_remembered else 0)


def of_request(request: HttpRequest, *, corp_id: int) -> Session:
    """Who the browser's session belongs to, as seen by the company of this number."""
    is_signed_in = request.user.is_authenticated
    return Session(is_signed_in=is_signed_in, is_of_this_corp=is_signed_in and request.session.get(CORP_KEY) == corp_id)


def standing_of(request: HttpRequest) -> Standing:
    """OUTLIVED: its person is disabled, or has no account any more that may sign in, of the corp through which it was
    opened. WITHOUT_RIGHTS: see accounts.authentication.admin_rights.

    One look-up by index beside that of the person, which the page needs anyway; none for anonymous people, and for
    sessions opened by password. Nothing is remembered from one request to the next: access ends at the next click.
    """
    corp_id, user_id = request.session.get(CORP_KEY), request.session.get(SESSION_KEY)
    if user_id is None:
        return Standing.OPEN
    if not request.user.is_authenticated:  # or it would go on once the person is enabled again
        return Standing.OUTLIVED
    if corp_id is None:
        return Standing.OPEN
    accounts = WeComAccount.objects.signing_in().filter(user_id=user_id, corp_id=corp_id)
    carries_rights = accounts.values_list("corp__admin_rights_enabled", flat=True)[:1]
    if not carries_rights:
        return Standing.OUTLIVED
    if carries_rights[0] or is_independent_of_wecom(request) or not reaches_beyond(request.user, corp_id=corp_id):
        return Standing.OPEN
    return Standing.WITHOUT_RIGHTS
