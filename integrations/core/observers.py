"""Counts and logs the calls of our clients: operation, outcome, milliseconds; never an address, a body or a token."""

from __future__ import annotations

import logging

from integrations.clients.wecom.errcodes.table import ENTRIES
from integrations.core.metrics import QUICK_SECONDS, CountedMetric, TimedMetric
from integrations.hooks import Hook

logger = logging.getLogger(__name__)

# Told of each call: the other side, the operation, the outcome and the seconds.
calls_observed: Hook[[str, str, str, float], None] = Hook()

# Their rows say all of an accepted message, and a line for each costs more than writing the rows.
_SENDS = frozenset({"message_send", "webhook_send"})

_WECOM_CALLS = CountedMetric(
    "guanwecom_wecom_calls", "Calls of WeCom, by errcode or by what was there instead", "operation", "errcode"
)
_WECOM_SECONDS = TimedMetric(
    "guanwecom_wecom_call_duration_seconds", "How long calls of WeCom took", "operation", edges=QUICK_SECONDS
)
_BI_CALLS = CountedMetric("guanwecom_bi_calls", "Calls of the BI, by outcome", "operation", "outcome")
_BI_SECONDS = TimedMetric(
    "guanwecom_bi_call_duration_seconds", "How long calls of the BI took", "operation", edges=QUICK_SECONDS
)


def wecom_call(operation: str, outcome: str, seconds: float) -> None:
    """An integrations.clients.errors.Observe. A code that WeCom does not document counts as "other"."""
    is_accepted = outcome == "0"
    is_known = is_accepted or not outcome.lstrip("-").isdigit() or int(outcome) in ENTRIES
    _WECOM_CALLS.add(operation, outcome if is_known else "other")
    _WECOM_SECONDS.add(seconds, operation)
    level = logging.DEBUG if is_accepted and operation in _SENDS else logging.INFO
    logger.log(level, "wecom %s errcode=%s ms=%d", operation, outcome, seconds * 1000)
    calls_observed("wecom", operation, outcome, seconds)


def bi_call(operation: str, outcome: str, seconds: float) -> None:
    """The same for the BI, whose errors are numbered like HTTP's."""
    is_known = not outcome.lstrip("-").isdigit() or len(outcome) <= 3
    _BI_CALLS.add(operation, outcome if is_known else "other")
    _BI_SECONDS.add(seconds, operation)
    logger.info("bi %s outcome=%s ms=%d", operation, outcome, seconds * 1000)
    calls_observed("bi", operation, outcome, seconds)
