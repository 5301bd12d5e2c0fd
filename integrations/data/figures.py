"""The reading and comparison of values, relative dates, and figures. Pure.

Relative dates count from the day of the slot (the scheduled time) in the time zone of the push or rule, never from the
clock's day.

A figure is a computed value, or None for unknown. Unknown values are left out, and a figure of unknown values alone is
unknown, never 0. Numbers are computed as decimals; a float has the digits that Python prints.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from integrations.data.table import Column, Kind, Month, Table, Value

Workday = Callable[[date], bool]


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `start` to `end`, both included."""

    start: date
    end: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day <= self.end

    @property
    def days(self) -> list[date]:
        return [self.start + timedelta(days=number) for number in range((self.end - self.start).days + 1)]


@dataclass(frozen=True, slots=True)
class RelativeDate:
    """A named day or period, computed for a given day. `chinese`: its Chinese name."""

    name: str
    chinese: str
    on: Callable[[date], date | Period]


def _subtract_months(day: date, count: int) -> date:
    """Return the same day some months before, or that month's last day if it is too short."""
    year, month = divmod(day.year * 12 + day.month - 1 - count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


# For each interval, the function that returns the day with which a day is compared.
EARLIER: Mapping[str, Callable[[date], date]] = MappingProxyType(
    {
        "day": lambda day: day - timedelta(days=1),
        "week": lambda day: day - timedelta(days=7),
        "month": lambda day: _subtract_months(day, 1),
        "year": lambda day: _subtract_months(day, 12),
    }
)


def find_monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def find_month(day: date) -> Period:
    return Period(day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1]))


def find_quarter(day: date) -> Period:
    first = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return Period(first, find_month(first.replace(month=first.month + 2)).end)


def find_year(day: date) -> Period:
    return Period(date(day.year, 1, 1), date(day.year, 12, 31))


def find_week(day: date) -> Period:
    return Period(find_monday(day), find_monday(day) + timedelta(days=6))


def _make_period_before(day: date, count: int) -> Period:
    return Period(day - timedelta(days=count), day - timedelta(days=1))


# An unfinished period ends today, because later values are a plan. `*_to_date` are second names of the same periods.
RELATIVE_DATES = (
    RelativeDate("today", "今天", lambda day: day),
    RelativeDate("yesterday", "昨天", EARLIER["day"]),
    RelativeDate("day_before_yesterday", "前天", lambda day: day - timedelta(days=2)),
    RelativeDate("same_day_last_week", "上周同日", lambda day: day - timedelta(days=7)),
    RelativeDate("same_day_last_month", "上月同日", EARLIER["month"]),
    RelativeDate("same_day_last_year", "去年同日", EARLIER["year"]),
    RelativeDate("last_7_days", "近7天", lambda day: _make_period_before(day, 7)),
    RelativeDate("last_30_days", "近30天", lambda day: _make_period_before(day, 30)),
    RelativeDate("this_week", "本周", lambda day: Period(find_monday(day), day)),
    RelativeDate("week_to_date", "本周至今", lambda day: Period(find_monday(day), day)),
    RelativeDate("last_week", "上周", lambda day: find_week(day - timedelta(days=7))),
    RelativeDate("this_month", "本月", lambda day: Period(day.replace(day=1), day)),
    RelativeDate("month_to_date", "本月至今", lambda day: Period(day.replace(day=1), day)),
    RelativeDate("last_month", "上月", lambda day: find_month(EARLIER["day"](day.replace(day=1)))),
    RelativeDate("this_quarter", "本季度", lambda day: Period(find_quarter(day).start, day)),
    RelativeDate("quarter_to_date", "本季至今", lambda day: Period(find_quarter(day).start, day)),
    RelativeDate("last_quarter", "上季度", lambda day: find_quarter(EARLIER["day"](find_quarter(day).start))),
    RelativeDate("this_year", "今年", lambda day: Period(date(day.year, 1, 1), day)),
    RelativeDate("year_to_date", "今年至今", lambda day: Period(date(day.year, 1, 1), day)),
    RelativeDate("last_year", "去年", lambda day: find_year(date(day.year - 1, 1, 1))),
)
# Name and Chinese name of the last workday, which is computed apart, because it needs a calendar of holidays.
LAST_WORKDAY = ("last_workday", "上一工作日")
_BY_NAME = {name: relative for relative in RELATIVE_DATES for name in (relative.name, relative.chinese)}
_LONGEST_HOLIDAY = 31


