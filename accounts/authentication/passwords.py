"""Sign-in by password and the locks after wrong ones. django-axes keeps the table, the rules are ours.

- One username from one address (IPv6: one /48): settings.LOCKOUT_TRIES wrong passwords lock that pair.
- One username from everywhere: TRIES_ANYWHERE wrong passwords lock out every browser that has not signed in with that
  username by password before. A browser that has is counted by itself, at any address. So nobody can lock the right
  person out for good by guessing wrong from many addresses.
- All usernames from one address together (one common password tried on many people): after TRIES_ADDRESS wrong
  passwords each further one makes that address wait, but only ADDRESS_SECONDS, since a whole company may share it.
  Known browsers are exempt.
- Tries refused while locked are not counted, so a lock ends settings.LOCKOUT_MINUTES after the last counted try.
- A try is counted before the password is checked, and forgotten if it was right: of many tries at one moment no more
  are checked than the limit allows.

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
from accounts.authentication.flow import digest, network_of, set_cookie
from accounts.models import AuditEntry, Lockout, SignInPolicy, User, WeComAccount
from accounts.models.users import THE_ONE

if TYPE_CHECKING:
    from integrations.models import Corp


logger = logging.getLogger(__name__)

# Higher than the maximum of settings.LOCKOUT_TRIES: a pair of username and address is locked first.
TRIES_ANYWHERE = TRIES_ADDRESS = 50
ADDRESS_SECONDS = 60
_COOKIE = "guanwecom-known"
_COOKIE_SECONDS = 180 * 24 * 3600
_COOKIE_SALT = "accounts.lockout.known-browser"
# A browser is remembered for so many usernames at most.
_KNOWN_AT_MOST = 5
# The column `user_agent` of axes holds the name of a known browser instead, since anybody can change a user agent.
_ANY_BROWSER = ""
_NO_ROWS = Q(pk__in=[])
_ADDRESS = "address"


class PasswordGate(AxesStandaloneBackend):  # type: ignore[misc]  # axes has no types
    """Backend that runs before each password check: it counts the try, and refuses if passwords are off or a lock
    holds. Django leaves it out for other credentials by the names of its arguments."""

    @sensitive_variables("password")
    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None
    ) -> None:
        if not is_password_enabled():
            raise PermissionDenied("sign-in with a password is switched off")
        if request is not None:
            super().authenticate(request, username=username, password=password)


class LockoutHandler(AxesDummyHandler, AxesDatabaseHandler):  # type: ignore[misc]  # see above
    """Handler that django-axes calls. Successful sign-ins are left to note_right_password."""

    def is_allowed(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Count the coming try and return True; return False uncounted if locked."""
        username = (credentials or {}).get("username")
        return username is None or _admit(request, username, timezone.now()) is None

    @sensitive_variables("credentials")
    def user_login_failed(
        self, sender: object, credentials: dict[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        """Record a wrong password, which is_allowed has counted. WeCom's codes are ignored: nobody can guess them."""
        username = credentials.get("username")
        if request is None or username is None or not is_password_enabled():
            return
        request.axes_credentials = {"username": username}
        if request.axes_locked_out:  # refused by PasswordGate: the password was not checked
            return
        request.axes_locked_out = _record_wrong(request, username, timezone.now()) is not None


@dataclass(frozen=True, slots=True)
class Lock:
    """The time before which no password is checked. `is_of_address`: for all usernames, else for this one."""

    until: datetime
    is_of_address: bool = False

    def seconds_left(self, now: datetime) -> int:
        return max(1, ceil((self.until - now).total_seconds()))

    def minutes_left(self, now: datetime) -> int:
        return ceil(self.seconds_left(now) / 60)


class LockedOut(Exception):
    """Passwords are not checked before `lock` ends."""

    def __init__(self, lock: Lock) -> None:
        super().__init__("locked out")
        self.lock = lock


@sensitive_variables("password")
def is_password_of(*, request: HttpRequest, user: User, password: str) -> bool:
    """Check the password of a person who is already signed in, counted and limited as at sign-in. Raises LockedOut if
    the password was not checked, or was the last wrong one allowed."""
    username, now = user.get_username(), timezone.now()
    lock = _admit(request, username, now)
    if lock is not None:
        raise LockedOut(lock)
    if user.check_password(password):
        Lockout.objects.filter(_rows_of_place(request, username), username=username).delete()
        return True
    lock = _record_wrong(request, username, now)
    if lock is not None:
        raise LockedOut(lock)
    return False


def find_lock(*, request: HttpRequest, username: str, now: datetime) -> Lock | None:
    """Return the lock on `username` that ends last at this place, or None. Unknown usernames take the same query."""
    counts = _tally(request, username, now)
    locks = [
        Lock(count.last + count.wait, name == _ADDRESS)
        for name, count in counts.items()
        if count.total >= count.limit and count.last is not None
    ]
    return max((lock for lock in locks if lock.until > now), key=lambda lock: lock.until, default=None)


def count_from_address(address: Any, *, since: datetime) -> QuerySet[Lockout, int]:
    """Count the wrong passwords from `address` (a value or an expression) for all usernames together."""
    rows = Lockout.objects.filter(ip_address=address, user_agent=_ANY_BROWSER, attempt_time__gt=since)
    by_address = rows.order_by().values("ip_address").annotate(total=Sum("failures_since_start"))
    counts: QuerySet[Lockout, int] = by_address.values_list("total", flat=True)
    return counts


def unlock(*, username: str) -> int:
    """Forget the wrong passwords for `username` from everywhere. Returns how many there were."""
    rows = Lockout.objects.filter(username=username)
    count = rows.aggregate(total=Sum("failures_since_start"))["total"] or 0
    rows.delete()
    if count:
        services.record_failure(username=username, action=AuditEntry.Action.UNLOCKED)
    return int(count)


def forget_old(*, now: datetime) -> None:
    """Remove wrong passwords that count no more: a username here may be a password typed into the wrong field."""
    old = Lockout.objects.filter(attempt_time__lte=now - timedelta(minutes=settings.LOCKOUT_MINUTES))
    if not old.exists():
        return
    with transaction.atomic():
        # Lock the rows, as in _uncount. Rows locked by others are left to the next call.
        keys = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True))
        Lockout.objects.filter(pk__in=keys).delete()


