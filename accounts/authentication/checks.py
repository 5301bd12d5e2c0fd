"""System checks for combinations of sign-in settings that cannot work."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

GATE, PASSWORDS = "accounts.authentication.lockout.PasswordGate", "django.contrib.auth.backends.ModelBackend"


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
