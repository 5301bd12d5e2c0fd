"""What a session carries: its company, browser, age and rights, and what its person has proven.

A session ends at the next request once its person is disabled, has left the company through which it was opened, or its
time is over: accounts.authentication.middleware asks `standing_of` and `is_over`.

Whoever controls a company's app, its console or its directory in WeCom decides who WeCom says somebody is. A sign-in
with WeCom must therefore not carry rights that reach beyond that company, unless a superuser allowed it for this one
(Corp.admin_rights_enabled). Such a session is an employee's until its person has given a password, or a code
of an authenticator app that WeCom alone cannot have set up.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.utils import timezone

from accounts.audit import services
from accounts.authentication.flow import CurrentSession
from accounts.authentication.state import Kind
from accounts.models import TotpDevice, User, WeComAccount

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    from integrations.models import Corp

PASSWORD_BACKEND = "django.contrib.auth.backends.ModelBackend"  # noqa: S105  # the name of a class
REMEMBERED_SECONDS = 30 * 24 * 3600
EMPLOYEE_SESSION_DAYS = 30
# In the session: the corp through which the person signed in. Absent after sign-in by password.
CORP_KEY = "corp_id"
# In the session: by which way it was opened. Absent in sessions from before it was written down.
METHOD_KEY = "sign_in_method"
# In the session: when somebody signed in with it.
OPENED_KEY = "opened_at"
# In the session: when its person was last proven to be there.
CONFIRMED_KEY = "confirmed_at"
# In the session: a code of the authenticator app is missing; a code was given.
_CODE_MISSING, _CODE_GIVEN = "totp_pending", "totp_verified"
# In the session: the digest of what the browser's second cookie holds.
_BROWSER_KEY = "bound_to"
_BROWSER_COOKIE = "guanwecom-session"
_CORP_COOKIE = "guanwecom-company"
_CORP_SECONDS = 365 * 24 * 3600


class SignInMethod(StrEnum):
    PASSWORD = "password"  # noqa: S105  # a way in, not a secret
    WECOM_QR = "wecom-qr"
    WECOM_SILENT = "wecom-silent"
    WECOM_AND_CODE = "wecom-and-code"  # with a code of the authenticator app in place of a password


_METHODS = {Kind.QR: SignInMethod.WECOM_QR, Kind.SILENT: SignInMethod.WECOM_SILENT}


class Standing(Enum):
    """What a session is worth at a request."""

    OPEN = "open"
    WITHOUT_RIGHTS = "without rights"  # an employee's, though its person has rights
    OUTLIVED = "outlived"


# --- Sign-in ----------------------------------------------------------------------------------------------------------


def note_last_login(sender: object, user: Any, **_kwargs: Any) -> None:
    """A receiver of user_logged_in, in place of Django's, which takes several times as long to write the statement as
    the database to do it."""
    if not isinstance(user, User):
        return
    user.last_login = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_user SET last_login = %s WHERE id = %s", [user.last_login, user.pk])


def note_sign_in(sender: object, request: HttpRequest | None, user: Any, **_kwargs: Any) -> None:
    """A receiver of user_logged_in: whatever the session held of an earlier sign-in is replaced."""
    if request is None or not isinstance(user, User):
        return
    by_password = getattr(user, "backend", "") == PASSWORD_BACKEND
    services.record_sign_in(user=user, note=services.PASSWORD if by_password else services.WECOM)
    session, now = request.session, timezone.now()
    note_opened(session, now)
    forget_code(session)
    session.pop(_CODE_MISSING, None)
    if user.is_staff and TotpDevice.objects.filter(user=user).exists():  # no query for employees
        session[_CODE_MISSING] = True
    note_confirmed(session, now)  # tie_to_corp knows which of WeCom's ways prove nothing


def tie_to_corp(request: HttpRequest, corp: Corp, *, kind: Kind) -> None:
    """Note, after login(), that this session was opened through `corp`, and how.

    Django keeps the session of somebody who signs in again: how long a password before it was remembered ends here.
    """
    request.session[CORP_KEY] = corp.pk
    request.session[METHOD_KEY] = _METHODS[kind].value
    request.session.set_expiry(None)
    if not (kind is Kind.QR and isinstance(request.user, User) and carries_rights(request.user, corp=corp)):
        request.session.pop(CONFIRMED_KEY, None)


def untie(request: HttpRequest) -> None:
    """Note, after login(), that this session was opened by password: it depends on no corp (any more)."""
    request.session.pop(CORP_KEY, None)
    request.session[METHOD_KEY] = SignInMethod.PASSWORD.value


def set_length(request: HttpRequest, *, is_remembered: bool) -> None:
    """After sign-in by password: until the browser is closed, or for REMEMBERED_SECONDS after the last use."""
    request.session.set_expiry(REMEMBERED_SECONDS if is_remembered else 0)


def note_code(session: SessionBase) -> None:
    """Its person gave a right code. Another key for the session, as at sign-in: it can do more now."""
    session.cycle_key()
    session.pop(_CODE_MISSING, None)
    session[_CODE_GIVEN] = True
    note_confirmed(session, timezone.now())


def add_code(request: HttpRequest, person: User) -> None:
    """Note that `person`, whom WeCom signed in without rights, gave a right code. The session goes on as a full one.

    It still depends on the corp: the code says that the person is there, not that they may sign in without WeCom.
    """
    note_code(request.session)
    note_opened(request.session, timezone.now())
    request.session[METHOD_KEY] = SignInMethod.WECOM_AND_CODE.value
    services.record_sign_in(user=User.objects.get(pk=person.pk), note=services.WECOM_AND_CODE)


def forget_code(session: SessionBase) -> None:
    """It counts as a session in which no code was given."""
    session.pop(_CODE_GIVEN, None)


def needs_code(session: SessionBase) -> bool:
    """Whether its person has an authenticator app and has not given a code since the sign-in."""
    return bool(session.get(_CODE_MISSING))


def needs_device(session: SessionBase) -> bool:
    """Where every administrator has to have an authenticator app, a session that none has opened yet."""
    return settings.STAFF_TOTP_REQUIRED and not session.get(_CODE_GIVEN) and not needs_code(session)


def signed_in_key(request: HttpRequest) -> str | None:
    """The key of the request's session, if somebody is signed in with it."""
    return request.session.session_key if SESSION_KEY in request.session else None


