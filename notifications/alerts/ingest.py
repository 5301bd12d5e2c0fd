"""Receives alerts from outside: cleans them, finds their routes, brings incidents up to them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from django.db import transaction

from notifications.alerts import incidents, routing
from notifications.delivery import counters
from notifications.models import AlertRoute, ApiToken, Incident, Severity
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


@dataclass(frozen=True)
class Received:
    """How many alerts did what. `unrouted`: no route took them, so nobody was told. An alert that several routes took
    counts in each."""

    received: int
    opened: int
    reopened: int
    resolved: int
    unchanged: int
    unrouted: int


def receive(alerts: Sequence[Alert], *, truncated_count: int, token: ApiToken, now: datetime) -> Received:
    """Bring incidents up to what a sender says. Repeated, late and out of order it comes to the same."""
    routes = list(routing.routes_of(token).in_order())
    opened_by = _opened_by(alerts, token)
    planned: dict[int, list[Alert]] = defaultdict(list)
    unrouted_count = 0
    for alert in alerts:
        found = {route.pk for route in routing.taking(routes, alert.labels)}
        if alert.ends_at is not None:
            found |= opened_by[alert.fingerprint]
        unrouted_count += not found
        for route_id in found:
            planned[route_id].append(alert)
    outcomes = _applied(planned, truncated_count, token, now)
    counters.count_received(len(alerts), unrouted_count)
    return Received(
        received=len(alerts),
        opened=sum(len(one.opened) for one in outcomes),
        reopened=sum(len(one.reopened) for one in outcomes),
        resolved=sum(len(one.resolved) for one in outcomes),
        unchanged=sum(one.unchanged_count for one in outcomes),
        unrouted=unrouted_count,
    )


def _opened_by(alerts: Sequence[Alert], token: ApiToken) -> Mapping[str, set[int]]:
    """By fingerprint, of what is over now: which routes hold it for open. One may have been disabled meanwhile, or
    another may come before it: its end is an end all the same."""
    ended, found = {alert.fingerprint for alert in alerts if alert.ends_at is not None}, defaultdict(set)
    if ended:
        open_ones = Incident.objects.open().filter(route__in=routing.within_reach(token), kind=Incident.Kind.FIRING)
        for route_id, key in open_ones.values_list("route_id", "key"):
            fingerprint = key.rpartition(":")[2]
            if fingerprint in ended:
                found[fingerprint].add(route_id)
    return found


def _applied(
    planned: Mapping[int, list[Alert]], truncated_count: int, token: ApiToken, now: datetime
) -> list[incidents.Outcome]:
    outcomes = []
    with transaction.atomic():
        # Locked: of two senders at once, the second must see the incident that the first opened.
        locked = AlertRoute.objects.select_for_update(of=("self",)).select_related("receiver").order_by("pk")
        for route in locked.filter(pk__in=planned):
            reports = [_report(alert, route, token) for alert in planned[route.pk]]
            outcome = incidents.apply(reports, source=route, now=now)
            if truncated_count and outcome.opened:
                first = outcome.opened[0]
                first.truncated_count = truncated_count
                first.save(update_fields=["truncated_count"])
            outcomes.append(outcome)
    return outcomes


def _report(alert: Alert, route: AlertRoute, token: ApiToken) -> incidents.Report:
    severity = severity_of(
        alert.labels,
        label=route.severity_label,
        critical=route.critical_values,
        warning=route.warning_values,
        otherwise=route.default_severity,
    )
    return incidents.Report(
        key=incidents.key_of(f"route:{route.pk}", Incident.Kind.FIRING, alert.fingerprint),
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        columns={
            "route": route,
            "corp_id": route.receiver.corp_id,
            "sender": token,
            "title": alert.title,
            "summary": alert.summary,
            "severity": severity,
            "labels": dict(alert.labels),
            "link": alert.link,
        },
    )


# --- What comes from outside, made plain ---


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
