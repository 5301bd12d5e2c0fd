"""Sessions: storage, company, rights, confirmation, age, binding to the browser, and when they end.

A session ends at the next request once the person is disabled, or may no longer sign in through the company of the
sign-in, or once a time limit is reached.

People who control a company's app, console or directory in WeCom decide which identity WeCom reports. A sign-in with
WeCom must therefore not give rights in other companies, unless a superuser has allowed it for this company
(Corp.admin_rights_enabled). Otherwise the session of a person with such rights has only an employee's rights, until the
person enters a password, or a code of an authenticator app (TotpDevice.is_independent).
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import connection
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.http import urlencode
from redis.exceptions import RedisError

from accounts.audit import services
from accounts.authentication import passwords, totp
from accounts.authentication.flow import CurrentSession, SignInKind, hash_text, set_cookie
from accounts.models import SignedInSession, TotpDevice, User, WeComAccount
from accounts.models.users import USER_AGENT_CHARACTERS
from integrations.core.http import needs_no_session

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.contrib.sessions.base_session import AbstractBaseSession
    from django.http import HttpResponseBase

    from integrations.models import Corp


logger = logging.getLogger(__name__)

_KEY_CHARACTERS = 32
# The column of Django's table has room for 40 characters.
_DIGEST_BYTES = 20


def hash_session_key(session_key: str) -> str:
    """Return the key under which the session is stored in the database and in Valkey. `session_key`: the value of the
    cookie. A plain digest is enough, because session keys are long and random."""
    return hashlib.blake2b(session_key.encode(), digest_size=_DIGEST_BYTES).hexdigest()


class SessionStore(CachedStore):
    """Session store that works without its cache, the Valkey server. Only `delete` still raises RedisError: code that
    ends another browser's session must know that a cached copy may be left."""

    _is_new = False  # whether the key is not in the database yet
    _is_copying = False  # whether the row was read from the database, to be copied to the cache

    @property
    def cache_key(self) -> str:
        if self.session_key is None:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]  # not in the stubs
        return f"{self.cache_key_prefix}{hash_session_key(str(self.session_key))}"

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row: AbstractBaseSession = super().create_model_instance(data)
        row.session_key = hash_session_key(row.session_key)
        return row

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        rows = self.model.objects.filter(
            session_key=hash_session_key(str(self.session_key)), expire_date__gt=timezone.now()
        )
        row: AbstractBaseSession | None = rows.first()
        if row is None:
            self._session_key = None  # a key from a cookie is used only if it is stored
        self._is_copying = row is not None
        return row

    def load(self) -> dict[str, Any]:
        self._is_copying = False
        try:
            data: dict[str, Any] = super().load()
            if not (self._is_copying and self._drop_if_ended()):
                return data
            self._session_key = None
            return {}
        except RedisError as error:
            _log_unreachable_cache(error)
            return DatabaseStore.load(self)

    def exists(self, session_key: str) -> bool:
        try:
            return bool(super().exists(hash_session_key(session_key)))
        except RedisError as error:
            _log_unreachable_cache(error)
            return bool(DatabaseStore.exists(self, hash_session_key(session_key)))

    def cycle_key(self) -> None:
        """Give the session a new key, as at sign-in. The row is written when the session is saved.

        Django's own method looks the new key up first, and writes the row twice. Here the insert fails in the unlikely
        case that the key exists.
        """
        old_key = self.session_key
        self._session_cache = dict(self.items())  # load the data under the old key
        self._session_key = get_random_string(_KEY_CHARACTERS, VALID_KEY_CHARS)
        self._is_new = self.modified = True
        if old_key:
            try:
                self.delete(old_key)
            except RedisError as error:
                _log_unreachable_cache(error)

    def save(self, must_create: bool = False) -> None:
        is_new = must_create or self._is_new or self.session_key is None
        super().save(must_create or self._is_new)
        self._is_new = False
        if not is_new:
            try:
                self._drop_if_ended()
            except RedisError as error:
                _log_unreachable_cache(error)

    def _drop_if_ended(self) -> bool:
        """Delete the cached copy if the session's row is gone. Return whether the row is gone. Another browser may have
        ended the session after the row was read or written here; with the copy the session would go on."""
        if DatabaseStore.exists(self, hash_session_key(str(self.session_key))):
            return False
        self._cache.delete(self.cache_key)  # type: ignore[attr-defined]  # not in the stubs
        return True

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(hash_session_key(key))

    def flush(self) -> None:
        self.clear()
        try:
            self.delete()
        except RedisError as error:
            _log_unreachable_cache(error)
        self._session_key = None


