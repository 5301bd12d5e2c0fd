"""Reads what another system sends: JSON, a form, or a form with files; and the alerts in it.

A payload is a tree of objects, lists, texts, numbers and booleans. NaN and infinity become null, a number with more
digits than a database takes becomes a text, and of two members with one name the last counts. A text that is itself
JSON is parsed once: some senders put JSON into a field of a form. No I/O but temporary files of Django's parser.

Alerts come in Alertmanager's webhook payload, version 4, or Grafana's, which has more members, or as one or more events
of Nightingale. Long or odd parts of an alert are cut or left out, not refused: a sender does not repeat what was
refused, and one odd alert would be refused together with the others.

Sources: prometheus.io/docs/alerting/latest/configuration/#webhook_config; grafana.com/docs, webhook notifier (both read
2026-11-26); github.com/ccfos/nightingale, models/alert_cur_event.go (read 2026-12-01).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from io import BytesIO
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict
from django.utils.dateparse import parse_datetime

from integrations.core.sentences import Sentence
from notifications.inbound.content import InboundError, clean_link, clean_text, clean_title, decode_by_first
from notifications.models import Incident, Severity

BODY_BYTES = 4 * 1024 * 1024
# Limit of a form with files.
MULTIPART_BYTES = 24 * 1024 * 1024
DEPTH_AT_MOST = 50
VALUES_AT_MOST = 50_000
NAME_CHARACTERS = 200
_LARGEST_INTEGER = 2**63
_PLAIN_KINDS = frozenset({"application/x-www-form-urlencoded", "text/plain"})
# Encodings that our users' senders write besides UTF-8.
_ENCODINGS = {"gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "utf-16": "utf-16"}

Payload = Any


def parse_body(body: bytes, content_type: str) -> Payload:
    """Parse a body in UTF-8 or in the sender's charset: a form or plain text if its type says so, else JSON. A form or
    text that begins with { or [ is JSON, too. Raise InboundError."""
    if not body.strip():
        raise InboundError("malformed_request")
    header = Message()
    header["Content-Type"] = content_type[:NAME_CHARACTERS].replace("\r", " ").replace("\n", " ")
    kind = header.get_content_type()
    if kind == "multipart/form-data":
        return check_size(_parse_multipart(body, content_type))
    charset = str(header.get_param("charset") or "").strip().lower()
    text = decode_by_first(body, ("utf-8-sig", _ENCODINGS.get(charset, "ascii")))
    if text is None:
        raise InboundError("malformed_request")
    if kind not in _PLAIN_KINDS or text.lstrip().startswith(("{", "[")):
        payload = _tidy(check_size(_parse_json(text)))
        if isinstance(payload, dict):  # texts right below the top may be JSON objects or lists
            payload = {
                name: _parse_nested_json(value) if isinstance(value, str) else value for name, value in payload.items()
            }
        return check_size(payload if isinstance(payload, dict | list) else {"value": payload})
    if kind == "text/plain":
        return {"text": _tidy_text(text)}
    try:
        return check_size(_read_fields(QueryDict(text)))
    except SuspiciousOperation:  # more fields than settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        raise InboundError("body_too_large") from None


def check_size(payload: Payload) -> Payload:
    """Return the payload if it is neither too deep nor too large. Raise InboundError if it is."""
    level, count = [payload], 0
    for _depth in range(DEPTH_AT_MOST):
        count += len(level)
        if count > VALUES_AT_MOST:
            break
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return payload
    raise InboundError("body_too_large")


def _parse_json(text: str) -> Payload:
    """Parse JSON. Raise InboundError."""
    try:
        return json.loads(
            text,
            parse_constant=lambda _name: None,
            parse_float=lambda digits: float(digits) if math.isfinite(float(digits)) else None,
            # No column and no template can hold a larger integer: it stays a text.
            parse_int=lambda digits: (
                int(digits) if len(digits) < 20 and abs(int(digits)) < _LARGEST_INTEGER else digits[:NAME_CHARACTERS]
            ),
        )
    except RecursionError:
        raise InboundError("body_too_large") from None
    except ValueError:
        raise InboundError("malformed_request") from None


def _tidy(value: Any) -> Any:
    """Return the payload with texts and names that a database takes."""
    if isinstance(value, str):
        return _tidy_text(value)
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    if isinstance(value, dict):
        return {_tidy_text(name)[:NAME_CHARACTERS]: _tidy(one) for name, one in value.items()}
    return value


def _tidy_text(text: str) -> str:
    """Remove NUL and halves of surrogate pairs, which databases refuse."""
    plain = text.replace("\x00", "")
    return plain if plain.isascii() else plain.encode("utf-8", "replace").decode("utf-8")


def _parse_nested_json(text: str) -> Any:
    """Parse a text that is a JSON object or list; return any other text unchanged."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        found = _tidy(check_size(_parse_json(text)))
    except InboundError:
        return text
    return found if isinstance(found, dict | list) else text


def _read_fields(values: MultiValueDict[str, str]) -> dict[str, Any]:
    """Return each field by its name; a repeated field as a list."""
    found: dict[str, Any] = {}
    for name, texts in values.lists():
        parsed = [_parse_nested_json(_tidy_text(text)) for text in texts]
        found[_tidy_text(name)[:NAME_CHARACTERS]] = parsed[0] if len(parsed) == 1 else parsed
    return found


def _parse_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields, and files as objects with `name`, `type`, and `content` in base64."""
    meta: Mapping[str, Any] = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    try:
        fields, files = MultiPartParser(meta, BytesIO(body), [TemporaryFileUploadHandler()], "utf-8").parse()
    except (MultiPartParserError, UnicodeDecodeError, LookupError, ValueError):
        raise InboundError("malformed_request") from None
    except SuspiciousOperation:
        raise InboundError("body_too_large") from None
    found = _read_fields(fields)
    for name, uploads in files.lists():
        listed = found.setdefault(_tidy_text(name)[:NAME_CHARACTERS], [])
        for upload in uploads if isinstance(listed, list) else ():
            with upload:
                content = base64.b64encode(upload.read()).decode()
            words = {"name": _tidy_text(upload.name or ""), "type": _tidy_text(upload.content_type or "")}
            listed.append({**words, "content": content})
    return found


# Limit for one call. The notice says how many more there were.
ALERTS_AT_MOST = 1000
LABELS_AT_MOST = 64
LABEL_CHARACTERS = 1024
SUMMARY_CHARACTERS = 2000
LEFT_OUT_AT_MOST = 1_000_000_000
# Other years mean “no time”: programs in Go, such as Alertmanager, write it as a date in the year 1.
_FIRST_YEAR, _LAST_YEAR = 1971, 9000
# Annotations that may hold a title or a summary, best first.
_TITLES = ("summary", "title", "message")
_SUMMARIES = ("description", "message", "summary")
_SEVERITIES = {
    **dict.fromkeys(("critical", "page", "error", "p1", "1"), Severity.CRITICAL),
    **dict.fromkeys(("warning", "warn", "p2", "2"), Severity.WARNING),
    **dict.fromkeys(("info", "information", "p3", "3"), Severity.INFO),
}


def read_alerts(payload: Payload, *, now: datetime) -> tuple[list[Incident], int]:
    """Return the first ALERTS_AT_MOST alerts, each as an unsaved incident with its fingerprint as key, and the number
    left out. Raise InboundError."""
    is_nightingale = not (isinstance(payload, dict) and isinstance(payload.get("alerts"), list))
    count = None if is_nightingale else payload.get("truncatedAlerts")
    left_out = max(count, 0) if isinstance(count, int) else 0
    rows = (payload if isinstance(payload, list) else [payload]) if is_nightingale else payload["alerts"]
    documents = [row for row in rows[:ALERTS_AT_MOST] if isinstance(row, dict)]
    read = [_read_event(row, now) if is_nightingale else _read_alert(row, now) for row in documents]
    alerts = [alert for alert in read if alert is not None]
    if not alerts:
        sentence = Sentence("No alert as Alertmanager, Grafana or Nightingale sends it is in what came in.")
        raise InboundError("mapping_failed", sentence)
    return alerts, min(left_out, LEFT_OUT_AT_MOST) + max(len(rows) - ALERTS_AT_MOST, 0)


def _read_alert(row: Mapping[str, Any], now: datetime) -> Incident | None:
    """Read an alert of Alertmanager or Grafana; without `startsAt` it began now."""
    labels, notes = _read_texts(row.get("labels")), _read_texts(row.get("annotations"))
    if row.get("status") not in {"firing", "resolved"} or not labels:
        return None
    named = next((notes[name] for name in _TITLES if notes.get(name, "").strip()), "")
    title = clean_title(named or labels.get("alertname", "")) or "Alert"
    summaries = (clean_text(notes.get(name, ""))[:SUMMARY_CHARACTERS] for name in _SUMMARIES)
    # Only the labels identify an alert, whichever of a sender's instances reports it.
    identity = json.dumps(sorted(labels.items()), ensure_ascii=False)
    return Incident(
        key=_digest(identity),
        title=title,
        severity=_read_severity(labels.get("severity")),
        starts_at=_read_moment(row.get("startsAt")) or now,
        ends_at=(_read_moment(row.get("endsAt")) or now) if row["status"] == "resolved" else None,
        summary=next((words for words in summaries if words and " ".join(words.split()) != title), ""),
        labels=labels,
        link=_read_link(row.get("generatorURL")),
    )


def _read_event(row: Mapping[str, Any], now: datetime) -> Incident | None:
    """Read an event of Nightingale. Its `hash` identifies it."""
    if not isinstance(row.get("is_recovered"), bool) or not row.get("rule_name"):
        return None
    tags = row.get("tags")
    pairs = (_write_text(one).partition("=") for one in (tags if isinstance(tags, list) else ()))
    labels = _read_texts({name: value for name, _sign, value in pairs if name})
    identity = _write_text(row.get("hash")) or json.dumps([_write_text(row.get("rule_id")), sorted(labels.items())])
    return Incident(
        key=_digest(identity),
        title=clean_title(_write_text(row["rule_name"])) or "Alert",
        severity=_read_severity(row.get("severity")),
        starts_at=_read_moment(row.get("first_trigger_time")) or _read_moment(row.get("trigger_time")) or now,
        ends_at=(_read_moment(row.get("last_eval_time")) or now) if row["is_recovered"] else None,
        summary=clean_text(_write_text(row.get("rule_note")))[:SUMMARY_CHARACTERS],
        labels=labels,
        link=_read_link(row.get("runbook_url")),
    )


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _read_severity(value: Any) -> Severity:
    return _SEVERITIES.get(_write_text(value).strip().lower(), Severity.WARNING)


def _read_texts(value: Any) -> dict[str, str]:
    """Return the first LABELS_AT_MOST pairs as texts that may be shown."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {
        clean_title(name): clean_text(_write_text(text)[:LABEL_CHARACTERS])
        for name, text in islice(pairs, LABELS_AT_MOST)
    }


def _read_link(value: Any) -> str:
    """Return the address if people may be led there, else an empty string. An @ could disguise the real host."""
    link = clean_link(_write_text(value))
    return "" if "@" in urlsplit(link).netloc else link


def _write_text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _read_moment(value: Any) -> datetime | None:
    """Read ISO 8601 or seconds since 1970 as a moment in UTC; None for anything else, also a date for “no time”."""
    try:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return datetime.fromtimestamp(value, UTC)
        found = parse_datetime(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    if found is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
