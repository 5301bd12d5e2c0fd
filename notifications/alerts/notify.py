"""Turns due notices of incidents into runs, at times at which people may be notified.

Many alerts of one channel or rule become one message. A rule has hours, working days and silence windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction

from integrations.core.sentences import Sentence
from notifications.alerts import incidents, notices
from notifications.delivery.rows import RENDER_LEASE, lock_first, lock_skipping
from notifications.models import AlertRule, InboundChannel, Incident, IncidentEvent, Run, SilenceWindow
from notifications.subscriptions.schedules import read_workdays, read_zone

if TYPE_CHECKING:
    from django.db.models import QuerySet

    Source = AlertRule | InboundChannel

Notice = Incident.Notice
_NOTES = {Notice.FIRE: Sentence("alert"), Notice.REPEAT: Sentence("reminder"), Notice.RECOVER: Sentence("recovery")}
# One payload of a channel, or one check of a rule, opens at most so many incidents. They share one message.
INCIDENTS_PER_NOTICE = 1000
# How long to wait for the lock of a channel or rule. A channel is locked while a call of its sender is processed.
LOCK_SECONDS = 5
# A notice that is held back is checked again after this time: hours and silence windows may change meanwhile.
RECHECK_AFTER = timedelta(minutes=5)
# Days to search for a working day: more than any holiday has.
DAYS_SEARCHED = 30
# The search for a moment outside all silence windows goes on at the end of a window at most this often. If no gap is
# found by then, people are notified at the end of the last window.
STEPS_AT_MOST = 60


class _GroupKey(NamedTuple):
    """The key of a group: incidents with equal keys share one message."""

    notice_kind: str
    incident_kind: str
    corp_id: int | None
    audience_key: tuple[object, ...]


def request_notices(*, now: datetime) -> list[int]:
    """Make the runs of all due notices, source by source. Return the runs' ids, to be rendered. It may run
    concurrently: a channel or rule that another process locks for longer than LOCK_SECONDS is left to the next call."""
    all_due, run_ids = Incident.objects.notice_due(now).order_by(), list[int]()
    for channel_id, rule_id in all_due.values_list("channel_id", "rule_id").distinct():
        with transaction.atomic():
            # The source is locked before its incidents, as where incidents are opened.
            model: type[Source] = InboundChannel if rule_id is None else AlertRule
            source_id = rule_id or channel_id  # None: the rule or channel was deleted
            sources: QuerySet[Any] = model._default_manager.filter(pk=source_id)
            source: Source | None = lock_first(sources, seconds=LOCK_SECONDS) if source_id else None
            if source_id and source is None:
                continue
            due = Incident.objects.notice_due(now).filter(channel=channel_id, rule=rule_id).order_by("pk")
            if source is not None and not source.is_enabled:
                due.exclude(notice_kind=Notice.RECOVER).update(notice_kind="", notice_due_at=None)
            groups: dict[_GroupKey, list[Incident]] = defaultdict(list)
            windows = list(SilenceWindow.objects.filter(rule=source)) if isinstance(source, AlertRule) else []
            due = due.select_related("channel__owner", "rule").defer("channel__last_payload")
            for incident in lock_skipping(due)[:INCIDENTS_PER_NOTICE]:
                # A silenced incident still notifies of its recovery; a rule's hours and windows hold back every notice.
                # An incident waits if nobody can be notified until a company is enabled. Only a group's first
                # incident is checked for that, because all have the same people.
                until = now
                if incident.notice_kind != Notice.RECOVER and incident.silenced_until is not None:
                    until = max(until, incident.silenced_until)
                if isinstance(source, AlertRule):
                    until = find_earliest_notice_time(source, until, windows)
                audience_key = notices.make_audience_key(incident)
                key = _GroupKey(incident.notice_kind, incident.kind, incident.corp_id, audience_key)
                if until <= now and incident.is_open and key not in groups and notices.waits_for_company(incident):
                    until = now + RECHECK_AFTER
                if until > now:
                    Incident.objects.filter(pk=incident.pk).update(notice_due_at=min(until, now + RECHECK_AFTER))
                else:
                    groups[key].append(incident)
            run_ids += [_create_run(key.notice_kind, group, source, now) for key, group in groups.items()]
            # New incidents before this time wait for it, and people get one message about them.
            if source is not None and any(key.notice_kind == Notice.FIRE for key in groups):
                sources.update(gather_until=now + timedelta(seconds=source.gather_seconds))
    return run_ids


def _create_run(kind: str, group: list[Incident], source: Source | None, now: datetime) -> int:
    """Create the run that notifies people of these incidents, and schedule their next reminders. Return its id."""
    for incident in group:
        if kind == Notice.REPEAT:
            incident.repeat_count += 1
        elif kind == Notice.RECOVER:
            incident.recovery_count += 1
    number = _count_notices(group[0], kind)
    # The name is fire, repeat-1, repeat-2 …, recover, recover-2 …
    name = f"{kind}-{number}" if kind == Notice.REPEAT or number > 1 else kind
    run = Run.objects.create(
        key=f"incident:{group[0].pk}:{name}",
        trigger=Run.Trigger.ALERT,
        corp_id=group[0].corp_id,
        slot_at=now,
        claimed_at=now,
        render_after=now + RENDER_LEASE,
    )
    IncidentEvent.objects.bulk_create(
        IncidentEvent(
            incident=incident,
            kind=IncidentEvent.Kind.NOTIFIED,
            at=now,
            note=_NOTES[Notice(kind)].serialize(),
            run=run,
            notice=kind,
            number=_count_notices(incident, kind),
        )
        for incident in group
    )
    for incident in group:
        incident.notified_at = now
        if incident.is_open:
            incidents.schedule_reminder(incident, source, since=now)
        else:
            incident.notice_kind, incident.notice_due_at = "", None
        incident.save(
            update_fields=["notified_at", "notice_kind", "notice_due_at", "repeat_count", "recovery_count"],
        )
    return run.pk


def _count_notices(incident: Incident, kind: str) -> int:
    """Return how many notices of this kind the incident has had, including the present one."""
    counts = {Notice.REPEAT: incident.repeat_count, Notice.RECOVER: incident.recovery_count}
    return counts.get(Notice(kind), 1)


# --- When a rule may notify: hours, working days, silence windows ---


def find_earliest_notice_time(rule: AlertRule, now: datetime, windows: Sequence[SilenceWindow] = ()) -> datetime:
    """Return the first moment from `now` on that lies within the rule's hours and outside its silence windows."""
    moment = now
    for _step in range(STEPS_AT_MOST):
        within = _find_moment_within_hours(rule, moment)
        ends = [find_window_end(window, read_zone(rule.time_zone), within) for window in windows]
        found = max([within, *(end for end in ends if end is not None)])
        if found == moment:
            break
        moment = found
    return moment