def find_named_days(today: date) -> dict[str, date | Period]:
    """Return the day or period of each relative date on `today`, by both names, without the last workday."""
    return {name: relative.on(today) for name, relative in _BY_NAME.items()}


def find_last_workday(today: date, is_workday: Workday) -> date:
    """Return the workday before `today`; yesterday if the calendar has none within a month."""
    earlier = (today - timedelta(days=number) for number in range(1, _LONGEST_HOLIDAY))
    return next((day for day in earlier if is_workday(day)), EARLIER["day"](today))


# --- Texts ------------------------------------------------------------------------------------------------------------

UNKNOWN_TEXTS = frozenset({"", "-", "—", "–", "--", "n/a", "nan", "null", "none", "无", "∞", "-∞", "+∞", "inf", "-inf"})
# Full-width characters and signs, with their ASCII equivalents.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0xFFE5: "¥", 0x2212: "-"}
_WIDE = re.compile(f"[{''.join(map(chr, _NARROW))}]")
_UNKNOWN_CHARACTERS = max(map(len, UNKNOWN_TEXTS))


def narrow_text(text: str) -> str:
    """Return the text without surrounding spaces, with full-width letters, digits and signs as ASCII ones."""
    return (text if text.isascii() or not _WIDE.search(text) else text.translate(_NARROW)).strip()


def fold_text(text: str) -> str:
    """Return the form for comparing texts: narrow, without case, with single spaces."""
    return " ".join(narrow_text(text).casefold().split())


def is_unknown(value: Value) -> bool:
    """Return whether a value is unknown, including texts such as "-", "N/A" and "无"."""
    if isinstance(value, str):
        text = value.strip()
        return len(text) <= _UNKNOWN_CHARACTERS and narrow_text(text).lower() in UNKNOWN_TEXTS
    if isinstance(value, Decimal):
        return not value.is_finite()  # not by math: 1e400 is infinite as a float
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def clean_text(text: str) -> str:
    """Replace halves of surrogate pairs by "?" and remove NUL: databases and XML accept neither."""
    return text.encode("utf-8", "replace").decode().replace("\0", "") if not text.isascii() else text.replace("\0", "")


# --- Numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(
    r"(?P<arrow>[↑↓→])?\s*(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<currency>[¥$€£])?\s*(?P<late_sign>[+-])?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)?(?P<fraction>\.\d+)?(?P<exponent>[eE][+-]?\d{1,3})?"
    r"\s*(?P<multiple>万亿|万|亿)?\s*(?P<unit>[^\d\s().,+-][^\d()]{0,7})?\s*(?P<close>\))?"
)
_CURRENCIES = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_MULTIPLES = {"万": 10**4, "亿": 10**8, "万亿": 10**12}
# Words that are units behind a number. Other words make the whole a text: "3楼", "12月".
UNITS = frozenset(
    ["%", "元", "块", "美元", "欧元", "英镑", "件", "个", "人", "次", "人次", "单", "台", "箱", "套", "户", "家"]
    + ["吨", "kg", "公斤", "克", "km", "公里", "米", "升", "天", "小时", "分钟", "秒"]
)
NUMBER_CHARACTERS = 100
SAFE_DIGITS = 15  # every float keeps this many digits of a number


@dataclass(frozen=True, slots=True)
class NumberText:
    """A text read as a number.

    `is_code`: it looks like a code rather than a number ("007", more than 15 digits, "12E3"). `decimals`: None if the
    text's decimals are not those of the value ("1.2万").
    """

    value: int | Decimal
    unit: str = ""
    decimals: int | None = 0
    is_code: bool = False


