"""Opens, reopens and resolves incidents, and schedules their notices (sent by notifications.alerts.notify)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Max, Q, QuerySet

from integrations.core.sentences import Sentence
from notifications.models import (
    AlertCard,
    Channel,
    Delivery,
    InboundChannel,
    Incident,
    IncidentEvent,
    Run,
)
from notifications.models.alerts import CODE_LIFETIME

if TYPE_CHECKING:
    from accounts.models import User
    from notifications.models import AlertSource


Kind, Notice, Status = Incident.Kind, Incident.Notice, Incident.Status
# An incident that ends and begins again within this time stays one incident. It also limits the messages about it.
DAMPING = timedelta(minutes=10)
# For this long after an end, late reports of the beginning may arrive: by a retry, or from a replica of the sender.
# Alertmanager's `group_interval` of 5 minutes is longer: when it reports a firing again, that is no late report.
LATENESS = timedelta(minutes=3)
ORPHANS_AT_ONCE = 500
# Fields of a report that may change while the incident lasts.
_REPORTED_FIELDS = ("title", "summary", "severity", "link")


class ReportDecision(Enum):
    """Decision about a report, given the known incident."""

    OPEN = "open"
    REOPEN = "reopen"
    SEEN = "seen"  # nothing changes but the texts and the time of the last report
    RESOLVE = "resolve"
    RECORD = "record"  # the report becomes an incident that is over, of which nobody is notified
    IGNORE = "ignore"


def make_key(source: str, kind: str, part: str) -> str:
    """Return the key of an incident. `source`: like `channel:7`; `part`: a fingerprint, or `part:` with a split value.
    40 ASCII characters, as a fingerprint has, are taken as they are; all else is digested."""
    digest = part if len(part) == 40 and part.isascii() else hashlib.sha256(part.encode()).hexdigest()[:40]
    return f"{source}:{kind}:{digest}"


def decide_report(
    known: Incident | None, *, starts_at: datetime, ends_at: datetime | None, is_repeated: bool, now: datetime
) -> ReportDecision:
    """Decide by the times that the source names, so that reports may come late, twice and in any order. Pure.

    `known`: the newest incident with the report's key. The report says that something has been firing since `starts_at`
    and, unless `ends_at` is None, that it is over. `is_repeated`: the rule's check before this one reported it, too;
    a check reports its own slot as the beginning. A stretch is one uninterrupted time of firing; a reopened incident
    has several.

    An end before the known beginning belongs to an earlier stretch. An end without a known beginning is recorded, so
    that a late report of the beginning opens nothing. A firing that began before the known end is ignored: the report
    is late, or somebody closed the incident. But the end may have been wrong: alerts of a Prometheus that loses its
    connection end, and later it reports the same beginning. So such a report counts if it comes more than LATENESS
    after we heard of the end.
    """
    if known is None:
        return ReportDecision.OPEN if ends_at is None else ReportDecision.RECORD
    if known.is_open:
        if ends_at is None:
            return ReportDecision.SEEN
        return ReportDecision.RESOLVE if ends_at >= known.stretch_at else ReportDecision.IGNORE
    if is_repeated and known.is_closed_by_hand:
        return ReportDecision.IGNORE
    since_end = None if known.resolved_at is None else now - known.resolved_at
    is_before_end = known.ends_at is not None and starts_at < known.ends_at
    # A firing report of the latest stretch that comes more than LATENESS after its end: the end was wrong.
    is_latest = ends_at is None and starts_at >= known.stretch_at
    must_still_last = is_latest and not known.is_closed_by_hand and since_end is not None and since_end > LATENESS
    if (is_before_end or starts_at == known.stretch_at) and not must_still_last:
        return ReportDecision.IGNORE
    if ends_at is not None:
        return ReportDecision.RECORD
    return ReportDecision.REOPEN if since_end is not None and since_end <= DAMPING else ReportDecision.OPEN


@dataclass
class IncidentChanges:
    """The incidents that reports began or ended."""

    opened: list[Incident] = field(default_factory=list)
    reopened: list[Incident] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)


def apply_reports(reports: Sequence[Incident], *, source: AlertSource, now: datetime) -> IncidentChanges:
    """Apply reports, drafted as incidents, to the incidents of one channel or rule. The order of the reports does not
    matter. Runs inside the caller's transaction, which holds the lock on `source`. It is safe to repeat."""
    keys = {report.key for report in reports}
    newest = Incident.objects.filter(key__in=keys).order_by().values("key").annotate(newest=Max("pk"))
    # Locked in the order of their ids, as everywhere, to avoid deadlocks.
    locked = Incident.objects.select_for_update().filter(pk__in=[row["newest"] for row in newest]).order_by("pk")
    known, changes = {one.key: one for one in locked}, IncidentChanges()
    for report in reports:
        incident = known.get(report.key)
        decision = decide_report(
            incident, starts_at=report.starts_at, ends_at=report.ends_at, is_repeated=report.is_repeated, now=now
        )
        match decision:
            case ReportDecision.OPEN:
                _open(report, source, now, former=incident)
                known[report.key] = report
                changes.opened.append(report)
            case ReportDecision.RECORD:
                # It was over before it was reported, so nobody is notified.
                report.status, report.resolved_at = Status.RESOLVED, now
                _insert_incident(report, now)
                add_event(report, IncidentEvent.Kind.RESOLVED, at=now)
                known[report.key] = report
            case ReportDecision.REOPEN if incident is not None:
                _reopen(incident, report, source, now)
                changes.reopened.append(incident)
            case ReportDecision.RESOLVE if incident is not None:
                _copy_reported_fields(incident, report)
                resolve_incident(incident, ends_at=report.ends_at or now, source=source, now=now)
                changes.resolved.append(incident)
            case ReportDecision.SEEN if incident is not None:
                # A late report about an earlier stretch changes neither texts nor times.
                if report.starts_at >= incident.stretch_at:
                    incident.stretch_at = report.starts_at
                    _copy_reported_fields(incident, report)
                incident.seen_at = now
                incident.save(update_fields=["seen_at", "stretch_at"])
    mark_stale([*changes.resolved, *changes.reopened], now=now)
    return changes


