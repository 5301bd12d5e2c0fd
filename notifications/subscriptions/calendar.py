"""Schedules in words, notes on their next times, and the plan of the week ahead."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext, pgettext_lazy

from notifications.models import FreeDays, MonthDay, Repeat, Scheduled, Subscription
from notifications.subscriptions.schedules import DueTime, ScheduleError, find_due_times, find_unknown_years, read_zone

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


# Monday first.
WEEKDAYS = (
    gettext_lazy("Mon"),
    gettext_lazy("Tue"),
    gettext_lazy("Wed"),
    gettext_lazy("Thu"),
    gettext_lazy("Fri"),
    gettext_lazy("Sat"),
    gettext_lazy("Sun"),
)
# Common names of the usual time zones.
ZONES: dict[str, StrOrPromise] = {
    "Asia/Shanghai": pgettext_lazy("time zone", "Beijing time"),
    "Asia/Hong_Kong": pgettext_lazy("time zone", "Hong Kong time"),
    "Asia/Singapore": pgettext_lazy("time zone", "Singapore time"),
    "Asia/Tokyo": pgettext_lazy("time zone", "Tokyo time"),
    "Europe/Berlin": pgettext_lazy("time zone", "Berlin time"),
    "America/New_York": pgettext_lazy("time zone", "New York time"),
    "UTC": pgettext_lazy("time zone", "Universal time (UTC)"),
}
# WeCom asks senders to avoid these minutes.
CROWDED_MINUTES = (0, 30)


def describe_schedule(subscription: Scheduled) -> str:
    """Describe the schedule in a few words, also a crontab; "At custom times" if there is no short description."""
    at = "" if subscription.local_time is None else f"{subscription.local_time:%H:%M}"
    is_on_workdays = subscription.free_days == FreeDays.SKIP
    match subscription.repeat:
        case Repeat.ONCE:
            words = _("Once, on %(day)s %(time)s") % {"day": subscription.on_date or "—", "time": at}
        case Repeat.DAILY:
            sentence = _("Every working day %(time)s") if is_on_workdays else _("Every day %(time)s")
            words = sentence % {"time": at}
        case Repeat.WEEKLY:
            words = _describe_weekly(sorted(subscription.weekday_numbers), at)
        case Repeat.MONTHLY:
            words = _describe_monthly(subscription.month_day, at)
            if subscription.month_day in _SKIPPED_MONTHS:
                words += _(" (on the last day of a month that has no such day)")
        case _:
            words = describe_crontab(subscription.crontab)
    match subscription.free_days:
        case FreeDays.SKIP if subscription.repeat != Repeat.DAILY:
            return _("%(schedule)s, only on working days") % {"schedule": words}
        case FreeDays.NEXT:
            return _("%(schedule)s, else on the next working day") % {"schedule": words}
        case _:
            return words


def write_calendar_notes(subscription: Scheduled, times: Sequence[DueTime]) -> list[str]:
    """Return a warning if the schedule uses the calendar of working days and the calendar ends before the last time."""
    if not subscription.depends_on_workdays:
        return []
    zone = read_zone(subscription.time_zone)
    years = find_unknown_years(found.slot_at.astimezone(zone).date() for found in times)
    return [warn_of_calendar_end(years[0])] if years else []


def warn_of_calendar_end(year: int) -> str:
    """Return the warning that the known holidays end. `year`: the first year whose holidays are not known."""
    sentence = _(
        "The holidays and make-up days of %(year)d are not known to this version: from then on every day from Monday "
        "to Friday counts as a working day, but for 1 January, 1 and 2 May and 1 to 3 October. An update of guanwecom "
        "brings them, or they are entered under Settings, Holidays."
    )
    return sentence % {"year": year}


# Months that a crontab for this day leaves out.
_SKIPPED_MONTHS = {
    "29": gettext_lazy(" (not in February, but for leap years)"),
    "30": gettext_lazy(" (not in February)"),
    "31": gettext_lazy(" (not in February, April, June, September and November)"),
}
_NUMBER = re.compile(r"[0-9]{1,2}")
_STEP = re.compile(r"\*/([0-9]{1,2})")
_DAYS = re.compile(r"([0-7])(?:-([0-7]))?")


def describe_crontab(crontab: str) -> str:
    """Describe crontabs for days, weeks, months, and for every few minutes or hours; others without details."""
    match crontab.split():
        case [minute, hour, "*", "*", days] if _NUMBER.fullmatch(minute) and _NUMBER.fullmatch(hour):
            time = f"{int(hour):02}:{int(minute):02}"
            if days == "*":
                return _("Every day %(time)s") % {"time": time}
            # A list of days or spans of days; a crontab's 0 is the 7 of ISO 8601.
            parts = [_DAYS.fullmatch(part) for part in days.split(",")]
            spans = [range(int(one[1]), int(one[2] or one[1]) + 1) for one in parts if one]
            numbers = sorted({number or 7 for span in spans for number in span})
            if numbers and all(parts):
                return _describe_weekly(numbers, time)
        case [minute, hour, day, "*", "*"] if all(map(_NUMBER.fullmatch, (minute, hour, day))):
            time = f"{int(hour):02}:{int(minute):02}"
            return _describe_monthly(day, time) + str(_SKIPPED_MONTHS.get(day, ""))
        case [minute, "*", "*", "*", "*"] if minute == "*" or _STEP.fullmatch(minute):
            return _describe_interval(minute, 1)
        case [minute, hour, "*", "*", "*"] if _NUMBER.fullmatch(minute) and (hour == "*" or _STEP.fullmatch(hour)):
            return _describe_interval(hour, 60)
    return _("At custom times")


def _describe_weekly(numbers: Sequence[int], time: str) -> str:
    days = pgettext("between days of the week", ", ").join(str(WEEKDAYS[number - 1]) for number in numbers)
    return _("Every %(days)s %(time)s") % {"days": days, "time": time}


def _describe_monthly(day: str, time: str) -> str:
    return _("Every month on %(day)s %(time)s") % {"day": describe_month_day(day), "time": time}


def _describe_interval(step: str, minutes: int) -> str:
    """Describe a step of a crontab, `*` or `*/n`. `minutes`: length of one unit, 1 or 60."""
    count = 1 if step == "*" else int(step.removeprefix("*/"))
    if minutes == 1:
        return ngettext("Every minute", "Every %(count)d minutes", count) % {"count": count}
    return ngettext("Every hour", "Every %(count)d hours", count) % {"count": count}


def describe_month_day(month_day: str) -> str:
    """Describe `month_day`, a number from 1 to 31 or one of MonthDay. Anything else is returned unchanged."""
    if month_day.isdigit():
        return _("day %(day)s") % {"day": month_day}
    return str(MonthDay(month_day).label) if month_day in MonthDay.values else month_day


def write_moment_in_zone(moment: datetime, time_zone: str) -> str:
    """Write a moment in the subscription's time zone, with seconds only if they are not zero."""
    local = moment.astimezone(read_zone(time_zone))
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"


