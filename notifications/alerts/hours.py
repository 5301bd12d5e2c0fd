"""When people may be told of what a rule finds: hours of the day and working days. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from notifications import schedule, workdays

if TYPE_CHECKING:
    from notifications.models import AlertRule

# Holidays are shorter.
DAYS_LOOKED = 30


def telling_from(rule: AlertRule, now: datetime) -> datetime:
    """`now` where people may be told, else the moment from which they may. Hours that end before they begin go over
    midnight, and belong to the day on which they begin."""
    if rule.tells_from is None and rule.tells_to is None and not rule.tells_on_workdays_only:
        return now
    where = schedule.zone(rule.time_zone)
    local = now.astimezone(where)
    start, end = rule.tells_from or time(0), rule.tells_to or time(0)
    for days in range(-1, DAYS_LOOKED):
        day = local.date() + timedelta(days=days)
        if rule.tells_on_workdays_only and not workdays.is_workday(day):
            continue
        begins = datetime.combine(day, start, where)
        ends = datetime.combine(day if end > start else day + timedelta(days=1), end, where)
        if ends > local:
            return max(now, begins)
    return now