def read_number(text: str) -> NumberText | None:
    """Read a number as people and programs write it: "1,204", "(3.0%)", "↓3.0%", "￥1,204", "1.2万", "1.2e3".

    Return None for any other text, including one for an unknown number.
    """
    text = narrow_text(text)
    match = _NUMBER.fullmatch(text) if len(text) <= NUMBER_CHARACTERS else None
    if match is None or not (match["whole"] or match["fraction"]) or bool(match["open"]) != bool(match["close"]):
        return None
    whole, fraction, exponent = match["whole"] or "0", match["fraction"] or "", match["exponent"] or ""
    is_negative = "-" in (match["sign"], match["late_sign"]) or match["open"] or match["arrow"] == "↓"
    number = Decimal(f"{'-' if is_negative else ''}{whole.replace(',', '')}{fraction}{exponent}")
    if match["multiple"]:
        number *= _MULTIPLES[match["multiple"]]
    is_whole = not fraction and not exponent and number == number.to_integral_value()
    is_code = (len(whole) > 1 and whole[0] == "0") or len(whole.replace(",", "")) > SAFE_DIGITS
    return NumberText(
        int(number) if is_whole else number,
        (match["unit"] or _CURRENCIES.get(match["currency"] or "", "")).strip(),
        None if match["multiple"] or exponent else max(0, len(fraction) - 1),
        is_code or (bool(exponent) and not fraction),
    )


# --- Days and moments -------------------------------------------------------------------------------------------------

_DAY = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{4})(\d\d)(\d\d)|(\d{4})年(\d{1,2})月(\d{1,2})日")
_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})|(\d{4})年(\d{1,2})月")
_TIME = re.compile(
    r"(.+?)(?:[T ]|(?<=日))\s*(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,6})\d*)?)?\s*(Z|UTC|[+-]\d\d:?\d\d)?"
)
_USUAL_YEARS = range(1900, 2101)


def read_day(text: str) -> date | None:
    """Read a day or a month in any of the usual ways: 2026-11-23, 2026/1/3, 20261123, 2026年11月23日, 2026年11月.

    A month is a `Month`. Return None for any other text.
    """
    text = narrow_text(text)
    if not text[:4].isdecimal():
        return None
    try:
        if match := _DAY.fullmatch(text):
            year, month, day = (int(part) for part in match.groups() if part and part.isdecimal())
            return date(year, month, day) if match[1] or year in _USUAL_YEARS else None
        if match := _MONTH.fullmatch(text):
            year, month = (int(part) for part in match.groups() if part)
            return Month(year, month, 1) if year in _USUAL_YEARS else None
    except ValueError:
        pass
    return None