def find_zone_name(time_zone: str) -> StrOrPromise:
    """Return the zone's common name; for a rare zone its own name, such as Asia/Seoul."""
    return ZONES.get(time_zone, time_zone)


# --- The week ahead: what is planned in each hour, and what exceeds the limits ---


DAYS = 7
# Limit for all pushes together. A crontab for every minute has 10,080 times a week.
TIMES_AT_MOST = 20_000


@dataclass(frozen=True)
class PlannedTime:
    """A time at which a push begins. `people`: the keys of its present recipients; None if unknown."""

    subscription: Subscription
    at: datetime
    people: frozenset[int] | None
    is_spread: bool

    @property
    def message_count(self) -> int:
        """The number of messages; a robot's group gets one."""
        return 1 if self.subscription.robot_id is not None else len(self.people or ())


@dataclass
class PlannedHour:
    """Pushes that begin within an hour, and sentences about minutes with too many messages."""

    planned: list[PlannedTime] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def people_count(self) -> int:
        """The number of people; each counts once, however many messages they get."""
        return len(frozenset().union(*{one.people for one in self.planned if one.people}))

    @cached_property
    def message_count(self) -> int:
        return sum(one.message_count for one in self.planned)

    @property
    def pushes(self) -> list[tuple[PlannedTime, int]]:
        """Pushes, each with its first time within the hour and its number of times there."""
        firsts: dict[int, PlannedTime] = {}
        counts: dict[int, int] = defaultdict(int)
        for one in self.planned:
            firsts.setdefault(one.subscription.pk, one)
            counts[one.subscription.pk] += 1
        return [(one, counts[key]) for key, one in firsts.items()]