def add_event(
    incident: Incident,
    kind: IncidentEvent.Kind,
    *,
    at: datetime,
    user: User | None = None,
    text: Sentence | None = None,
) -> None:
    """Add an entry to the incident's timeline."""
    IncidentEvent.objects.create(incident=incident, kind=kind, at=at, user=user, note=text.serialize() if text else "")


def _copy_reported_fields(incident: Incident, report: Incident) -> None:
    """Copy the reported fields to the incident and save it. Fields that the report leaves empty stay."""
    changed = [name for name in _REPORTED_FIELDS if getattr(report, name) not in ("", getattr(incident, name))]
    for name in changed:
        setattr(incident, name, getattr(report, name))
    if changed:
        incident.save(update_fields=changed)


def _open(incident: Incident, source: AlertSource, now: datetime, *, former: Incident | None) -> None:
    """Open an incident. `former`: the last one with the same key; its silence, if it still lasts, goes on."""
    if former is not None and former.is_silenced(now):
        incident.silenced_until, incident.silenced_by = former.silenced_until, former.silenced_by
    incident.notice_kind, incident.notice_due_at = Notice.FIRE, _find_first_notice_time(source, now)
    _insert_incident(incident, now)
    add_event(incident, IncidentEvent.Kind.OPENED, at=now)


def _insert_incident(incident: Incident, now: datetime) -> None:
    incident.stretch_at, incident.opened_at, incident.seen_at = incident.starts_at, now, now
    incident.save(force_insert=True)


def _find_first_notice_time(source: AlertSource, now: datetime) -> datetime:
    """Return `now`, or the end of the source's gathering time: alerts until then share one message."""
    return now if source.gather_until is None else max(now, source.gather_until)


def _reopen(incident: Incident, report: Incident, source: AlertSource, now: datetime) -> None:
    """Reopen the incident. If nobody was notified of it, people get the alert. If they were notified of its end, they
    get a reminder, at the earliest DAMPING after that message. Otherwise reminders go on as before."""
    was_notified = incident.notified_at is not None
    # While the recovery notice is still scheduled, nobody has got it.
    knows_of_recovery = incident.notice_kind != Notice.RECOVER and source.notifies_recovery
    incident.status, incident.ends_at, incident.resolved_at = Status.OPEN, None, None
    incident.is_closed_by_hand = False
    incident.stretch_at, incident.seen_at = report.starts_at, now
    incident.reopened_count += 1
    _copy_reported_fields(incident, report)
    if not was_notified:
        incident.notice_kind, incident.notice_due_at = Notice.FIRE, _find_first_notice_time(source, now)
    elif knows_of_recovery:
        incident.notice_kind = Notice.REPEAT
        incident.notice_due_at = max(now, (incident.notified_at or now) + DAMPING)
    else:
        schedule_reminder(incident, source, since=incident.notified_at or now)
    incident.save()
    add_event(incident, IncidentEvent.Kind.REOPENED, at=now)


