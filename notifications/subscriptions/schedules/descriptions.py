"""Describes schedules in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext, pgettext_lazy

from notifications.models import FreeDays, MonthDay, Repeat, Scheduled
from notifications.subscriptions.schedules import slots
from notifications.subscriptions.schedules.slots import DueTime

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# From Monday on.
WEEKDAYS = (
    gettext_lazy("Mon"),
    gettext_lazy("Tue"),
    gettext_lazy("Wed"),
    gettext_lazy("Thu"),
    gettext_lazy("Fri"),
    gettext_lazy("Sat"),
    gettext_lazy("Sun"),
)
# What people call the zones that are usual here.
ZONES: dict[str, StrOrPromise] = {
    "Asia/Shanghai": pgettext_lazy("time zone", "Beijing time"),
    "Asia/Hong_Kong": pgettext_lazy("time zone", "Hong Kong time"),
    "Asia/Singapore": pgettext_lazy("time zone", "Singapore time"),
    "Asia/Tokyo": pgettext_lazy("time zone", "Tokyo time"),
    "Europe/Berlin": pgettext_lazy("time zone", "Berlin time"),
    "America/New_York": pgettext_lazy("time zone", "New York time"),
    "UTC": pgettext_lazy("time zone", "Universal time (UTC)"),
}
# WeCom asks not to send at these minutes.
CROWDED_MINUTES = (0, 30)


def described(subscription: Scheduled) -> str:
    """The schedule in a few words, a crontab, too; one that has no short words is "at times of its own"."""
    words = _named(subscription)
    match subscription.free_days:
        case FreeDays.SKIP if subscription.repeat != Repeat.DAILY:
            return _("%(schedule)s, only on working days") % {"schedule": words}
        case FreeDays.NEXT:
            return _("%(schedule)s, else on the next working day") % {"schedule": words}
        case _:
            return words


def time_line(found: DueTime, zone: tzinfo, *, is_saved: bool) -> str:
    """A time with its weekday. Where it is spread: when it begins, which depends on the saved row, or from when on to
    when it may."""
    local = found.due_at.astimezone(zone)
    day = WEEKDAYS[local.weekday()]
    if not found.spread_seconds:
        return f"{local:%Y-%m-%d %H:%M} {day}"
    if is_saved:
        return f"{local:%Y-%m-%d %H:%M:%S} {day}"
    start = found.slot_at.astimezone(zone)
    end = (found.slot_at + timedelta(seconds=found.spread_seconds)).astimezone(zone)
    return f"{start:%Y-%m-%d %H:%M:%S}–{end:%H:%M:%S} {WEEKDAYS[start.weekday()]}"


def notes(subscription: Scheduled, times: Sequence[DueTime]) -> list[str]:
    """What whoever writes the schedule ought to know about these next times of it, in sentences."""
    return [*calendar_notes(subscription, times), *_crowd_notes(times)]


def calendar_notes(subscription: Scheduled, times: Sequence[DueTime]) -> list[str]:
    """That the calendar ends before the last of these times, where the schedule goes by it."""
    if not subscription.is_by_workdays:
        return []
    zone = slots.zone(subscription.time_zone)
    years = slots.unknown_years(found.slot_at.astimezone(zone).date() for found in times)
    return [calendar_ends(years[0])] if years else []


def calendar_ends(year: int) -> str:
    """`year`: the first whose free days are not known."""
    sentence = _(
        "The holidays and make-up days of %(year)d are not known to this version: from then on every day from Monday "
        "to Friday counts as a working day, but for 1 January, 1 and 2 May and 1 to 3 October. An update of guanwecom "
        "brings them, or they are entered under Settings, Holidays."
    )
    return sentence % {"year": year}


def _crowd_notes(times: Sequence[DueTime]) -> list[str]:
    if any(found.slot_at.minute in CROWDED_MINUTES and not found.spread_seconds for found in times):
        return [_("WeCom asks not to send exactly on the hour or the half hour: a spread of 120 seconds avoids that.")]
    return []


def _named(subscription: Scheduled) -> str:
    at = "" if subscription.local_time is None else f"{subscription.local_time:%H:%M}"
    match subscription.repeat:
        case Repeat.DAILY if subscription.free_days == FreeDays.SKIP:
            return _("Every working day %(time)s") % {"time": at}
        case Repeat.DAILY:
            return _("Every day %(time)s") % {"time": at}
        case Repeat.WEEKLY:
            return _weekly(sorted(subscription.weekday_numbers), at)
        case Repeat.MONTHLY:
            instead = _(" (on the last day of a month that has no such day)")
            return _monthly(subscription.month_day, at) + instead * (subscription.month_day in _MONTHS_WITHOUT)
        case _:
            return crontab_words(subscription.crontab)


# What a crontab leaves out.
_MONTHS_WITHOUT = {
    "29": gettext_lazy(" (not in February, but for leap years)"),
    "30": gettext_lazy(" (not in February)"),
    "31": gettext_lazy(" (not in February, April, June, September and November)"),
}
_NUMBER = re.compile(r"[0-9]{1,2}")
_STEP = re.compile(r"\*/([0-9]{1,2})")
_DAYS = re.compile(r"([0-7])(?:-([0-7]))?")


def crontab_words(crontab: str) -> str:
    """What people write by presets or every few minutes or hours; anything else without its details."""
    match crontab.split():
        case [minute, hour, "*", "*", days] if _NUMBER.fullmatch(minute) and _NUMBER.fullmatch(hour):
            time = f"{int(hour):02}:{int(minute):02}"
            if days == "*":
                return _("Every day %(time)s") % {"time": time}
            if numbers := _weekdays(days):
                return _weekly(numbers, time)
        case [minute, hour, day, "*", "*"] if all(map(_NUMBER.fullmatch, (minute, hour, day))):
            time = f"{int(hour):02}:{int(minute):02}"
            return _monthly(day, time) + str(_MONTHS_WITHOUT.get(day, ""))
        case [minute, "*", "*", "*", "*"] if minute == "*" or _STEP.fullmatch(minute):
            return _every(minute, 1)
        case [minute, hour, "*", "*", "*"] if _NUMBER.fullmatch(minute) and (hour == "*" or _STEP.fullmatch(hour)):
            return _every(hour, 60)
    return _("At times of its own")


def _weekly(numbers: Sequence[int], time: str) -> str:
    days = pgettext("between days of the week", ", ").join(str(WEEKDAYS[number - 1]) for number in numbers)
    return _("Every %(days)s %(time)s") % {"days": days, "time": time}


def _monthly(day: str, time: str) -> str:
    return _("Every month on %(day)s %(time)s") % {"day": month_day_label(day), "time": time}


def _every(step: str, minutes: int) -> str:
    """`step`: * or */n. `minutes`: what 1 of it is."""
    count = 1 if step == "*" else int(step.removeprefix("*/"))
    if minutes == 1:
        return ngettext("Every minute", "Every %(count)d minutes", count) % {"count": count}
    return ngettext("Every hour", "Every %(count)d hours", count) % {"count": count}


def _weekdays(text: str) -> list[int]:
    """The numbers of ISO 8601 in a crontab's list of days, ascending; empty for what is none. A crontab's 0 is 7."""
    found = set()
    for part in text.split(","):
        one = _DAYS.fullmatch(part)
        if one is None:
            return []
        first, last = int(one[1]), int(one[2] or one[1])
        found |= {number or 7 for number in range(first, last + 1)}
    return sorted(found)


def month_day_label(month_day: str) -> str:
    """`month_day`: a number from 1 to 31, or one of MonthDay. Anything else stays as it is."""
    if month_day.isdigit():
        return _("day %(day)s") % {"day": month_day}
    return str(MonthDay(month_day).label) if month_day in MonthDay.values else month_day


def moment_line(moment: datetime, time_zone: str) -> str:
    """A moment in a subscription's own time zone, with seconds only where they are not zero."""
    local = moment.astimezone(slots.zone(time_zone))
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"


def zone_label(time_zone: str) -> StrOrPromise:
    """What people call the zone; of a rare one its own name, such as Asia/Seoul."""
    return ZONES.get(time_zone, time_zone)
