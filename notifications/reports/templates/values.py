"""Values that templates compute with: numbers, days, "no value", their formats and their errors.

WeCom cannot escape markup, so `escape_markup` replaces its characters by others that look alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import gettext as _

from integrations.core.sentences import Sentence, SentenceError
from integrations.data import figures, table
from integrations.data.figures import (
    ARITHMETIC,
    Change,
    Period,
    in_zone,
    is_unknown,
    read_number,
    to_decimal,
)
from integrations.data.table import DASH, Column, Kind, Month, Value
from notifications.models.subscriptions import MessageForm


class TemplateError(SentenceError):
    """A template has failed. `line` counts from 1; 0 if the line is unknown."""

    def __init__(self, line: int, reason: Sentence) -> None:
        at_line = Sentence("Line %(line)d: %(reason)s") % {"line": line, "reason": reason}
        super().__init__(at_line if line else reason)
        self.line = line


class ExpressionError(SentenceError):
    """An expression of a template has no result. The renderer adds the line."""


class ColumnGoneError(ExpressionError):
    """The data has no column of this name, or has it no longer."""


# --- Values: primitives, and "no value" ---


class Nothing:
    """A missing value: it is shown as a dash, is never smaller or greater, and computing with it gives nothing.

    It replaces None, with which a template that compares or adds would fail on the first empty cell.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nothing)

    def __hash__(self) -> int:
        return 0

    def __lt__(self, other: object) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__


NOTHING = Nothing()


class Exposed:
    """An object that templates see: only attributes that `get_attribute` allows, and items by `get_item`."""

    __slots__ = ()

    def get_attribute(self, name: str) -> Any:
        """Return the attribute if templates may read it. Raises ExpressionError otherwise."""
        raise ExpressionError(Sentence("There is nothing called “%(name)s” here.") % {"name": name})

    def get_item(self, key: object) -> Any:
        raise ExpressionError(Sentence("This has no parts in square brackets."))

    def as_text(self) -> str:
        """Return the text in a message."""
        raise ExpressionError(Sentence("This is not a value that can be shown: name a part of it."))


def find_exposed(found: Mapping[str, Any], name: str) -> Any:
    """Return `found[name]`. Raises ExpressionError that lists the known names."""
    if name in found:
        return found[name]
    known = ", ".join(sorted(found))
    sentence = Sentence("There is nothing called “%(name)s” here. There is: %(known)s.")
    raise ExpressionError(sentence % {"name": name, "known": known})


def from_cell(value: Value, zone: tzinfo | None = None) -> Any:
    """Return a cell as templates see it: floats as the decimal numbers that they show, moments in `zone`."""
    if value is None or (isinstance(value, float | Decimal) and is_unknown(value)):
        return NOTHING
    if isinstance(value, datetime) and zone is not None:
        return in_zone(value, zone)
    return Decimal(repr(value)) if isinstance(value, float) else value


def to_number(value: Any) -> Decimal | None:
    """Return a number, also from a text that holds one; None for anything else."""
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, str):
        number = read_number(value)
        return None if number is None else Decimal(number.value)
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return to_decimal(value) if isinstance(value, int | float) else None


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
# A pattern with one of these shows the calendar year, not the year to which the ISO week belongs.
_WITHIN_YEARS = {"MM", "M", "DD", "D", "Q"}
MOST_DAYS = 10_000
_FORMAT_CHARACTERS = 64


def format_time(at: Any, pattern: str = "") -> str:
    """Write a day, moment or period by a pattern of YYYY, MM, M, DD, D, HH, H, mm, ss, ddd (weekday), W (week), Q
    (quarter). Raises ExpressionError if `at` is no time."""
    if not isinstance(pattern, str) or len(pattern) > _FORMAT_CHARACTERS:
        raise ExpressionError(
            Sentence("A time's format is a short text, such as %(example)s.") % {"example": "YYYY-MM-DD"}
        )
    if isinstance(at, Period):
        ends = {"start": format_time(at.start, pattern), "end": format_time(at.end, pattern)}
        return _("%(start)s to %(end)s") % ends
    if not isinstance(at, date):
        raise ExpressionError(Sentence("This is neither a day nor a time."))
    if not pattern:
        pattern = MOMENT_FORMAT if isinstance(at, datetime) else MONTH_FORMAT if isinstance(at, Month) else USUAL_FORMAT
    tokens = set(_TOKEN.findall(pattern))
    if "W" in tokens and not tokens & _WITHIN_YEARS:
        # Days around New Year may belong to a week of the other year: 2027-01-01 is 2026年第53周.
        pattern = pattern.replace("YYYY", f"{at.isocalendar().year:04}")
    return _TOKEN.sub(lambda found: _TOKENS[found[0]](at), pattern)


def add_days(day: date, number: int) -> date:
    """Return the day so many days later; negative numbers go back. Raises ExpressionError for more than MOST_DAYS."""
    if isinstance(number, bool) or not isinstance(number, int) or abs(number) > MOST_DAYS or not isinstance(day, date):
        raise ExpressionError(Sentence("A day is moved by a number of days, %(most)d at most.") % {"most": MOST_DAYS})
    try:
        return day + timedelta(days=number)
    except OverflowError as error:
        raise ExpressionError(Sentence("There is no such day.")) from error


# The slot itself, in the subscription's time zone.
SLOT, SLOT_CHINESE = "slot", "计划时间"
# Functions for the period around any day, such as a table's latest.
AROUND: dict[str, Callable[[date], Period]] = {
    "week_of": figures.find_week,
    "month_of": figures.find_month,
    "quarter_of": figures.find_quarter,
    "year_of": figures.find_year,
}


