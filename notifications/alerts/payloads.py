"""Cleans an alert from another system. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from notifications.models import Severity
from notifications.models.alerts import TITLE_CHARACTERS

LINK_CHARACTERS = 2048
SUMMARY_CHARACTERS = 2000
# What Go writes for "no time" is in the year 1.
_FIRST_YEAR, _LAST_YEAR = 1971, 9000
# Where a person would look for what it is about, in the order of preference.
_TITLES = ("summary", "title", "message")
_SUMMARIES = ("description", "message", "summary")


@dataclass(frozen=True)
class Alert:
    """One alert of a payload. `starts_at` names the incident; `ends_at` only where it is over."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    link: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the labels alone: what they name is one thing, whoever tells of it."""
        text = json.dumps(sorted(self.labels.items()), ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]

    @property
    def title(self) -> str:
        """What an annotation calls it, else its alertname; on one line."""
        named = next((self.annotations[name] for name in _TITLES if self.annotations.get(name, "").strip()), "")
        words = " ".join((named or self.labels.get("alertname", "")).split())
        return _cut(words or "Alert", TITLE_CHARACTERS)

    @property
    def summary(self) -> str:
        """The longest explanation that is not the title."""
        for name in _SUMMARIES:
            words = self.annotations.get(name, "").strip()
            if words and " ".join(words.split()) != self.title:
                return _cut(words, SUMMARY_CHARACTERS)
        return ""


def moment(value: datetime | None) -> datetime | None:
    """In UTC; None for none, and for what can only mean none."""
    if value is None or not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def safe_link(address: str) -> str:
    """The address if a person may be led there, else nothing."""
    try:
        parts = urlsplit(address)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return ""
    is_plain = address.isprintable() and " " not in address and len(address) <= LINK_CHARACTERS
    return address if is_web and is_plain and "@" not in parts.netloc else ""


def severity_of(labels: Mapping[str, str], *, label: str, critical: str, warning: str, otherwise: str) -> Severity:
    """By the value of `label`: `critical` and `warning` are lists with commas. Capitals do not matter."""
    value = labels.get(label, "").strip().lower()
    if value and value in _listed(critical):
        return Severity.CRITICAL
    if value and value in _listed(warning):
        return Severity.WARNING
    if value in Severity.values:
        return Severity(value)
    return Severity(otherwise)


def _listed(text: str) -> set[str]:
    return {part.strip().lower() for part in text.split(",") if part.strip()}


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
