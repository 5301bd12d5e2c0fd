"""Errors to Sentry and traces to OpenTelemetry, where the environment says so; else nothing of it is imported."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

# The setting that switches it on, our module, and a package of requirements-telemetry.txt that it needs.
_PARTS = (
    ("SENTRY_DSN", "guanwecom.operations.telemetry.errors", "sentry_sdk"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "guanwecom.operations.telemetry.traces", "opentelemetry"),
)


def set_up() -> None:
    """Begin to send what the settings ask for. Called once by each process, after its checks."""
    for setting, module, _package in _PARTS:
        if getattr(settings, setting):
            import_module(module).set_up()


def check(**_options: Any) -> list[CheckMessage]:
    """What is asked for must be installed."""
    return [
        Error(
            f"{setting} is set, but {package} is not installed.",
            hint="Install requirements-telemetry.txt beside the others, or remove the setting.",
            id="guanwecom.E001",
        )
        for setting, _module, package in _PARTS
        if getattr(settings, setting) and find_spec(package) is None
    ]