def find_period(around: Callable[[date], Period], day: Any) -> Any:
    """Return the period around a day, or no value if `day` is none. Raises ExpressionError for anything else."""
    if isinstance(day, Nothing):
        return NOTHING
    if not isinstance(day, date):
        raise ExpressionError(Sentence("This is neither a day nor a time."))
    return around(day)


# Cached, because one slot is rendered for many recipients.
@lru_cache(maxsize=16)
def find_named_times(slot_at: datetime, zone: ZoneInfo) -> Mapping[str, Any]:
    """Return each relative date of the slot's day in `zone`, and the slot itself, by both of their names."""
    local = slot_at.astimezone(zone)
    return {**figures.find_named_days(local.date()), **dict.fromkeys((SLOT, SLOT_CHINESE), local)}


MOST_DECIMALS = 10
WAN, YI = Decimal(10_000), Decimal(100_000_000)


class ColumnNumber(Decimal):
    """A number of a column, with the column's decimals and whether it is a percentage."""

    __slots__ = ("decimals", "is_percent")

    decimals: int | None
    is_percent: bool

    @classmethod
    def of(cls, number: Decimal, column: Column, *, keeps_decimals: bool = True) -> Decimal:
        """Return the number with its column's format. `keeps_decimals`: False for a mean, which has more decimals."""
        is_percent, decimals = column.kind is Kind.PERCENT, column.decimals if keeps_decimals else None
        if not is_percent and decimals is None:
            return number
        found = cls(number)
        found.is_percent, found.decimals = is_percent, decimals
        return found


def format_plain(value: Any, decimals: int | None = None, *, grouped: bool = False) -> str:
    """Write a number with the named decimals, else the column's, else the number's up to two: 12, 12.35, -3; 12.5% from
    a column of percentages. `grouped`: as 1,234,567.8."""
    places = getattr(value, "decimals", None) if decimals is None else _check_decimals(decimals)
    return _format_number(value, lambda number: table.format_number(number, places, grouped=grouped))


def format_rounded(value: Any, decimals: int = 0, *, is_signed: bool = False) -> str:
    """Write without decimals, or with as many as named. `is_signed`: with a sign, as +1.5, -1.5, 0.0."""
    places = _check_decimals(decimals)
    text = _format_number(value, lambda number: table.format_number(number, places, grouped=False))
    is_positive = text not in (DASH, "") and text[0] != "-" and text.strip("0.%")
    return f"+{text}" if is_signed and is_positive else text


def format_short(value: Any, decimals: int | None = None) -> str:
    """Write in 亿 or 万, depending on the rounded number; smaller numbers as they are."""
    places = None if decimals is None else _check_decimals(decimals)
    return _format_number(value, lambda number: table.format_short(number, places))


def format_percent(value: Any, decimals: int = 1) -> str:
    """Write 0.123 as 12.3%; numbers of a column of percentages are percentages already."""
    places = _check_decimals(decimals)
    if getattr(value, "is_percent", False):
        return format_rounded(value, places)
    return _format_number(value, lambda number: f"{table.format_number(number * 100, places, grouped=False)}%")


def compare_values(now: Any, before: Any) -> Change:
    """Return the change from `before` to `now`. It is shown as ↑5.0%, ↓5.0% or →0.0%; in words if a percentage would
    mislead; as a dash if unknown."""
    is_percent = getattr(now, "is_percent", False) and getattr(before, "is_percent", False)
    return Change(to_number(now), to_number(before), is_percent=is_percent)


def _format_number(value: Any, write: Callable[[Decimal], str]) -> str:
    number = to_number(value)
    if number is None:
        return DASH
    try:
        return write(number) + ("%" if getattr(value, "is_percent", False) else "")
    except OverflowError as error:
        raise ExpressionError(Sentence("This number is too large.")) from error


def format_in_unit(value: Any, size: Decimal, decimals: int, unit: str) -> str:
    """Write in units of `size`, with the unit's name; smaller numbers as they are."""
    number, places = to_number(value), _check_decimals(decimals)
    if number is None or abs(number) < size:
        return format_plain(value)
    return _format_number(
        ARITHMETIC.divide(number, size), lambda one: f"{table.format_number(one, places, grouped=False)}{unit}"
    )


def _check_decimals(decimals: Any) -> int:
    if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= MOST_DECIMALS:
        raise ExpressionError(Sentence("The number of decimals is from 0 to %(most)d.") % {"most": MOST_DECIMALS})
    return decimals


# Tags of text messages and cards, a mention such as <@all>, and markup within a line of Markdown.
_TAG = re.compile(r"<(?=@|[\s/!]*[A-Za-z])")
_MARKDOWN = str.maketrans(
    {"<": "＜", ">": "＞", "*": "＊", "`": "ˋ", "[": "［", "]": "］", "#": "＃", "_": "＿", "~": "～"}
)  # look-alikes on purpose
# Control characters, which PostgreSQL refuses, and marks of reading direction, which mislead readers.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


def escape_markup(text: str, form: str) -> str:
    """Return `text` on one line, without markup in a message of this form.

    With an empty form it stays plain text: a title is also the subject of a mail, the name of a file and a heading of
    our pages. It is escaped when a message is made.
    """
    line = _CONTROLS.sub(" ", text)
    if form == MessageForm.MARKDOWN:
        return line.translate(_MARKDOWN)
    return _TAG.sub("＜", line) if form else line
