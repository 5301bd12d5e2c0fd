"""System checks for combinations of sign-in settings that cannot work."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

GATE, PASSWORDS = "accounts.authentication.lockout.PasswordGate", "django.contrib.auth.backends.ModelBackend"
# Settings that must be greater than LOCKOUT_TRIES, and what happens otherwise.
_LIMITS = (
    ("LOCKOUT_TRIES_ANYWHERE", "Somebody at one address could lock a username for every other address.", "E001"),
    ("LOCKOUT_TRIES_ADDRESS", "One person who forgot a password would make a whole office wait.", "E003"),
)


@checks.register(checks.Tags.security)
def one_place_is_locked_first(**_kwargs: Any) -> list[checks.CheckMessage]:
    """The pair of a username and an address must be locked before either is locked for everybody."""
    return [
        checks.Error(f"{name} is not greater than LOCKOUT_TRIES.", hint=f"{why} Raise {name}.", id=f"accounts.{number}")
        for name, why, number in _LIMITS
        if getattr(settings, name) <= settings.LOCKOUT_TRIES
    ]


@checks.register(checks.Tags.security)
def gate_before_passwords(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Without the gate in front, passwords are looked at while they are switched off or somebody is locked out."""
    backends = list(settings.AUTHENTICATION_BACKENDS)
    if PASSWORDS not in backends or (GATE in backends and backends.index(GATE) < backends.index(PASSWORDS)):
        return []
    return [
        checks.Error(
            f"AUTHENTICATION_BACKENDS does not name {GATE} before {PASSWORDS}.",
            hint="Passwords could be guessed without limit, also while they are switched off. Put the gate first.",
            id="accounts.E002",
        )
    ]
