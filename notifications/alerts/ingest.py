"""Receives alerts of other systems through an inbound channel: brings its incidents up to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from notifications.alerts import incidents
from notifications.models import InboundChannel, Incident, Severity


@dataclass(frozen=True)
class Alert:
    """One alert of a payload. `fingerprint` says what it is about, `starts_at` tells one incident from the next;
    `ends_at` stands only where it is over."""

    fingerprint: str
    title: str
    severity: Severity
    starts_at: datetime
    ends_at: datetime | None
    summary: str = ""
    labels: Mapping[str, str] | None = None
    link: str = ""


def receive(
    alerts: Sequence[Alert], *, channel: InboundChannel, left_out_count: int, now: datetime
) -> incidents.Outcome:
    """Bring the channel's incidents up to what a sender says. Repeated, late and out of order it comes to the same.

    `left_out_count`: alerts that the sender or we left out. In the caller's transaction: the channel is locked, so
    that of two calls at once the second sees the incident that the first opened.
    """
    locked = InboundChannel.objects.select_for_update(of=("self",)).get(pk=channel.pk)
    outcome = incidents.apply([_report(alert, locked) for alert in alerts], source=locked, now=now)
    if left_out_count and outcome.opened:
        first = outcome.opened[0]
        first.truncated_count = left_out_count
        first.save(update_fields=["truncated_count"])
    return outcome


def _report(alert: Alert, channel: InboundChannel) -> incidents.Report:
    return incidents.Report(
        key=incidents.key_of(f"channel:{channel.pk}", Incident.Kind.FIRING, alert.fingerprint),
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        columns={
            "channel": channel,
            "corp_id": channel.corp_id,
            "title": alert.title,
            "summary": alert.summary,
            "severity": alert.severity,
            "labels": dict(alert.labels or {}),
            "link": alert.link,
        },
    )