def _log_unreachable_cache(error: RedisError) -> None:
    logger.error("session cache unreachable error=%s", type(error).__name__)


PASSWORD_BACKEND = "django.contrib.auth.backends.ModelBackend"  # noqa: S105  # the name of a class
# The expiry of a session if its person ticked "Keep me signed in", and the age at which every session ends.
REMEMBERED_SECONDS = 30 * 24 * 3600
MAX_AGE = timedelta(days=30)
# Keys of values in the session.
# The corp through which the person signed in; missing after sign-in by password.
CORP_KEY = "corp_id"
# The SignInMethod.
METHOD_KEY = "sign_in_method"
# The time of the sign-in.
OPENED_KEY = "opened_at"
# The time of the last confirmation that the person is present.
CONFIRMED_KEY = "confirmed_at"
# Whether the session still needs a code of the authenticator app; whether one was entered.
_CODE_MISSING, _CODE_GIVEN = "totp_pending", "totp_verified"
# The digest of the value of the browser's second cookie (see SessionBindingMiddleware).
_BROWSER_KEY = "bound_to"
_BINDING_COOKIE = "guanwecom-session"
CORP_COOKIE = "guanwecom-company"
_CORP_SECONDS = 365 * 24 * 3600


class SignInMethod(StrEnum):
    """The ways of signing in, as stored in sessions."""

    PASSWORD = "password"  # noqa: S105  # a way in, not a secret
    WECOM_QR = "wecom-qr"
    WECOM_SILENT = "wecom-silent"
    WECOM_AND_CODE = "wecom-and-code"  # a code of the authenticator app replaced the password


_METHODS = {SignInKind.QR: SignInMethod.WECOM_QR, SignInKind.SILENT: SignInMethod.WECOM_SILENT}


# --- Sign-in ----------------------------------------------------------------------------------------------------------


def reset_session_at_sign_in(sender: object, request: HttpRequest | None, user: Any, **_kwargs: Any) -> None:
    """Receive user_logged_in: replace the values of an earlier sign-in in the session, and record the sign-in."""
    if request is None or not isinstance(user, User):
        return
    session, now = request.session, timezone.now()
    record_opening(session, now)
    forget_totp_code(session)
    session.pop(_CODE_MISSING, None)
    by_password = getattr(user, "backend", "") == PASSWORD_BACKEND
    if by_password:  # mark_as_wecom_session writes last_login after a sign-in with WeCom
        User.objects.filter(pk=user.pk).update(last_login=now)
    if user.is_staff:  # employees need no second factor, and have too many sign-ins for the audit trail
        services.record_sign_in(user=user, note=services.PASSWORD if by_password else services.WECOM)
        if TotpDevice.objects.filter(user=user).exists():
            session[_CODE_MISSING] = True
    record_confirmation(session, now)  # mark_as_wecom_session removes it again if the sign-in does not prove presence


def mark_as_wecom_session(request: HttpRequest, user: User, corp: Corp, *, kind: SignInKind) -> None:
    """Store in the session, after login(), through which corp and how it was opened; and in the person's account in
    that corp, that it was used to sign in.

    Django keeps the session's data if the same person signs in again, so an expiry set at a sign-in by password is
    reset here."""
    request.session[CORP_KEY] = corp.pk
    request.session[METHOD_KEY] = _METHODS[kind].value
    request.session.set_expiry(None)
    if not proves_presence(user, corp=corp, kind=kind):
        request.session.pop(CONFIRMED_KEY, None)
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(_SAVE_PROOF, [now, user.pk, now, user.pk, corp.pk])


# Writes last_login and WeComAccount.proven_*. One statement saves a tenth of a sign-in (benchmarks/sign_in.py).
_SAVE_PROOF = """
    WITH person AS (UPDATE accounts_user SET last_login = %s WHERE id = %s)
    UPDATE accounts_wecomaccount
       SET proven_corp_id = corp_id, proven_userid = userid_folded, signed_in_at = %s
     WHERE user_id = %s AND corp_id = %s
"""


def record_totp_code(session: SessionBase) -> None:
    """Store that the person has entered a right code of the authenticator app. The session gets a new key, as at
    sign-in, since it has more rights."""
    session.cycle_key()
    session.pop(_CODE_MISSING, None)
    session[_CODE_GIVEN] = True
    record_confirmation(session, timezone.now())