def note_right_password(response: HttpResponseBase, request: HttpRequest, user: User) -> None:
    """Forget earlier wrong passwords of this place after a sign-in by password, and remember the browser. Wrong
    passwords from elsewhere do not lock a remembered browser out of this username."""
    username = user.get_username()
    Lockout.objects.filter(_rows_of_place(request, username), username=username).delete()
    own = digest(username)
    known = [entry for entry in _known(request) if entry[0] != own][: _KNOWN_AT_MOST - 1]
    value = signing.dumps([[own, secrets.token_urlsafe(24)], *known], salt=_COOKIE_SALT)
    set_cookie(response, request, _COOKIE, value, seconds=_COOKIE_SECONDS)


@dataclass(frozen=True, slots=True)
class _Count:
    """The number of tries against one limit, and how long the limit holds after the last one."""

    total: int
    last: datetime | None
    limit: int
    wait: timedelta


def _tally(request: HttpRequest, username: str, now: datetime, *, besides: int | None = None) -> dict[str, _Count]:
    """Count the tries by the limit's name. `last` leaves out the row `besides`, which holds the current try."""
    # A known browser has a limit of its own.
    unknown = _NO_ROWS if _known_browser(request, username) else Q()
    network = network_of(request)
    own, around = Q(username=username), Q(ip_address=network, user_agent=_ANY_BROWSER) if network else _NO_ROWS
    period = timedelta(minutes=settings.LOCKOUT_MINUTES)
    address_wait = timedelta(seconds=ADDRESS_SECONDS)
    limits = {
        "here": (own & _rows_of_place(request, username), settings.LOCKOUT_TRIES, period),
        "anywhere": (own & Q(user_agent=_ANY_BROWSER) & unknown, TRIES_ANYWHERE, period),
        _ADDRESS: (around & unknown, TRIES_ADDRESS, address_wait),
    }
    totals = {name: Sum("failures_since_start", filter=rows) for name, (rows, *_rest) in limits.items()}
    last = {
        f"{name}_last": Max("attempt_time", filter=rows & ~Q(pk=besides) if besides else rows)
        for name, (rows, *_rest) in limits.items()
    }
    found = Lockout.objects.filter(own | around, attempt_time__gt=now - period).aggregate(**totals, **last)
    return {
        name: _Count(found[name] or 0, found[f"{name}_last"], limit, wait)
        for name, (_rows, limit, wait) in limits.items()
    }


def _admit(request: HttpRequest, username: str, now: datetime) -> Lock | None:
    """Count the coming try. Return the lock, and count nothing, if it may not be made. Other processes may count at the
    same moment, so a try that finds the limit exceeded after counting is taken back."""
    lock = find_lock(request=request, username=username, now=now)
    if lock is not None:
        return lock
    row = _add_try(request, username, now)
    counts = _tally(request, username, now, besides=row)
    over = [name for name, count in counts.items() if count.total > count.limit]
    of_address = counts[_ADDRESS]
    if _ADDRESS in over and (of_address.last is None or of_address.last + of_address.wait <= now):
        over.remove(_ADDRESS)  # the address has waited, and may try once
    if not over:
        return None
    _remove_try(row)
    return Lock(now + max(counts[name].wait for name in over), over == [_ADDRESS])


