"""Errors to Sentry: kinds, places and ids. An event is made anew of what may leave, so nothing else can."""

from __future__ import annotations

import copy
import logging
from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from structlog.contextvars import get_contextvars

from guanwecom.operations.log_throttle import OutageFilter

Event = dict[str, Any]

_KEPT = ("event_id", "timestamp", "level", "platform", "logger", "environment", "release", "server_name", "sdk")
_OF_FRAME = ("filename", "function", "module", "lineno", "in_app", "pre_context", "context_line", "post_context")
_IDS = ("request_id", "run_id", "delivery_id", "task")
# A server that is away is one event a minute, as it is one line in the log.
_outages = OutageFilter()


def set_up() -> None:
    """Send errors, and log lines from ERROR on, to settings.SENTRY_DSN."""
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.ENVIRONMENT,
        integrations=[
            DjangoIntegration(transaction_style="function_name"),
            CeleryIntegration(),
            LoggingIntegration(level=None, event_level=logging.ERROR),
        ],
        before_send=_allowed,  # type: ignore[arg-type]  # its type of events is private
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        traces_sample_rate=None,
    )


def _allowed(event: Event, hint: dict[str, Any]) -> Event | None:
    """Without addresses, headers, bodies, users and the words of errors, which quote people's data: of a log line the
    text before its values were put in, of an error its kind and where it was raised."""
    record = hint.get("log_record")
    if isinstance(record, logging.LogRecord) and not _outages.filter(copy.copy(record)):
        return None
    kept = {name: event[name] for name in _KEPT if name in event}
    kept["tags"] = {name: value for name, value in get_contextvars().items() if name in _IDS and value is not None}
    if "transaction" in event and "/" not in event["transaction"]:  # the name of a view or task, no address
        kept["transaction"] = event["transaction"]
    if isinstance(record, logging.LogRecord) and isinstance(record.msg, str):
        kept["logentry"] = {"message": record.msg}
    values = event.get("exception", {}).get("values", [])
    if values:
        kept["exception"] = {"values": [_without_words(value) for value in values]}
    return kept


def _without_words(value: Event) -> Event:
    frames = value.get("stacktrace", {}).get("frames", [])
    kept: Event = {name: value[name] for name in ("type", "module") if name in value}
    kept["stacktrace"] = {"frames": [{name: frame[name] for name in _OF_FRAME if name in frame} for frame in frames]}
    return kept
