"""A week of pushes by day and hour: how many people and messages each hour has, and where it crowds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from functools import cached_property

from django.conf import settings
from django.utils.translation import gettext as _

from notifications.models import Subscription
from notifications.subscriptions.schedules import slots
from notifications.subscriptions.schedules.descriptions import CROWDED_MINUTES

DAYS = 7
# Of all pushes together; a crontab for every minute has 10,080 a week.
TIMES_AT_MOST = 20_000


@dataclass(frozen=True)
class Planned:
    """One time of a push. `people`: the keys of those who would get it now; None where that is not known."""

    subscription: Subscription
    at: datetime
    people: frozenset[int] | None
    is_spread: bool

    @property
    def message_count(self) -> int:
        """A group robot's group gets one."""
        return 1 if self.subscription.robot_id is not None else len(self.people or ())

    @property
    def is_crowding(self) -> bool:
        """WeCom asks not to send then."""
        return self.at.minute in CROWDED_MINUTES and not self.is_spread


@dataclass
class Hour:
    """What begins within an hour, and sentences about a minute of it that is too full."""

    planned: list[Planned] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def people_count(self) -> int:
        """Each person counts once, however many messages they get."""
        return len(frozenset().union(*{one.people for one in self.planned if one.people}))

    @cached_property
    def message_count(self) -> int:
        return sum(one.message_count for one in self.planned)

    @property
    def pushes(self) -> list[tuple[Planned, int]]:
        """Each push by its first time within the hour, and how many times it has there."""
        firsts: dict[int, Planned] = {}
        counts: dict[int, int] = defaultdict(int)
        for one in self.planned:
            firsts.setdefault(one.subscription.pk, one)
            counts[one.subscription.pk] += 1
        return [(one, counts[key]) for key, one in firsts.items()]


@dataclass(frozen=True)
class Week:
    """`hours`: by day and hour of the day, only those in which something begins. `is_cut`: whether there were more
    than TIMES_AT_MOST; `unreadable`: pushes whose schedule cannot be used."""

    days: list[date]
    hours: Mapping[tuple[date, int], Hour]
    is_cut: bool = False
    unreadable: list[Subscription] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max((hour.message_count for hour in self.hours.values()), default=0)

    @property
    def notes(self) -> dict[str, list[tuple[date, int]]]:
        """Each sentence with the hours that it is about."""
        found: dict[str, list[tuple[date, int]]] = defaultdict(list)
        for key, hour in sorted(self.hours.items()):
            for note in hour.notes:
                found[note].append(key)
        return dict(found)

    @property
    def on_the_hour(self) -> list[Subscription]:
        """Pushes that begin exactly on an hour or a half hour, without a spread."""
        planned = (one for hour in self.hours.values() for one in hour.planned)
        found = {one.subscription.pk: one.subscription for one in planned if one.is_crowding}
        return sorted(found.values(), key=lambda one: (one.name, one.pk))


def week(
    subscriptions: Iterable[Subscription],
    people: Mapping[int, frozenset[int]],
    *,
    start: date,
    now: datetime,
    zone: tzinfo,
) -> Week:
    """Collect what is to come from midnight of `start` on; times before `now` are left out. `people`: by push, the keys
    of those who would get it, where that is known."""
    hours: dict[tuple[date, int], Hour] = defaultdict(Hour)
    unreadable: list[Subscription] = []
    count = 0
    first, end = (datetime.combine(start + timedelta(days=days), time.min, tzinfo=zone) for days in (0, DAYS))
    for subscription in subscriptions:
        try:
            for found in _until(end, slots.due_times(subscription, max(first - timedelta(seconds=1), now))):
                if count == TIMES_AT_MOST:
                    break
                count += 1
                at = found.due_at.astimezone(zone)
                one = Planned(subscription, at, people.get(subscription.pk), bool(found.spread_seconds))
                hours[at.date(), at.hour].planned.append(one)
        except slots.ScheduleError:
            unreadable.append(subscription)
    for hour in hours.values():
        hour.planned.sort(key=lambda one: (one.at, one.subscription.pk))
        hour.notes = _notes(hour)
    days = [start + timedelta(days=number) for number in range(DAYS)]
    return Week(days, dict(hours), count == TIMES_AT_MOST, unreadable)


def limit_per_hour() -> int:
    """Calls of a company to WeCom; 0 where there is no limit. A message of one's own is a call."""
    return _smallest(settings.LIMIT_COMPANY_PER_HOUR, settings.LIMIT_ADDRESS_PER_HOUR)


def limit_per_minute() -> int:
    return _smallest(settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_ADDRESS_PER_MINUTE)


def _smallest(*limits: int) -> int:
    return min((limit for limit in limits if limit), default=0)


def _until(end: datetime, times: Iterator[slots.DueTime]) -> Iterator[slots.DueTime]:
    for found in times:
        if found.due_at >= end:
            return
        yield found


def _notes(hour: Hour) -> list[str]:
    minutes: dict[datetime, list[Planned]] = defaultdict(list)
    for one in hour.planned:
        minutes[one.at.replace(second=0, microsecond=0)].append(one)
    return [note for minute, planned in minutes.items() for note in _minute_notes(f"{minute:%H:%M}", planned)]


def _minute_notes(at: str, planned: list[Planned]) -> Iterator[str]:
    count, limit = sum(one.message_count for one in planned), limit_per_minute()
    if limit and count > limit:
        sentence = _(
            "%(time)s: %(count)s messages, and WeCom takes %(limit)s calls a minute. Where everybody gets a message "
            "of their own this lasts %(minutes)d minutes: move some pushes to another time."
        )
        yield sentence % {"time": at, "count": f"{count:,}", "limit": f"{limit:,}", "minutes": -(-count // limit)}
    most = settings.LIMIT_MEMBER_PER_MINUTE
    if most and len(planned) > most:
        sentence = _(
            "%(time)s: %(count)d pushes, and a person gets at most %(limit)d messages a minute. Who gets all of them "
            "waits for the rest: move some pushes to another time."
        )
        yield sentence % {"time": at, "count": len(planned), "limit": most}