def of_request(request: HttpRequest, *, corp_id: int) -> CurrentSession:
    """Who the browser's session belongs to, as seen by the company of this number."""
    is_signed_in = request.user.is_authenticated
    return CurrentSession(
        is_signed_in=is_signed_in, is_of_this_corp=is_signed_in and request.session.get(CORP_KEY) == corp_id
    )


# --- Rights -----------------------------------------------------------------------------------------------------------


def admin_rights_allowed(request: HttpRequest) -> bool:
    """Whether this session carries whatever rights its person has."""
    return not (isinstance(request.user, User) and request.user.has_withheld_rights)


def carries_rights(person: User, *, corp: Corp) -> bool:
    """Whether a sign-in with WeCom through `corp` carries whatever rights `person` has."""
    return corp.admin_rights_enabled or not person.reaches_beyond(corp_id=corp.pk)


def is_independent_of_wecom(request: HttpRequest) -> bool:
    """Whether its person gave something that whoever decides what WeCom says does not have."""
    return CORP_KEY not in request.session or request.session.get(METHOD_KEY) == SignInMethod.WECOM_AND_CODE.value


def standing_of(request: HttpRequest) -> Standing:
    """OUTLIVED: its person is disabled, or has no account any more that may sign in, of the corp through which it was
    opened. WITHOUT_RIGHTS: see above.

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
    if carries_rights[0] or is_independent_of_wecom(request) or not request.user.reaches_beyond(corp_id=corp_id):
        return Standing.OPEN
    return Standing.WITHOUT_RIGHTS


# --- Confirmation: is its person still there? -------------------------------------------------------------------------


def note_confirmed(session: SessionBase, now: datetime) -> None:
    """Its person has just proven to be there."""
    session[CONFIRMED_KEY] = now.timestamp()


def is_confirmed(session: SessionBase, now: datetime) -> bool:
    """Whether the person proved within settings.CONFIRMATION_MINUTES, by password or another factor, to be there.

    Checked before rights, secrets, addresses and tokens are changed (integrations.core.admin_pages). A sign-in of
    that kind counts, too; WeCom's silent one never does, since it asks the phone and not the person.
    """
    seconds = session.get(CONFIRMED_KEY)
    period = timedelta(minutes=settings.CONFIRMATION_MINUTES)
    return seconds is not None and now.timestamp() - seconds < period.total_seconds()


# --- Age. Django's own expiry moves on with each use. These ends do not: they are counted from the sign-in, and for
# staff from the last use, too. Both stand in the session, so a request needs no query


def note_opened(session: SessionBase, now: datetime) -> None:
    """The session's age counts from `now`."""
    session[OPENED_KEY] = int(now.timestamp())