def forget_totp_code(session: SessionBase) -> None:
    """Remove from the session that a code of the app was entered."""
    session.pop(_CODE_GIVEN, None)


def needs_totp_code(session: SessionBase) -> bool:
    """Return whether the person has an authenticator app and has entered none of its codes since the sign-in."""
    return bool(session.get(_CODE_MISSING))


def find_signed_in_key(request: HttpRequest) -> str | None:
    """Return the key of the request's session if somebody is signed in, else None."""
    return request.session.session_key if SESSION_KEY in request.session else None


def describe_session(request: HttpRequest, *, corp_id: int) -> CurrentSession:
    """Return whether the browser is signed in, and whether through the company with this key."""
    is_signed_in = request.user.is_authenticated
    return CurrentSession(
        is_signed_in=is_signed_in, is_of_this_corp=is_signed_in and request.session.get(CORP_KEY) == corp_id
    )


# --- Rights -----------------------------------------------------------------------------------------------------------


def has_all_rights(request: HttpRequest) -> bool:
    """Return whether the session gives its person all of their rights."""
    return not (isinstance(request.user, User) and request.user.has_withheld_rights)


def is_independent_of_wecom(request: HttpRequest) -> bool:
    """Return whether the person has proved their identity by a password or an authenticator app, not by WeCom alone."""
    return CORP_KEY not in request.session or request.session.get(METHOD_KEY) == SignInMethod.WECOM_AND_CODE.value


# --- Confirmation that the person is still present --------------------------------------------------------------------


def record_confirmation(session: SessionBase, now: datetime) -> None:
    """Store that the person has just confirmed to be present."""
    session[CONFIRMED_KEY] = now.timestamp()


def proves_presence(person: User, *, corp: Corp, kind: SignInKind) -> bool:
    """Return whether a sign-in with WeCom through `corp` proves that the person is present.

    A silent sign-in identifies the phone, not the person. WeCom does not tell from which kind of sign-in a code comes,
    so a code stolen from a silent one could be used in a QR sign-in. A QR sign-in therefore counts only for people with
    neither a password nor an authenticator app, and only if it gives them all of their rights.
    """
    if kind is not SignInKind.QR or passwords.has_password(person):
        return False
    if not corp.admin_rights_enabled and person.has_rights_outside(corp_id=corp.pk):
        return False
    return totp.find_device(person) is None


def is_confirmed(session: SessionBase, now: datetime) -> bool:
    """Return whether the person has confirmed to be present within the last settings.CONFIRMATION_MINUTES.

    This is checked before rights, secrets, addresses and tokens are changed (integrations.core.admin_pages). A sign-in
    by password counts; a sign-in with WeCom counts if proves_presence returns True.
    """
    seconds = session.get(CONFIRMED_KEY)
    period = timedelta(minutes=settings.CONFIRMATION_MINUTES)
    return seconds is not None and now.timestamp() - seconds < period.total_seconds()


# --- Age. Django's own expiry is extended with each use. The limits here count from the sign-in, and for staff also
# from the last use. Both times are stored in the session, so a request needs no query


def record_opening(session: SessionBase, now: datetime) -> None:
    """Start the session's age at `now`."""
    session[OPENED_KEY] = int(now.timestamp())


def is_expired(session: SessionBase, *, is_staff: bool, now: datetime) -> bool:
    """Return whether the session has reached a time limit. A session without an opening time counts as opened now."""
    if OPENED_KEY not in session:
        record_opening(session, now)
        return False
    opened_at, last_use = session[OPENED_KEY], _read_last_use(session)
    used_at = opened_at if last_use is None else max(opened_at, last_use.recorded_at)
    return is_past_limits(
        opened_at=datetime.fromtimestamp(opened_at, UTC),
        used_at=datetime.fromtimestamp(used_at, UTC),
        is_staff=is_staff,
        now=now,
    )


def is_past_limits(*, opened_at: datetime, used_at: datetime, is_staff: bool, now: datetime) -> bool:
    """Return whether a session opened and last used at these times has reached a time limit. Limits are shorter for
    staff."""
    if not is_staff:
        return now - opened_at >= MAX_AGE
    if now - opened_at >= timedelta(hours=settings.STAFF_SESSION_HOURS):
        return True
    return now - used_at >= timedelta(minutes=settings.STAFF_SESSION_IDLE_MINUTES)


# --- Browser. A page of another subdomain can set its author's session cookie in a victim's browser: the victim would
# work in that person's session without noticing. It cannot set a second cookie with the prefix __Host- (under https). A
# session without its second cookie counts as anonymous


