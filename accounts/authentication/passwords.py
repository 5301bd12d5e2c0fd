"""Sign-in by password, and locks after wrong passwords. django-axes provides the table; the rules are defined here.

- One username from one address (IPv6: one /48): settings.LOCKOUT_TRIES wrong passwords lock that pair.
- One username from everywhere: TRIES_ANYWHERE wrong passwords lock out all browsers in which nobody has signed in with
  that username and a password before. The others (known browsers) are counted each by itself, at any address. So nobody
  can lock the right person out for good by wrong guesses from many addresses.
- All usernames from one address together (one common password tried on many people): after TRIES_ADDRESS wrong
  passwords each further one locks that address, but only for ADDRESS_SECONDS, since a whole company may share it. Known
  browsers are exempt.
- Tries refused while locked are not counted, so a lock ends settings.LOCKOUT_MINUTES after the last counted try.
- A try is counted before the password is checked, and the count is removed if the password is right. So simultaneous
  tries cannot exceed the limit.

Unknown usernames are counted like known ones. Sign-in with WeCom is never counted and never locked.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

from axes.backends import AxesStandaloneBackend
from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.dummy import AxesDummyHandler
from django.conf import settings
from django.core import signing
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Max, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from accounts.audit import services
from accounts.authentication.flow import find_network, hash_text, set_cookie
from accounts.models import AuditEntry, Lockout, SignInPolicy, User, WeComAccount
from integrations.models.installation import SINGLETON_PK

if TYPE_CHECKING:
    from integrations.models import Corp


logger = logging.getLogger(__name__)

# Higher than the maximum of settings.LOCKOUT_TRIES, so that a pair of username and address is locked first.
TRIES_ANYWHERE = TRIES_ADDRESS = 50
ADDRESS_SECONDS = 60
_COOKIE = "guanwecom-known"
_COOKIE_SECONDS = 180 * 24 * 3600
_COOKIE_SALT = "accounts.lockout.known-browser"
# Number of usernames for which a browser is remembered.
_KNOWN_AT_MOST = 5
# Value of the column `user_agent` of axes for unknown browsers. For a known browser the column holds a random name from
# its cookie, because a user agent can be changed.
ANY_BROWSER = ""
_NO_ROWS = Q(pk__in=[])
_ADDRESS = "address"


class PasswordGate(AxesStandaloneBackend):  # type: ignore[misc]  # axes has no types
    """Backend that runs before each password check. Counts the try, and refuses it if passwords are off or locked.
    Django does not call it for other credentials, because the names of its arguments differ."""

    @sensitive_variables("password")
    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None
    ) -> None:
        if not is_password_enabled():
            raise PermissionDenied("sign-in with a password is switched off")
        if request is not None:
            super().authenticate(request, username=username, password=password)


class LockoutHandler(AxesDummyHandler, AxesDatabaseHandler):  # type: ignore[misc]  # see above
    """Handler that django-axes calls. record_right_password handles successful sign-ins."""

    def is_allowed(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Count the coming try and return True. Return False without counting it if passwords are locked."""
        username = (credentials or {}).get("username")
        return username is None or _admit_try(request, username, timezone.now()) is None

    @sensitive_variables("credentials")
    def user_login_failed(
        self, sender: object, credentials: dict[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        """Record a wrong password, which is_allowed has counted. Failed sign-ins with WeCom are ignored: nobody can
        guess WeCom's codes."""
        username = credentials.get("username")
        if request is None or username is None or not is_password_enabled():
            return
        request.axes_credentials = {"username": username}
        if request.axes_locked_out:  # refused by PasswordGate: the password was not checked
            return
        request.axes_locked_out = _record_wrong_password(request, username, timezone.now()) is not None


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock: no password, or no code of an authenticator app, is checked before `until`. `is_of_address`: the lock is
    for all usernames from the address, otherwise for one username."""

    until: datetime
    is_of_address: bool = False

    def seconds_left(self, now: datetime) -> int:
        return max(1, ceil((self.until - now).total_seconds()))

    def minutes_left(self, now: datetime) -> int:
        return ceil(self.seconds_left(now) / 60)


class LockedOut(Exception):
    """The password or code is not checked before `lock` ends."""

    def __init__(self, lock: Lock) -> None:
        super().__init__("locked out")
        self.lock = lock


@sensitive_variables("password")
def check_password_of(*, request: HttpRequest, user: User, password: str) -> bool:
    """Check the password of a person who is already signed in; wrong passwords are counted and limited as at sign-in.
    Raises LockedOut if the password was not checked, or if it was the last wrong one allowed."""
    username, now = user.get_username(), timezone.now()
    lock = _admit_try(request, username, now)
    if lock is not None:
        raise LockedOut(lock)
    if user.check_password(password):
        Lockout.objects.filter(_make_place_condition(request, username), username=username).delete()
        return True
    lock = _record_wrong_password(request, username, now)
    if lock is not None:
        raise LockedOut(lock)
    return False


def find_lock(*, request: HttpRequest, username: str, now: datetime) -> Lock | None:
    """Return the lock that holds longest for `username` in this browser and at this address, or None. Unknown usernames
    take the same query."""
    counts = _count_tries(request, username, now)
    locks = [
        Lock(count.last + count.wait, name == _ADDRESS)
        for name, count in counts.items()
        if count.total >= count.limit and count.last is not None
    ]
    return max((lock for lock in locks if lock.until > now), key=lambda lock: lock.until, default=None)


def unlock(*, username: str) -> int:
    """Delete all counted wrong passwords for `username`. Returns how many there were."""
    rows = Lockout.objects.filter(username=username)
    count = rows.aggregate(total=Sum("failures_since_start"))["total"] or 0
    rows.delete()
    if count:
        services.record_failure(username=username, action=AuditEntry.Action.UNLOCKED)
    return int(count)


def delete_old_tries(*, now: datetime) -> None:
    """Delete rows of tries that no longer count. They must not be stored longer: a username may be a password typed
    into the wrong field."""
    old = Lockout.objects.filter(attempt_time__lte=now - timedelta(minutes=settings.LOCKOUT_MINUTES))
    if not old.exists():
        return
    with transaction.atomic():
        # Lock the rows, as in _take_back_try. Rows locked by another process are left for the next call.
        keys = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True))
        Lockout.objects.filter(pk__in=keys).delete()


def record_right_password(response: HttpResponseBase, request: HttpRequest, user: User) -> None:
    """Delete the count of wrong passwords in this browser or at its address after a sign-in by password, and remember
    the browser for the username. Wrong passwords from elsewhere do not lock a remembered browser out."""
    username = user.get_username()
    Lockout.objects.filter(_make_place_condition(request, username), username=username).delete()
    digest = hash_text(username)
    others = [entry for entry in _read_known_browsers(request) if entry[0] != digest][: _KNOWN_AT_MOST - 1]
    value = signing.dumps([[digest, secrets.token_urlsafe(24)], *others], salt=_COOKIE_SALT)
    set_cookie(response, request, _COOKIE, value, seconds=_COOKIE_SECONDS)


@dataclass(frozen=True, slots=True)
class _TryCount:
    """The number of tries that count for one limit, the time of the last one, and how long the limit holds after it."""

    total: int
    last: datetime | None
    limit: int
    wait: timedelta


def _count_tries(
    request: HttpRequest, username: str, now: datetime, *, current_row: int | None = None
) -> dict[str, _TryCount]:
    """Count the tries for each limit, by the limit's name. The time of the last try ignores the row with the key
    `current_row`, which holds the current try."""
    # The limits for all browsers do not count known ones.
    unknown = _NO_ROWS if _find_known_browser(request, username) else Q()
    network = find_network(request)
    of_username = Q(username=username)
    of_address = Q(ip_address=network, user_agent=ANY_BROWSER) if network else _NO_ROWS
    period = timedelta(minutes=settings.LOCKOUT_MINUTES)
    address_wait = timedelta(seconds=ADDRESS_SECONDS)
    limits = {
        "here": (of_username & _make_place_condition(request, username), settings.LOCKOUT_TRIES, period),
        "anywhere": (of_username & Q(user_agent=ANY_BROWSER) & unknown, TRIES_ANYWHERE, period),
        _ADDRESS: (of_address & unknown, TRIES_ADDRESS, address_wait),
    }
    totals = {name: Sum("failures_since_start", filter=condition) for name, (condition, *_rest) in limits.items()}
    last = {
        f"{name}_last": Max("attempt_time", filter=condition & ~Q(pk=current_row) if current_row else condition)
        for name, (condition, *_rest) in limits.items()
    }
    rows = Lockout.objects.filter(of_username | of_address, attempt_time__gt=now - period)
    result = rows.aggregate(**totals, **last)
    return {
        name: _TryCount(result[name] or 0, result[f"{name}_last"], limit, wait)
        for name, (_condition, limit, wait) in limits.items()
    }


def _admit_try(request: HttpRequest, username: str, now: datetime) -> Lock | None:
    """Count the coming try and return None. If it is not allowed, return the lock and count nothing. Other processes
    may count at the same moment, so the limits are checked again after counting, and the try is taken back if
    exceeded."""
    lock = find_lock(request=request, username=username, now=now)
    if lock is not None:
        return lock
    row = _add_try(request, username, now)
    counts = _count_tries(request, username, now, current_row=row)
    over = [name for name, count in counts.items() if count.total > count.limit]
    of_address = counts[_ADDRESS]
    if _ADDRESS in over and (of_address.last is None or of_address.last + of_address.wait <= now):
        over.remove(_ADDRESS)  # the address has waited long enough for one more try
    if not over:
        return None
    _take_back_try(row)
    return Lock(now + max(counts[name].wait for name in over), over == [_ADDRESS])


def _record_wrong_password(request: HttpRequest, username: str, now: datetime) -> Lock | None:
    """Record that a counted try was wrong. Return the lock that this caused, or None."""
    lock = find_lock(request=request, username=username, now=now)
    action = AuditEntry.Action.LOCKED_OUT if lock else AuditEntry.Action.SIGN_IN_FAILED
    services.record_failure(username=username, action=action)
    logger.warning("wrong password address=%s locked=%s", find_network(request), lock is not None)
    return lock


def _make_place_condition(request: HttpRequest, username: str) -> Q:
    """Return the condition for the rows of this place: of the known browser, or of the address for unknown browsers."""
    known = _find_known_browser(request, username)
    return Q(user_agent=known) if known else Q(ip_address=find_network(request), user_agent=ANY_BROWSER)


def _add_try(request: HttpRequest, username: str, now: datetime) -> int:
    """Count one more try at this place, also if other processes count at the same moment. Return the key of the row."""
    delete_old_tries(now=now)
    known = _find_known_browser(request, username)
    place = {"username": username, "ip_address": None if known else find_network(request), "user_agent": known}
    path = request.path[:255]
    while True:  # until this process has updated or created a row: others may create and delete it meanwhile
        # There may be two rows for a known browser: it has no address, so the unique constraint does not apply.
        pk = Lockout.objects.filter(**place).order_by("pk").values_list("pk", flat=True).first()
        if pk is None:
            try:
                with transaction.atomic():
                    return int(Lockout.objects.create(**place, failures_since_start=1, path_info=path).pk)
            except IntegrityError:
                continue
        row = Lockout.objects.filter(pk=pk)
        if row.update(failures_since_start=F("failures_since_start") + 1, attempt_time=now, path_info=path):
            return int(pk)


def _take_back_try(pk: int) -> None:
    """Subtract one try. The row is locked, so that tries counted meanwhile are not deleted with it."""
    with transaction.atomic():
        row = Lockout.objects.select_for_update().filter(pk=pk).first()
        if row is None:
            return
        if row.failures_since_start <= 1:
            row.delete()
        else:
            Lockout.objects.filter(pk=pk).update(failures_since_start=F("failures_since_start") - 1)


def _find_known_browser(request: HttpRequest, username: str) -> str:
    """Return the browser's name for `username`, or an empty text if it is not known for that username."""
    digest = hash_text(username)
    return next((browser for entry, browser in _read_known_browsers(request) if entry == digest), "")


def _read_known_browsers(request: HttpRequest) -> list[list[str]]:
    """Return pairs of a username's digest and the browser's name for that username, from the signed cookie."""
    try:
        known: list[list[str]] = signing.loads(
            request.COOKIES.get(_COOKIE, ""), salt=_COOKIE_SALT, max_age=_COOKIE_SECONDS
        )
    except signing.BadSignature:
        return []
    return known


def read_policy() -> SignInPolicy:
    """Read the saved policy, or an unsaved one with passwords on."""
    return SignInPolicy.objects.filter(pk=SINGLETON_PK).first() or SignInPolicy()


def is_password_enabled() -> bool:
    return read_policy().password_enabled


def has_password(person: User) -> bool:
    """Return whether `person` has a password and the policy allows passwords."""
    return person.has_usable_password() and is_password_enabled()


def explain_why_passwords_are_needed() -> str:
    """Explain in the active language why passwords cannot be switched off; empty if they can."""
    if find_wecom_superusers().exists():
        return ""
    return _(
        "No superuser has signed in with WeCom yet. Link a superuser with a WeCom account of an enabled company that "
        "lets administrators use their rights, sign in with it once, and then switch passwords off: otherwise nobody "
        "could get in any more."
    )


def find_wecom_superusers() -> QuerySet[User]:
    """Return superusers who may use their rights after a sign-in with WeCom, and have signed in with their present
    account."""
    return User.objects.filter(pk__in=_find_proven_accounts().values("user_id"))


def _find_proven_accounts() -> QuerySet[WeComAccount]:
    """Return accounts with which a superuser has signed in before, and could sign in with all rights now."""
    return WeComAccount.objects.signing_in().filter(
        user__is_superuser=True,
        user__is_active=True,
        user__is_staff=True,
        proven_corp_id=F("corp_id"),
        proven_userid=F("userid_folded"),
        corp__admin_rights_enabled=True,
    )


def warn_before_shutting_out(corp: Corp) -> list[str]:
    """Return a warning if nobody could enter the administration any more once `corp`, its sign-in or its
    administrators' rights are switched off."""
    if is_password_enabled() or _find_proven_accounts().exclude(corp=corp).exists():
        return []
    return [
        _(
            "Sign-in with a password is switched off, and no superuser could sign in with WeCom any more: nobody "
            "could enter the administration to undo this. Switch passwords on first."
        )
    ]


@transaction.atomic
def set_password_enabled(*, is_enabled: bool) -> None:
    """Switch sign-in with a password on or off. Raises ValidationError if nobody could enter the administration without
    a password."""
    reason = "" if is_enabled else explain_why_passwords_are_needed()
    if reason:
        raise ValidationError(reason)
    saved = read_policy()
    saved.password_enabled = is_enabled
    saved.save()