def opened_at(session: SessionBase) -> datetime | None:
    """None for a session from before this was noted."""
    seconds = session.get(OPENED_KEY)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def is_over(*, opened_at: datetime, used_at: datetime, is_staff: bool, now: datetime) -> bool:
    """Whether a session of that age, last used then, has reached its end; it comes sooner for administrators."""
    if not is_staff:
        return now - opened_at >= longest()
    if now - opened_at >= timedelta(hours=settings.STAFF_SESSION_HOURS):
        return True
    return now - used_at >= timedelta(minutes=settings.STAFF_SESSION_IDLE_MINUTES)


def longest() -> timedelta:
    """How long any session can last."""
    return timedelta(days=EMPLOYEE_SESSION_DAYS)


# --- Browser. A sibling domain can plant the session cookie of somebody else: its victim would go on in that person's
# session, and take it for the own one. A second cookie, with the prefix __Host- under https, cannot be planted. A
# session that comes without its own is nobody's


def is_of_browser(request: HttpRequest) -> bool:
    """Whether the request's session belongs to this browser, as far as it was tied to one."""
    tied_to = request.session.get(_BROWSER_KEY)
    if tied_to is None:
        return True
    return secrets.compare_digest(tied_to, _digest(request.COOKIES.get(_browser_cookie(request), "")))


def tie_to_browser(request: HttpRequest, response: HttpResponse) -> None:
    """After a sign-in: the session and this browser belong together from now on."""
    secret, session = secrets.token_urlsafe(32), request.session
    session[_BROWSER_KEY] = _digest(secret)
    # As long as the session's own cookie can be kept.
    seconds = None if session.get_expire_at_browser_close() else int(longest().total_seconds())
    _set_cookie(response, request, _browser_cookie(request), secret, seconds)


def remembered_corp_id(request: HttpRequest) -> int | None:
    """The company that this browser signed in with last. A preference only: it decides nothing."""
    value = request.COOKIES.get(_CORP_COOKIE, "")
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def remember_corp_id(response: HttpResponseBase, request: HttpRequest, corp_id: int) -> None:
    """For a year, in a cookie that remembered_corp_id reads."""
    _set_cookie(response, request, _CORP_COOKIE, str(corp_id), _CORP_SECONDS)


def _set_cookie(response: HttpResponseBase, request: HttpRequest, name: str, value: str, seconds: int | None) -> None:
    """`seconds`: None until the browser is closed."""
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=request.is_secure(), httponly=True, samesite="Lax"
    )


def _browser_cookie(request: HttpRequest) -> str:
    return f"__Host-{_BROWSER_COOKIE}" if request.is_secure() else _BROWSER_COOKIE


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
