"""Settings of sign-in that cannot work together are said before anything starts."""

from __future__ import annotations

import pytest
from django.core import checks
from pytest_django import Settings

from accounts import tasks
from accounts.models import AuditEntry
from tests.audit import clear_trail

WECOM, GATE, PASSWORDS = (
    "accounts.authentication.backends.WeComBackend",
    "accounts.authentication.passwords.PasswordGate",
    "django.contrib.auth.backends.ModelBackend",
)


def found() -> list[str]:
    return [str(message.id) for message in checks.run_checks() if str(message.id).startswith(("accounts.", "axes."))]


def test_the_settings_as_they_are_shipped_are_fine() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("backends", "expected"),
    [([GATE, WECOM, PASSWORDS], []), ([PASSWORDS, GATE], ["accounts.E002"]), ([WECOM], [])],
)
def test_the_gate_stands_before_the_passwords(settings: Settings, backends: list[str], expected: list[str]) -> None:
    settings.AUTHENTICATION_BACKENDS = backends

    assert [name for name in found() if name.startswith("accounts.")] == expected


@pytest.mark.django_db
class TestPurging:
    def test_the_task_leaves_what_is_new(self) -> None:
        clear_trail()
        AuditEntry.objects.create(action="done", subject="new")

        tasks.purge_audit()

        assert AuditEntry.objects.count() == 1