def remember_corp_id(response: HttpResponseBase, request: HttpRequest, corp_id: int) -> None:
    """Remember for a year the company through which this browser signed in last. The login page proposes it."""
    set_cookie(response, request, CORP_COOKIE, str(corp_id), seconds=_CORP_SECONDS)


def _make_binding_cookie_name(request: HttpRequest) -> str:
    return f"__Host-{_BINDING_COOKIE}" if request.is_secure() else _BINDING_COOKIE


# The last use is written at most this often; more often for staff, whose idle sessions end sooner.
USE_RECORDED_EVERY = timedelta(minutes=10)
STAFF_USE_RECORDED_EVERY = timedelta(minutes=1)
# Key of a value in the session: the fields of _RecordedUse.
_LAST_USE = "noted"


class _RecordedUse(NamedTuple):
    """The last use of the session that was written to its row. `recorded_at`: seconds since 1970."""

    session_key_hash: str
    recorded_at: int


def _read_last_use(session: SessionBase) -> _RecordedUse | None:
    stored = session.get(_LAST_USE)
    return None if stored is None else _RecordedUse(*stored)


def record_use(request: HttpRequest, *, was_signed_in: bool, now: datetime) -> None:
    """Record the use of the session of `request`: at once if it has a new key, otherwise every USE_RECORDED_EVERY.

    `was_signed_in`: whether somebody was signed in before the request, which may have deleted the person. Call it
    before the session is saved. Django gives a session a new key at sign-in and when a password changes."""
    session: Any = request.session
    user_id = session.get(SESSION_KEY)
    if user_id is None:
        return
    if session.session_key is None:
        session.save()
    key = hash_session_key(str(session.session_key))
    last_use = _read_last_use(session)
    is_same_key = last_use is not None and last_use.session_key_hash == key
    is_staff = isinstance(request.user, User) and request.user.is_staff
    interval = STAFF_USE_RECORDED_EVERY if is_staff else USE_RECORDED_EVERY
    if last_use is not None and is_same_key and now.timestamp() - last_use.recorded_at < interval.total_seconds():
        return
    if last_use is not None and not is_same_key:
        delete_session_row(last_use.session_key_hash)
    session[_LAST_USE] = [key, int(now.timestamp())]
    corp_id = session.get(CORP_KEY)
    if is_same_key:  # the usual case, unless the row is gone
        rows = SignedInSession.objects.filter(session_key=key, user_id=user_id)
        if rows.update(last_used_at=now, corp_id=corp_id):
            return
    # The row is written before the session itself, so that people always find the session in their list and can end it.
    # One statement, so that two simultaneous requests of a new browser write one row.
    if not was_signed_in or User.objects.filter(pk=user_id).exists():
        agent = request.headers.get("User-Agent", "")[:USER_AGENT_CHARACTERS]
        with connection.cursor() as cursor:
            cursor.execute(_ADD_ROW, [int(user_id), key, corp_id, agent, now, now])


# The statement of bulk_create(update_conflicts=True), without its transaction, which would cost two round trips in each
# sign-in.
_ADD_ROW = """
    INSERT INTO accounts_signedinsession (user_id, session_key, corp_id, user_agent, began_at, last_used_at)
    VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (session_key) DO UPDATE
       SET user_id = excluded.user_id, corp_id = excluded.corp_id, user_agent = excluded.user_agent,
           last_used_at = excluded.last_used_at
"""


def delete_session_row(session_key_hash: str) -> None:
    """Delete the SignedInSession of a session that was signed out or has got a new key."""
    SignedInSession.objects.filter(session_key=session_key_hash).delete()


def end_session(*, user: User, pk: int) -> bool:
    """End one session of `user` in any browser. `pk`: the key of its SignedInSession. Returns False if there is none.
    Raises redis.RedisError if Valkey may still have a copy; the row then stays, so that the person can try again."""
    row = SignedInSession.objects.filter(user=user, pk=pk).first()
    if row is None:
        return False
    CachedStore().delete(row.session_key)  # not SessionStore, which would hash the digest once more
    row.delete()
    return True