def resolve_incident(
    incident: Incident,
    *,
    ends_at: datetime,
    source: AlertSource | None,
    now: datetime,
    by: User | None = None,
    reason: Sentence | None = None,
) -> None:
    """Resolve the incident and schedule its recovery notice: none without `source`, without a former notice, or after
    another recovery notice. After a reopening the notice waits until the incident has been over for DAMPING."""
    incident.status, incident.ends_at, incident.resolved_at = Status.RESOLVED, ends_at, now
    incident.is_closed_by_hand = by is not None
    notified = incident.events.filter(kind=IncidentEvent.Kind.NOTIFIED).order_by("-pk")
    last_notice = notified.values_list("notice", flat=True).first()
    is_due = source is not None and source.notifies_recovery and last_notice not in {None, Notice.RECOVER}
    incident.notice_kind = Notice.RECOVER if is_due else ""
    incident.notice_due_at = (now + DAMPING if incident.reopened_count else now) if is_due else None
    incident.save(
        update_fields=["status", "ends_at", "resolved_at", "is_closed_by_hand", "notice_kind", "notice_due_at"]
    )
    add_event(incident, IncidentEvent.Kind.CLOSED if by else IncidentEvent.Kind.RESOLVED, at=now, user=by, text=reason)


def schedule_reminder(incident: Incident, source: AlertSource | None, *, since: datetime) -> None:
    """Set, without saving, when people are reminded of an open incident that nobody has taken. After a silence they
    are reminded at its end, even if reminders are off."""
    minutes = source.repeat_minutes if source is not None else 0
    due_at = since + timedelta(minutes=minutes) if minutes and incident.acknowledged_at is None else None
    if incident.silenced_until is not None and incident.silenced_until > since and incident.acknowledged_at is None:
        due_at = max(due_at, incident.silenced_until) if due_at else incident.silenced_until
    incident.notice_kind = Notice.REPEAT if due_at else ""
    incident.notice_due_at = due_at


def mark_stale(incidents: Sequence[Incident], *, now: datetime) -> None:
    """Mark the app's messages about these incidents as out of date, also those not sent yet. A message older than
    CODE_LIFETIME cannot be changed. Call it in the transaction that changes the incidents."""
    if not incidents:
        return
    runs = Run.objects.filter(incident_events__incident__in=incidents)
    sent = Delivery.objects.filter(run__in=runs.values("pk"), channel=Channel.WECOM, created_at__gt=now - CODE_LIFETIME)
    ids = list(sent.order_by("pk").values_list("pk", flat=True))
    AlertCard.objects.bulk_create(
        (AlertCard(delivery_id=pk, next_try_at=now) for pk in ids), ignore_conflicts=True, batch_size=1000
    )
    AlertCard.objects.filter(delivery__in=ids).update(is_stale=True, next_try_at=now, try_count=0)


# --- Incidents that nobody reports any more: their channel or rule was deleted, disabled or changed ---


def find_orphaned_incidents() -> QuerySet[Incident]:
    """Return open incidents without a source, or of a disabled rule, which is not checked any more. A disabled channel
    does not count: its sender may still report the end."""
    is_without_source = Q(channel__isnull=True, rule__isnull=True)
    return Incident.objects.open().filter(is_without_source | Q(rule__is_enabled=False))


@transaction.atomic
def end_orphaned_incidents(*, now: datetime) -> int:
    """End orphaned incidents and return how many. Nobody is notified: nothing recovered, and the rule was ended on
    purpose."""
    found = list(find_orphaned_incidents().select_for_update(of=("self",)).order_by("pk")[:ORPHANS_AT_ONCE])
    disabled = [incident for incident in found if incident.rule_id is not None]
    deleted = [incident for incident in found if incident.rule_id is None]
    end_incidents(disabled, Sentence("The rule was disabled."), now)
    end_incidents(deleted, Sentence("The channel or rule was deleted."), now)
    return len(found)


def end_incidents(found: Sequence[Incident], reason: Sentence, now: datetime) -> None:
    """End the incidents, which the caller has locked, without notifying anybody."""
    for incident in found:
        resolve_incident(incident, ends_at=now, source=None, now=now, reason=reason)
    mark_stale(found, now=now)


# --- Alerts of an inbound channel ---


def receive_alerts(
    alerts: Sequence[Incident], *, channel: InboundChannel, left_out_count: int, now: datetime
) -> IncidentChanges:
    """Apply a sender's alerts to the channel's incidents. Alerts may be repeated, late and out of order. `alerts`: as
    inbound.payloads.read_alerts drafts them, with fingerprints as keys. `left_out_count`: alerts that the sender or we
    left out. Runs in the caller's transaction: the channel is locked, so that the second of two concurrent calls sees
    the incident that the first opened."""
    locked = InboundChannel.objects.select_for_update(of=("self",)).get(pk=channel.pk)
    for alert in alerts:
        alert.key = make_key(f"channel:{locked.pk}", alert.kind, alert.key)
        alert.channel, alert.corp_id = locked, locked.corp_id
    changes = apply_reports(alerts, source=locked, now=now)
    if left_out_count and changes.opened:
        first = changes.opened[0]
        first.truncated_count = left_out_count
        first.save(update_fields=["truncated_count"])
    return changes
