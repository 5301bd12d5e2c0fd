"""Errors to Sentry, where the environment says so; else nothing of it is imported."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

PACKAGE = "sentry_sdk"


def set_up() -> None:
    """Begin to send errors to SENTRY_DSN, if it is set. Called once by each process, after its checks."""
    if settings.SENTRY_DSN:
        import_module("guanwecom.operations.telemetry.errors").set_up()


def check(**_options: Any) -> list[CheckMessage]:
    """Return the error guanwecom.E001 where Sentry's package is not installed."""
    if not settings.SENTRY_DSN or find_spec(PACKAGE) is not None:
        return []
    hint = "Install requirements-telemetry.txt beside the others, or remove the setting."
    return [Error(f"SENTRY_DSN is set, but {PACKAGE} is not installed.", hint=hint, id="guanwecom.E001")]