def read_moment(text: str, zone: tzinfo) -> datetime | None:
    """Read a day followed by a time. The result is in `zone`, which also applies to a text without a zone."""
    text = narrow_text(text)
    if text[4:5] == text[7:8] == "-" and text[10:11] in ("T", " ") and text[13:14] == ":":
        with suppress(ValueError):  # the usual format, with a fast parser
            return in_zone(datetime.fromisoformat(text), zone)
    match = _TIME.fullmatch(text) if text[:4].isdecimal() else None
    day = read_day(match[1]) if match else None
    if match is None or day is None or isinstance(day, Month):
        return None
    hour, minute, second = int(match[2]), int(match[3]), int(match[4] or 0)
    try:
        clock = time(hour, minute, second, int((match[5] or "").ljust(6, "0")))
        offset = match[6] and match[6].replace("UTC", "Z")
        own_zone = datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo if offset else None
    except ValueError:
        return None
    return in_zone(datetime.combine(day, clock, own_zone), zone)


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """Return the moment in `zone`, which also applies to a moment without a zone.

    A moment beyond the calendar (9999-12-31 for "for ever") keeps its clock time.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.replace(tzinfo=zone)


def find_day(value: Value, zone: tzinfo) -> date | None:
    """Return the day of a date, of a moment in `zone`, or of a text with a date; else None."""
    if isinstance(value, datetime):
        return in_zone(value, zone).date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        moment = read_moment(value, zone)
        return read_day(value) if moment is None else moment.date()
    return None


# Enough digits for any sum of a BI.
ARITHMETIC = Context(prec=40, rounding=ROUND_HALF_UP)
# Holds every sum of floats exactly, so that the order of rows does not matter; short numbers cost no more.
_EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)


class NotNumericError(ValueError):
    """A column with values that are no numbers. `column`: the name of the column."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def to_decimal(value: Value) -> Decimal | None:
    """Return a number as a decimal, a float with the digits of its repr. None: unknown, no number, or beyond floats."""
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() and math.isfinite(value) else None  # isfinite() raises for a signalling NaN
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def read_column_numbers(table: Table, name: str, rows: Iterable[int] | None = None) -> list[Decimal]:
    """Return the known numbers of a column. `rows`: positions of the rows to use; None: all.

    Yes and no count as 1 and 0. Raises NotNumericError for any other known value, KeyError if there is no such column.
    """
    position = table.find_position(name)
    chosen = table.rows if rows is None else [table.rows[row] for row in rows]
    numbers: list[Decimal] = []
    for row in chosen:
        value = row[position]
        number = Decimal(int(value)) if isinstance(value, bool) else to_decimal(value)
        if number is not None:
            numbers.append(number)
        elif not is_unknown(value):
            raise NotNumericError(name)
    return numbers


def total(numbers: Sequence[Decimal]) -> Decimal | None:
    """Return the sum, added up exactly; None without numbers."""
    if not numbers:
        return None
    with localcontext(_EXACT):
        added = sum(numbers, Decimal(0))
    return ARITHMETIC.plus(added)


def average(numbers: Sequence[Decimal]) -> Decimal | None:
    """Return the mean; None without numbers."""
    added = total(numbers)
    return None if added is None else ARITHMETIC.divide(added, Decimal(len(numbers)))


_NEVER_ADDED = re.compile(
    r"率|占比|比例|比重|百分|价|均|温|余额|目标|同比|环比|增幅|增速|评分|得分|折扣"
    r"|rate|ratio|percent|price|average|\bavg|temp|balance|target|score",
    re.IGNORECASE,
)


def adds_up(column: Column) -> bool:
    """Return whether a total of the column makes sense, by kind, unit and name: not for a percentage, rate, price,
    temperature, target or balance. Only proposals use it; an editor may total any column of numbers.
    """
    if column.kind is Kind.PERCENT or column.unit in ("%", "℃", "°C"):
        return False
    return column.is_numeric and not _NEVER_ADDED.search(column.name)


def count_known(values: Iterable[Value]) -> int:
    """Count the known values."""
    return sum(not is_unknown(value) for value in values)


def count_distinct(values: Iterable[Value]) -> int:
    """Count the different known values; texts are compared folded."""
    return len({fold_text(value) if isinstance(value, str) else value for value in values if not is_unknown(value)})


def find_newest_day(values: Iterable[Value], *, until: date, zone: tzinfo) -> date | None:
    """Return the latest day up to `until`, the slot's day; None if there is none. Later days are plans."""
    return max((day for value in values if (day := find_day(value, zone)) is not None and day <= until), default=None)


def find_reached_day_column(table: Table, *, today: date, zone: tzinfo) -> str:
    """Return the name of the first column with a day up to `today`; empty if all days are later, as in a plan."""
    columns = (one.name for one in table.columns if one.is_temporal)
    return next((name for name in columns if find_newest_day(table.list_values(name), until=today, zone=zone)), "")