def find_window_end(window: SilenceWindow, zone: tzinfo, moment: datetime) -> datetime | None:
    """Return when the window that is open at `moment` closes; None if it is closed then. An hour that clocks show
    twice, when summer time ends, lies in the window both times."""
    if window.kind == SilenceWindow.Kind.ONCE:
        start, end = window.starts_at, window.ends_at
        return end if start is not None and end is not None and start <= moment < end else None
    from_time, to_time = window.from_time, window.to_time
    if from_time is None or to_time is None:
        return None
    local = moment.astimezone(zone)
    for days in (-1, 0):
        day = local.date() + timedelta(days=days)
        # Times in one zone are compared by the clock that people see, whatever the offset.
        ends = datetime.combine(day if to_time > from_time else day + timedelta(days=1), to_time, zone)
        is_its_day = day.isoweekday() in window.weekday_numbers
        if is_its_day and datetime.combine(day, from_time, zone) <= local < ends:
            return ends.replace(fold=local.fold).astimezone(UTC)
    return None


def _find_moment_within_hours(rule: AlertRule, now: datetime) -> datetime:
    """Return `now` or the next beginning of the rule's hours. Hours that end before they begin go over midnight and
    belong to the day on which they begin."""
    if rule.notify_from is None and rule.notify_until is None and not rule.notifies_on_workdays_only:
        return now
    zone = read_zone(rule.time_zone)
    local = now.astimezone(zone)
    start, end = rule.notify_from or time(0), rule.notify_until or time(0)
    is_workday = read_workdays() if rule.notifies_on_workdays_only else None
    for days in range(-1, DAYS_SEARCHED):
        day = local.date() + timedelta(days=days)
        if is_workday is not None and not is_workday(day):
            continue
        begins = datetime.combine(day, start, zone)
        ends = datetime.combine(day if end > start else day + timedelta(days=1), end, zone)
        if ends > local:
            return now if begins <= local else begins.replace(fold=local.fold).astimezone(UTC)
    return now  # no working day was found
