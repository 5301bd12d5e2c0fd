"""Dates for templates, counted from the slot in the subscription's time zone. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import gettext as _

from integrations.core.sentences import Sentence
from integrations.data import figures as days
from integrations.data.table import DASH, Month
from notifications.reports.templates.values import NOTHING, Exposed, ExpressionError, Nothing, exposed_of

USUAL_FORMAT = "YYYY-MM-DD"
MONTH_FORMAT = "YYYY-MM"
MOMENT_FORMAT = "YYYY-MM-DD HH:mm"
_TOKEN = re.compile(r"YYYY|YY|MM|M|DD|D|HH|H|mm|ss|ddd|W|Q")
_TOKENS: dict[str, Callable[[Any], str]] = {
    "YYYY": lambda at: f"{at.year:04}",
    "YY": lambda at: f"{at.year % 100:02}",
    "MM": lambda at: f"{at.month:02}",
    "M": lambda at: str(at.month),
    "DD": lambda at: f"{at.day:02}",
    "D": lambda at: str(at.day),
    "HH": lambda at: f"{getattr(at, 'hour', 0):02}",
    "H": lambda at: str(getattr(at, "hour", 0)),
    "mm": lambda at: f"{getattr(at, 'minute', 0):02}",
    "ss": lambda at: f"{getattr(at, 'second', 0):02}",
    "ddd": lambda at: str(WEEKDAYS_ABBR[at.weekday()]),
    "W": lambda at: str(at.isocalendar().week),
    "Q": lambda at: str((at.month + 2) // 3),
}
# With one of these the year is that of the day, not that of the week.
_WITHIN_YEARS = {"MM", "M", "DD", "D", "Q"}
MOST_DAYS = 10_000
_FORMAT_CHARACTERS = 64


class Period(days.Period, Exposed):
    """Days from `start` to `end`, both counted, as templates see them."""

    __slots__ = ()

    def exposed(self, name: str) -> Any:
        return exposed_of({"start": self.start, "end": self.end, "days": len(self.days)}, name)

    def shown(self) -> str:
        return self.formatted(USUAL_FORMAT)

    def formatted(self, pattern: str) -> str:
        return _("%(start)s to %(end)s") % {"start": written(self.start, pattern), "end": written(self.end, pattern)}


def written(at: Any, pattern: str = "") -> str:
    """A day, moment or period by a pattern of YYYY, MM, M, DD, D, HH, H, mm, ss, ddd (weekday), W (week), Q (quarter).

    Raises ExpressionError for what is no time.
    """
    if not isinstance(pattern, str) or len(pattern) > _FORMAT_CHARACTERS:
        raise ExpressionError(
            Sentence("A time's format is a short text, such as %(example)s.") % {"example": "YYYY-MM-DD"}
        )
    if isinstance(at, Period):
        return at.formatted(pattern or USUAL_FORMAT)
    if not isinstance(at, date):
        raise ExpressionError(Sentence("This is neither a day nor a time."))
    if not pattern:
        pattern = MOMENT_FORMAT if isinstance(at, datetime) else MONTH_FORMAT if isinstance(at, Month) else USUAL_FORMAT
    tokens = set(_TOKEN.findall(pattern))
    if "W" in tokens and not tokens & _WITHIN_YEARS:
        # The days around New Year belong to a week of the other year: 2027-01-01 is 2026年第53周.
        pattern = pattern.replace("YYYY", f"{at.isocalendar().year:04}")
    return _TOKEN.sub(lambda found: _TOKENS[found[0]](at), pattern)


def written_or_dash(at: Any, pattern: str = "") -> str:
    """A date or period by `pattern`, as `written`; a dash for anything else."""
    return DASH if not isinstance(at, date | Period) else written(at, pattern)


def moved(day: date, number: int) -> date:
    """So many days later; a negative number goes back. Raises ExpressionError for more than 10,000."""
    if isinstance(number, bool) or not isinstance(number, int) or abs(number) > MOST_DAYS or not isinstance(day, date):
        raise ExpressionError(Sentence("A day is moved by a number of days, %(most)d at most.") % {"most": MOST_DAYS})
    try:
        return day + timedelta(days=number)
    except OverflowError as error:
        raise ExpressionError(Sentence("There is no such day.")) from error


# The moment itself, in the subscription's time zone.
SLOT, SLOT_CHINESE = "slot", "计划时间"


# The periods around any day, such as the latest of a table.
AROUND: dict[str, Callable[[date], days.Period]] = {
    "week_of": days.week_of,
    "month_of": days.month_of,
    "quarter_of": days.quarter_of,
    "year_of": days.year_of,
}


def of_day(period: Callable[[date], days.Period]) -> Callable[[Any], Any]:
    """For templates: nothing around no day. Raises ExpressionError for what is no day."""

    def around(day: Any) -> Any:
        if isinstance(day, Nothing):
            return NOTHING
        if not isinstance(day, date):
            raise ExpressionError(Sentence("This is neither a day nor a time."))
        found = period(day)
        return Period(found.start, found.end)

    return around


def named_times(slot_at: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return each relative date of the slot's day in `zone`, and the slot itself, by both of their names."""
    return dict(_named_times(slot_at, zone))


# One time of one subscription is rendered for each of its recipients.
@lru_cache(maxsize=16)
def _named_times(slot_at: datetime, zone: ZoneInfo) -> dict[str, Any]:
    local = slot_at.astimezone(zone)
    named: dict[str, Any] = {
        name: Period(found.start, found.end) if isinstance(found, days.Period) else found
        for name, found in days.named_days(local.date()).items()
    }
    return named | dict.fromkeys((SLOT, SLOT_CHINESE), local)
