"""When a rule may notify: hours, working days, silence windows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

from notifications.models import SilenceWindow
from notifications.subscriptions.schedules import slots, workdays

if TYPE_CHECKING:
    from notifications.models import AlertRule

# Holidays are shorter.
DAYS_SEARCHED = 30
# Windows that leave no gap in so many steps: people are told at the end of the last one looked at.
STEPS_AT_MOST = 60


def earliest_notice_at(rule: AlertRule, now: datetime, windows: Sequence[SilenceWindow] = ()) -> datetime:
    """`now` where people may be told, else the moment from which they may: within the rule's hours and outside all of
    its silence windows."""
    moment = now
    for _step in range(STEPS_AT_MOST):
        found = _after_windows(windows, slots.zone(rule.time_zone), _within_hours(rule, moment))
        if found == moment:
            break
        moment = found
    return moment


def window_end(window: SilenceWindow, where: tzinfo, moment: datetime) -> datetime | None:
    """The end of the window's stretch in which `moment` lies; None where it lies in none."""
    if window.kind == SilenceWindow.Kind.ONCE:
        start, end = window.starts_at, window.ends_at
        return end if start is not None and end is not None and start <= moment < end else None
    from_time, to_time = window.from_time, window.to_time
    if from_time is None or to_time is None:
        return None
    local = moment.astimezone(where)
    for days in (-1, 0):
        day = local.date() + timedelta(days=days)
        ends = datetime.combine(day if to_time > from_time else day + timedelta(days=1), to_time, where)
        is_its_day = day.isoweekday() in window.weekday_numbers
        if is_its_day and datetime.combine(day, from_time, where) <= local < ends:
            return ends
    return None


def _after_windows(windows: Sequence[SilenceWindow], where: tzinfo, moment: datetime) -> datetime:
    ends = [end for window in windows if (end := window_end(window, where, moment)) is not None]
    return max([moment, *ends])


def _within_hours(rule: AlertRule, now: datetime) -> datetime:
    """Hours that end before they begin go over midnight, and belong to the day on which they begin."""
    if rule.notify_from is None and rule.notify_until is None and not rule.notifies_on_workdays_only:
        return now
    where = slots.zone(rule.time_zone)
    local = now.astimezone(where)
    start, end = rule.notify_from or time(0), rule.notify_until or time(0)
    for days in range(-1, DAYS_SEARCHED):
        day = local.date() + timedelta(days=days)
        if rule.notifies_on_workdays_only and not workdays.is_workday(day):
            continue
        begins = datetime.combine(day, start, where)
        ends = datetime.combine(day if end > start else day + timedelta(days=1), end, where)
        if ends > local:
            return max(now, begins)
    return now