@dataclass(frozen=True)
class PlannedWeek:
    """The plan of a week. `hours`: by day and hour, only hours in which a push begins. `peak`: the most messages in an
    hour; `notes`: sentences, each with the hours that it is about; `on_the_hour`: pushes that begin exactly on an hour
    or a half hour, without a spread. `is_cut`: there are more than TIMES_AT_MOST times; `unreadable`: pushes whose
    schedule cannot be used."""

    days: list[date]
    hours: Mapping[tuple[date, int], PlannedHour]
    peak: int
    notes: Mapping[str, list[tuple[date, int]]]
    on_the_hour: list[Subscription]
    is_cut: bool
    unreadable: list[Subscription]


def plan_week(
    subscriptions: Iterable[Subscription],
    people: Mapping[int, frozenset[int]],
    *,
    start: date,
    now: datetime,
    zone: tzinfo,
) -> PlannedWeek:
    """Collect the times of a week from midnight of `start` on, without times before `now`. `people`: by push, the keys
    of its recipients, if known."""
    hours: dict[tuple[date, int], PlannedHour] = defaultdict(PlannedHour)
    unreadable: list[Subscription] = []
    count = 0
    first, end = (datetime.combine(start + timedelta(days=days), time.min, tzinfo=zone) for days in (0, DAYS))
    for subscription in subscriptions:
        try:
            for found in find_due_times(subscription, max(first - timedelta(seconds=1), now)):
                if found.due_at >= end or count == TIMES_AT_MOST:
                    break
                count += 1
                at = found.due_at.astimezone(zone)
                one = PlannedTime(subscription, at, people.get(subscription.pk), bool(found.spread_seconds))
                hours[at.date(), at.hour].planned.append(one)
        except ScheduleError:
            unreadable.append(subscription)
    notes: dict[str, list[tuple[date, int]]] = defaultdict(list)
    crowding: dict[int, Subscription] = {}
    for key, hour in sorted(hours.items()):
        hour.planned.sort(key=lambda one: (one.at, one.subscription.pk))
        crowded = [one for one in hour.planned if one.at.minute in CROWDED_MINUTES and not one.is_spread]
        crowding |= {one.subscription.pk: one.subscription for one in crowded}
        for minute, group in groupby(hour.planned, lambda one: f"{one.at:%H:%M}"):
            planned = list(group)
            messages, limit = sum(one.message_count for one in planned), find_limit_per_minute()
            if limit and messages > limit:
                sentence = _(
                    "%(time)s: %(count)s messages, and WeCom takes %(limit)s calls a minute. If everybody gets a "
                    "message of their own, this takes %(minutes)d minutes: move some pushes to another time."
                )
                words = {"time": minute, "count": f"{messages:,}", "limit": f"{limit:,}"}
                hour.notes.append(sentence % {**words, "minutes": -(-messages // limit)})
            most = settings.LIMIT_MEMBER_PER_MINUTE
            if most and len(planned) > most:
                sentence = _(
                    "%(time)s: %(count)d pushes, and a person gets at most %(limit)d messages a minute. People "
                    "who get all of them wait for the rest: move some pushes to another time."
                )
                hour.notes.append(sentence % {"time": minute, "count": len(planned), "limit": most})
        for note in hour.notes:
            notes[note].append(key)
    return PlannedWeek(
        days=[start + timedelta(days=number) for number in range(DAYS)],
        hours=dict(hours),
        peak=max((hour.message_count for hour in hours.values()), default=0),
        notes=dict(notes),
        on_the_hour=sorted(crowding.values(), key=lambda one: (one.name, one.pk)),
        is_cut=count == TIMES_AT_MOST,
        unreadable=unreadable,
    )


def find_limit_per_minute() -> int:
    """Return a company's calls to WeCom per minute; 0 if there is no limit."""
    return min(filter(None, (settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_ADDRESS_PER_MINUTE)), default=0)