def end_all_sessions(*, user: User) -> None:
    """End every session of `user`, also those without a SignedInSession."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    SignedInSession.objects.filter(user=user).delete()


def delete_old_rows(*, now: datetime) -> int:
    """Delete the rows of sessions that have expired. Return how many."""
    return SignedInSession.objects.filter(last_used_at__lte=now - MAX_AGE).delete()[0]


# --- At each request --------------------------------------------------------------------------------------------------

# Pages that administrators may open before they have entered a code of their app, besides the page that asks for it.
_OPEN_WITHOUT_CODE = frozenset({"login", "logout", "jsi18n"})


class SessionBindingMiddleware:
    """Binds a session to the browser that signs in with it, and treats a session bound to another browser as anonymous.
    It must directly follow Django's SessionMiddleware: nothing else may read the session before."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if needs_no_session(request):
            return self.get_response(request)
        bound_to, secret = (
            request.session.get(_BROWSER_KEY),
            request.COOKIES.get(_make_binding_cookie_name(request), ""),
        )
        if bound_to is not None and not secrets.compare_digest(bound_to, hash_text(secret)):
            logger.warning("session cookie of another browser ignored user=%s", request.session.get(SESSION_KEY))
            request.session = SessionStore()
        key = find_signed_in_key(request)
        response = self.get_response(request)
        if find_signed_in_key(request) not in {None, key}:  # this request has signed somebody in
            secret = secrets.token_urlsafe(32)
            request.session[_BROWSER_KEY] = hash_text(secret)
            # The cookie lasts as long as the session's cookie can.
            seconds = None if request.session.get_expire_at_browser_close() else int(MAX_AGE.total_seconds())
            set_cookie(response, request, _make_binding_cookie_name(request), secret, seconds=seconds)
        return response


class SessionCheckMiddleware:
    """Ends the session or withholds rights if needed, and records the session's use. It must follow
    AuthenticationMiddleware, which makes a disabled user anonymous but does not end the session."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if needs_no_session(request):
            return self.get_response(request)
        key = find_signed_in_key(request)
        _end_or_limit_session(request)
        response = _redirect_to_second_factor(request) or self.get_response(request)
        if key is not None and find_signed_in_key(request) is None:
            delete_session_row(hash_session_key(key))
        record_use(request, was_signed_in=key is not None, now=timezone.now())
        return response


def _end_or_limit_session(request: HttpRequest) -> None:
    """Sign out a person who is disabled or may no longer sign in through the session's corp, or whose session reached a
    time limit. Withhold the rights of a person with rights in other companies, unless the sign-in may give them.

    This takes one query by an index; none for anonymous people and sessions opened by password. Nothing is cached
    between requests, so that access ends at the next click.
    """
    person, corp_id, user_id = request.user, request.session.get(CORP_KEY), request.session.get(SESSION_KEY)
    # A disabled person is anonymous here. Without logout() the session would be valid again once the person is enabled.
    has_to_end = user_id is not None and not person.is_authenticated
    if isinstance(person, User) and corp_id is not None:
        accounts = WeComAccount.objects.signing_in().filter(user=person, corp_id=corp_id)
        rights_enabled = accounts.values_list("corp__admin_rights_enabled", flat=True)[:1]
        if not rights_enabled:
            has_to_end = True
        elif not (rights_enabled[0] or is_independent_of_wecom(request)) and person.has_rights_outside(corp_id=corp_id):
            person.withhold_rights()
    if has_to_end:
        logger.info("session ended corp=%s user=%s", corp_id, user_id)
        logout(request)
    if not isinstance(request.user, User):
        return
    if is_expired(request.session, is_staff=request.user.is_staff, now=timezone.now()):
        logger.info("session expired user=%s", request.user.pk)
        logout(request)


def _redirect_to_second_factor(request: HttpRequest) -> HttpResponse | None:
    """Redirect administrators to the page that asks for a code, or to the one that sets up an app, if required. Until
    then they have only employees' rights outside the administration."""
    if not (isinstance(request.user, User) and request.user.is_staff):
        return None
    if needs_totp_code(request.session):
        route, pages = totp.CODE_ROUTE, {"second-factor-code"}
    elif settings.STAFF_TOTP_REQUIRED and not request.session.get(_CODE_GIVEN):
        route, pages = totp.SETUP_ROUTE, {"second-factor", "confirm"}
    else:
        return None
    if not request.path_info.startswith(reverse("admin:index")):
        request.user.withhold_rights()
        return None
    try:
        page = resolve(request.path_info).url_name
    except Resolver404:
        page = None
    if page in pages | _OPEN_WITHOUT_CODE:
        return None
    target = request.get_full_path() if request.method in {"GET", "HEAD"} else reverse("admin:index")
    return HttpResponseRedirect(f"{reverse(route)}?{urlencode({'next': target})}")
