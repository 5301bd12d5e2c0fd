"""Codes of an authenticator app (RFC 6238), the second factor of administrators.

Each code is accepted once. After settings.LOCKOUT_TRIES wrong codes in a row, no code is checked for
settings.LOCKOUT_MINUTES. Recovery codes, each accepted once, replace a lost app. If they are lost, too, an operator
runs `manage.py reset_second_factor USERNAME` on the server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_noop
from django.views.decorators.debug import sensitive_variables

from accounts.audit import services
from accounts.authentication.passwords import Lock, LockedOut
from accounts.models import AuditEntry, TotpDevice, User
from integrations.models.fields import Unreadable

# Notes of audit entries, translated when they are shown.
SET_UP, RENEWED = gettext_noop("Authenticator app set up."), gettext_noop("Recovery codes renewed.")
REMOVED = gettext_noop("Authenticator app removed.")
# The defaults of authenticator apps.
STEP_SECONDS, DIGITS, KEY_BYTES = 30, 6, 20
# Number of steps by which a phone's clock may be wrong.
TOLERANCE = 1
RECOVERY_CODES = 10
# URL names of the page that asks for a code, and of the page that sets an app up.
CODE_ROUTE, SETUP_ROUTE = "admin:second-factor-code", "admin:second-factor"


def find_device(person: User) -> TotpDevice | None:
    """Return the person's app or None. The key is not loaded."""
    return TotpDevice.objects.defer("key").filter(user=person).first()


# --- Setting up and removing an app -----------------------------------------------------------------------------------


@sensitive_variables("key", "code")
def set_up_device(*, person: User, key: str, code: str, now: datetime, is_independent: bool) -> list[str] | None:
    """Store the app's `key` (base32) in place of an earlier one. Returns the recovery codes, or None if `code` is
    wrong. `is_independent`: whether the session had more proof than a sign-in with WeCom (see TotpDevice)."""
    counter = _find_counter(key, code, now, after=0)
    if counter is None:
        return None
    codes = _make_recovery_codes()
    values = {
        "key": key,
        "confirmed_at": now,
        "is_independent": is_independent,
        "last_counter": counter,
        "failed_count": 0,
        "recovery_digests": [_hash_code(one) for one in codes],
    }
    TotpDevice.objects.update_or_create(user=person, defaults=values)
    services.record(action=AuditEntry.Action.DONE, subject=person, note=SET_UP)
    return codes


def renew_recovery_codes(person: User) -> list[str]:
    """Replace the recovery codes by ten new ones and return them. Only their digests are stored."""
    codes = _make_recovery_codes()
    TotpDevice.objects.filter(user=person).update(recovery_digests=[_hash_code(one) for one in codes])
    services.record(action=AuditEntry.Action.DONE, subject=person, note=RENEWED)
    return codes


def remove_device(person: User) -> bool:
    """Remove the person's app. Returns whether there was one."""
    removed, _by_model = TotpDevice.objects.filter(user=person).delete()
    if removed:
        services.record(action=AuditEntry.Action.DONE, subject=person, note=REMOVED)
    return bool(removed)


# --- Codes ------------------------------------------------------------------------------------------------------------


@sensitive_variables("code")
def check_code(*, person: User, code: str, now: datetime) -> bool:
    """Check a code of the person's app, or a recovery code. A right code is marked as used, and wrong ones are counted.
    Raises LockedOut if the code was not checked, or if it was the last wrong one allowed."""
    with transaction.atomic():
        device = TotpDevice.objects.select_for_update().filter(user=person).first()
        if device is None:
            return False
        _check_not_locked(device, now)
        is_right = _use_code(device, code, now)
        if not is_right:
            until = _find_lock_end(device)
            device.failed_count = device.failed_count + 1 if until is not None and until > now else 1
            device.failed_at = now
            device.save(update_fields=["failed_count", "failed_at"])
    if is_right:
        return True
    is_locked = device.failed_count >= settings.LOCKOUT_TRIES
    action = AuditEntry.Action.LOCKED_OUT if is_locked else AuditEntry.Action.SIGN_IN_FAILED
    services.record_failure(username=person.get_username(), action=action)
    _check_not_locked(device, now)
    return False


def _check_not_locked(device: TotpDevice, now: datetime) -> None:
    until = _find_lock_end(device)
    if device.failed_count >= settings.LOCKOUT_TRIES and until is not None and until > now:
        raise LockedOut(Lock(until))


def _find_lock_end(device: TotpDevice) -> datetime | None:
    return device.failed_at and device.failed_at + timedelta(minutes=settings.LOCKOUT_MINUTES)


def _use_code(device: TotpDevice, code: str, now: datetime) -> bool:
    """Mark a right code as used. Return whether it is right. Without a readable key recovery codes still work."""
    is_readable = not isinstance(device.key, Unreadable)
    counter = _find_counter(device.key, code, now, after=device.last_counter) if is_readable else None
    digest = _hash_code(code)
    if counter is not None:
        device.last_counter = counter
    elif digest in device.recovery_digests:
        device.recovery_digests = [one for one in device.recovery_digests if one != digest]
    else:
        return False
    device.failed_count = 0
    device.save(update_fields=["last_counter", "recovery_digests", "failed_count"])
    return True


def _find_counter(key: str, code: str, now: datetime, *, after: int) -> int | None:
    """Return the counter (half minutes since 1970) of `code`; None if it is wrong, or not newer than `after`."""
    digits = re.sub(r"\s", "", code)
    if re.fullmatch(rf"[0-9]{{{DIGITS}}}", digits) is None:
        return None
    current = int(now.timestamp()) // STEP_SECONDS
    for counter in range(max(current - TOLERANCE, after + 1), current + TOLERANCE + 1):
        if hmac.compare_digest(compute_hotp(base64.b32decode(key), counter), digits):
            return counter
    return None


def compute_hotp(key: bytes, counter: int) -> str:
    """Compute the code of a counter (HOTP, RFC 4226)."""
    digest = hmac.digest(key, counter.to_bytes(8), "sha1")
    start = digest[-1] & 0xF
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def _make_recovery_codes() -> list[str]:
    """Return new codes, each of sixteen letters and digits in groups of four."""
    texts = [base64.b32encode(secrets.token_bytes(10)).decode() for _number in range(RECOVERY_CODES)]
    return ["-".join(text[place : place + 4] for place in range(0, len(text), 4)) for text in texts]


def _hash_code(code: str) -> str:
    """Return a plain SHA-256 digest, which is enough for random codes of 80 bits."""
    return hashlib.sha256(re.sub(r"[\s-]", "", code).upper().encode()).hexdigest()