def _record_wrong(request: HttpRequest, username: str, now: datetime) -> Lock | None:
    """Record that a counted try was wrong. Return the lock that this caused, or None."""
    lock = find_lock(request=request, username=username, now=now)
    action = AuditEntry.Action.LOCKED_OUT if lock else AuditEntry.Action.SIGN_IN_FAILED
    services.record_failure(username=username, action=action)
    logger.warning("wrong password address=%s locked=%s", network_of(request), lock is not None)
    return lock


def _rows_of_place(request: HttpRequest, username: str) -> Q:
    """Return the condition on rows of this place: those of the known browser, else of the address."""
    known = _known_browser(request, username)
    return Q(user_agent=known) if known else Q(ip_address=network_of(request), user_agent=_ANY_BROWSER)


def _add_try(request: HttpRequest, username: str, now: datetime) -> int:
    """Count one more try at this place, safely across processes. Return the key of the row."""
    forget_old(now=now)
    known = _known_browser(request, username)
    place = {"username": username, "ip_address": None if known else network_of(request), "user_agent": known}
    path = request.path[:255]
    while True:  # until a row was updated or created: other processes create, change and delete it, too
        # There may be two rows: a known browser has no address, so no constraint stops two created at the same moment.
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


def _remove_try(pk: int) -> None:
    """Take one try back. The row is locked: Django deletes by key, and would delete tries counted since the read."""
    with transaction.atomic():
        row = Lockout.objects.select_for_update().filter(pk=pk).first()
        if row is None:
            return
        if row.failures_since_start <= 1:
            row.delete()
        else:
            Lockout.objects.filter(pk=pk).update(failures_since_start=F("failures_since_start") - 1)


def _known_browser(request: HttpRequest, username: str) -> str:
    own = digest(username)
    return next((browser for entry, browser in _known(request) if entry == own), "")


def _known(request: HttpRequest) -> list[list[str]]:
    """Return pairs of a username's digest and this browser's name for it."""
    try:
        known: list[list[str]] = signing.loads(
            request.COOKIES.get(_COOKIE, ""), salt=_COOKIE_SALT, max_age=_COOKIE_SECONDS
        )
    except signing.BadSignature:
        return []
    return known


def read_policy() -> SignInPolicy:
    """Read the saved policy, or an unsaved one with passwords on."""
    return SignInPolicy.objects.filter(pk=THE_ONE).first() or SignInPolicy()


def is_password_enabled() -> bool:
    return read_policy().password_enabled


def reason_against_switching_off() -> str:
    """Explain why passwords have to stay on, in the active language. Returns an empty text if they may go."""
    if wecom_administrators().exists():
        return ""
    return _(
        "No superuser has signed in with WeCom yet. Link a superuser with a WeCom account of an enabled company that "
        "lets administrators use their rights, sign in with it once, and then switch passwords off: otherwise nobody "
        "could get in any more."
    )


def wecom_administrators() -> QuerySet[User]:
    """Return superusers who may enter the administration by WeCom and have signed in with their present account."""
    proven = _proven_accounts()
    return User.objects.filter(pk__in=proven.values("user_id"))


def _proven_accounts() -> QuerySet[WeComAccount]:
    able = {"user__is_superuser": True, "user__is_active": True, "user__is_staff": True}
    proven = {"proven_corp_id": F("corp_id"), "proven_userid": F("userid_folded")}
    return WeComAccount.objects.signing_in().filter(**able, **proven, corp__admin_rights_enabled=True)


def disabling_shuts_out(corp: Corp) -> list[str]:
    """Return a warning if no administrator could sign in without `corp`, its sign-in or its administrators' rights."""
    if is_password_enabled() or _proven_accounts().exclude(corp=corp).exists():
        return []
    return [
        _(
            "Sign-in with a password is switched off, and no superuser could sign in with WeCom any more: nobody "
            "could enter the administration to undo this. Switch passwords on first."
        )
    ]


@transaction.atomic
def set_password_enabled(*, is_enabled: bool) -> None:
    """Switch sign-in with a password on or off. Raises ValidationError if nobody could get in without one."""
    reason = "" if is_enabled else reason_against_switching_off()
    if reason:
        raise ValidationError(reason)
    saved = read_policy()
    saved.password_enabled = is_enabled
    saved.save()
