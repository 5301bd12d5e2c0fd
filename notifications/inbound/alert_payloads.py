"""Reads alerts out of the payloads of Alertmanager, Grafana and Nightingale. Pure.

Alertmanager's webhook payload, version 4, and Grafana's, which is the same with more members; an event of Nightingale
or a list of them. What is too long or odd in an alert is cut or left out, not refused: a sender does not repeat what
was refused, and one odd alert would take the others with it.

Sources: prometheus.io/docs/alerting/latest/configuration/#webhook_config; grafana.com/docs, webhook notifier (both read
2026-11-26); github.com/ccfos/nightingale, models/alert_cur_event.go (read 2026-12-01).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from django.utils.dateparse import parse_datetime

from integrations.core.sentences import Sentence, SentenceError
from notifications.alerts.ingest import Alert
from notifications.inbound.payloads import Payload
from notifications.inbound.text import safe_link, safe_text, safe_title
from notifications.models import Severity

# What one call brings up to date; of more, people are told how many there are.
ALERTS_AT_MOST = 1000
LABELS_AT_MOST = 64
LABEL_CHARACTERS = 1024
SUMMARY_CHARACTERS = 2000
LEFT_OUT_AT_MOST = 1_000_000_000
# What Go writes for "no time" is in the year 1.
_FIRST_YEAR, _LAST_YEAR = 1971, 9000
# Where a person would look for what it is about, in the order of preference.
_TITLES = ("summary", "title", "message")
_SUMMARIES = ("description", "message", "summary")
_SEVERITIES = {
    **dict.fromkeys(("critical", "page", "error", "p1", "1"), Severity.CRITICAL),
    **dict.fromkeys(("warning", "warn", "p2", "2"), Severity.WARNING),
    **dict.fromkeys(("info", "information", "p3", "3"), Severity.INFO),
}


class NoAlertsError(SentenceError):
    """The payload holds no alert that can be read."""


def read_alerts(payload: Payload, *, now: datetime) -> tuple[list[Alert], int]:
    """Return the first ALERTS_AT_MOST alerts of a payload, and how many were left out. Raises NoAlertsError."""
    rows = payload if isinstance(payload, list) else [payload]
    read, left_out = _read_event, 0
    if isinstance(payload, dict) and isinstance(payload.get("alerts"), list):
        rows, read, left_out = payload["alerts"], _read_alert, _number(payload.get("truncatedAlerts"))
    found = [read(row, now) for row in rows[:ALERTS_AT_MOST] if isinstance(row, dict)]
    alerts = [alert for alert in found if alert is not None]
    if not alerts:
        raise NoAlertsError(Sentence("No alert as Alertmanager, Grafana or Nightingale sends it is in what came in."))
    return alerts, min(left_out, LEFT_OUT_AT_MOST) + max(len(rows) - ALERTS_AT_MOST, 0)


def _read_alert(row: Mapping[str, Any], now: datetime) -> Alert | None:
    """An alert of Alertmanager or Grafana; without `startsAt` it began now."""
    labels, notes = _texts(row.get("labels")), _texts(row.get("annotations"))
    if row.get("status") not in {"firing", "resolved"} or not labels:
        return None
    named = next((notes[name] for name in _TITLES if notes.get(name, "").strip()), "")
    title = safe_title(named or labels.get("alertname", "")) or "Alert"
    explained = (safe_text(notes.get(name, "")) for name in _SUMMARIES)
    # Of the labels alone: what they name is one thing, whichever of a sender's instances tells of it.
    identity = json.dumps(sorted(labels.items()), ensure_ascii=False)
    return Alert(
        fingerprint=_digest(identity),
        title=title,
        severity=_severity(labels.get("severity")),
        starts_at=_moment(row.get("startsAt")) or now,
        ends_at=(_moment(row.get("endsAt")) or now) if row["status"] == "resolved" else None,
        summary=next((words for words in explained if words and " ".join(words.split()) != title), "")[
            :SUMMARY_CHARACTERS
        ],
        labels=labels,
        link=_link(row.get("generatorURL")),
    )


def _read_event(row: Mapping[str, Any], now: datetime) -> Alert | None:
    """An event of Nightingale: `hash` names what it is about."""
    if not isinstance(row.get("is_recovered"), bool) or not row.get("rule_name"):
        return None
    tags = row.get("tags")
    pairs = (_text(one).partition("=") for one in (tags if isinstance(tags, list) else ()))
    labels = _texts({name: value for name, _sign, value in pairs if name})
    identity = _text(row.get("hash")) or json.dumps([_text(row.get("rule_id")), sorted(labels.items())])
    return Alert(
        fingerprint=_digest(identity),
        title=safe_title(_text(row["rule_name"])) or "Alert",
        severity=_severity(row.get("severity")),
        starts_at=_moment(row.get("first_trigger_time")) or _moment(row.get("trigger_time")) or now,
        ends_at=(_moment(row.get("last_eval_time")) or now) if row["is_recovered"] else None,
        summary=safe_text(_text(row.get("rule_note")))[:SUMMARY_CHARACTERS],
        labels=labels,
        link=_link(row.get("runbook_url")),
    )


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _severity(value: Any) -> Severity:
    return _SEVERITIES.get(_text(value).strip().lower(), Severity.WARNING)


def _texts(value: Any) -> dict[str, str]:
    """The first LABELS_AT_MOST pairs, as people may see them."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {safe_title(name): safe_text(_text(its)[:LABEL_CHARACTERS]) for name, its in islice(pairs, LABELS_AT_MOST)}


def _link(value: Any) -> str:
    """The address if a person may be led there, else nothing: a host behind an @ is not the one that is read."""
    link = safe_link(_text(value))
    return "" if "@" in urlsplit(link).netloc else link


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _number(value: Any) -> int:
    return max(value, 0) if isinstance(value, int) else 0


def _moment(value: Any) -> datetime | None:
    """In UTC, of ISO 8601 or of seconds since 1970; None for none, and for what can only mean none."""
    try:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return datetime.fromtimestamp(value, UTC)
        found = parse_datetime(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    if found is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
