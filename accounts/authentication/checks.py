"""System checks for combinations of sign-in settings that cannot work."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

GATE, PASSWORDS = "accounts.authentication.lockout.PasswordGate", "django.contrib.auth.backends.ModelBackend"


@checks.register(checks.Tags.security)
def username_outlasts_address(**_kwargs: Any) -> list[checks.CheckMessage]:
    """One address would lock a username for everybody before it is locked out itself."""
    if settings.LOCKOUT_TRIES_ANYWHERE > settings.LOCKOUT_TRIES:
        return []
    return [
        checks.Error(
            "LOCKOUT_TRIES_ANYWHERE is not greater than LOCKOUT_TRIES.",
            hint="Somebody at one address could lock a username for every other address. Raise LOCKOUT_TRIES_ANYWHERE.",
            id="accounts.E001",
        )
    ]


@checks.register(checks.Tags.security)
def address_outlasts_username(**_kwargs: Any) -> list[checks.CheckMessage]:
    """One person who mistypes would make everybody at their address wait before being locked out alone."""
    if settings.LOCKOUT_TRIES_ADDRESS > settings.LOCKOUT_TRIES:
        return []
    return [
        checks.Error(
            "LOCKOUT_TRIES_ADDRESS is not greater than LOCKOUT_TRIES.",
            hint="One person who forgot a password would make a whole office wait. Raise LOCKOUT_TRIES_ADDRESS.",
            id="accounts.E003",
        )
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