def sort_newest_first(table: Table, *, today: date, zone: tzinfo) -> Table:
    """Sort the rows by day: first those up to `today`, the newest first; then later, planned ones, the soonest first;
    then those without a day. Rows that their source has sorted by a number stay as they are."""
    first = next((one.name for one in table.columns if one.is_temporal), "")
    if not (name := find_reached_day_column(table, today=today, zone=zone) or first):
        return table
    values = table.list_values(name)
    times: list[Any] = [make_comparison_key(value, zone) for value in values]
    if not _are_in_order(times) and any(
        _are_in_order(table.list_values(one.name)) for one in table.columns if one.is_numeric
    ):
        return table
    days = [find_day(value, zone) for value in values]
    past = [row for row, day in enumerate(days) if day is not None and day <= today]
    planned = [row for row, day in enumerate(days) if day is not None and day > today]
    unknown = [row for row, day in enumerate(days) if day is None]
    past.sort(key=times.__getitem__, reverse=True)
    planned.sort(key=times.__getitem__)
    return table.replace_rows([table.rows[row] for row in (*past, *planned, *unknown)])


def _are_in_order(values: Iterable[Any]) -> bool:
    """Return whether the known values never fall, or never rise, from row to row, and are not all the same."""
    known = [value for value in values if not is_unknown(value)]
    pairs = list(zip(known, known[1:], strict=False))
    if all(one == other for one, other in pairs):
        return False
    return all(one <= other for one, other in pairs) or all(one >= other for one, other in pairs)


def rank_rows(table: Table, name: str, *, is_descending: bool = True) -> list[int]:
    """Return the positions of all rows, the largest (or smallest) known value first and unknown ones last. Equal values
    keep the source's order. Raises KeyError."""
    position = table.find_position(name)
    is_numeric = table.columns[position].is_numeric
    values = [to_decimal(row[position]) if is_numeric else row[position] for row in table.rows]
    keys = [(row, value) for row, value in enumerate(values) if not is_unknown(value)]
    keys.sort(key=lambda pair: pair[1], reverse=is_descending)  # type: ignore[arg-type,return-value]  # one column, one type
    return [row for row, _key in keys] + [row for row, value in enumerate(values) if is_unknown(value)]


# --- Changes ----------------------------------------------------------------------------------------------------------


class ChangeKind(StrEnum):
    """The ways to state a change."""

    UNKNOWN = "unknown"
    RATIO = "ratio"  # as a percentage of the old value
    POINTS = "points"  # in percentage points, between two percentages
    WORDS = "words"  # by naming both values: from 0, from a negative value, or across 0


@dataclass(frozen=True, slots=True)
class Change:
    """A change from `old` to `new`; either may be unknown. `is_percent`: both are percentages."""

    new: Decimal | None
    old: Decimal | None
    is_percent: bool = False

    @property
    def kind(self) -> ChangeKind:
        if self.new is None or self.old is None:
            return ChangeKind.UNKNOWN
        if self.is_percent:
            return ChangeKind.POINTS
        if self.new == self.old or (self.old > 0 and self.new >= 0):
            return ChangeKind.RATIO
        return ChangeKind.WORDS

    @property
    def difference(self) -> Decimal | None:
        return None if self.new is None or self.old is None else ARITHMETIC.subtract(self.new, self.old)

    @property
    def relative(self) -> Decimal | None:
        """The difference divided by the old value's absolute value; None if it is 0 or a value is unknown."""
        return ARITHMETIC.divide(self.difference, abs(self.old)) if self.difference is not None and self.old else None

    @property
    def ratio(self) -> Decimal | None:
        """The difference as a ratio of the old value; None unless `kind` is RATIO."""
        if self.kind is not ChangeKind.RATIO or self.difference is None or self.old is None:
            return None
        return ARITHMETIC.divide(self.difference, self.old) if self.old else Decimal(0)


# --- Comparison of values ---------------------------------------------------------------------------------------------


def make_comparison_key(value: Value, zone: tzinfo) -> Decimal | str | bool | date | datetime | None:
    """Return the form of a value for comparing and grouping: numbers as decimals, texts folded, moments without a zone
    in `zone`. None for an unknown value."""
    if is_unknown(value):
        return None
    if isinstance(value, str):
        return fold_text(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=zone) if value.tzinfo is None else value
    return value if isinstance(value, bool | date) else to_decimal(value)
