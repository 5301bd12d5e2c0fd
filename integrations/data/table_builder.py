"""Construction of a table from a source's answer: the kind of each column, and its values. Pure.

A column's kind is the administrator's choice, else the kind that nearly all its known values fit; a column without
known values gets the kind that the source states. A few values that do not fit, the misfits, become unknown and are
counted; they do not change the kind, unit or scale of the others. With more of them the column is text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

from integrations.data import Problem, SourceError
from integrations.data.figures import (
    UNITS,
    NumberText,
    clean_text,
    find_day,
    find_month,
    fold_text,
    in_zone,
    is_unknown,
    read_day,
    read_moment,
    read_number,
)
from integrations.data.table import Column, Kind, Misfit, Month, Table, Value

COLUMNS_AT_MOST = 500
NAME_CHARACTERS = 200
# A longer text in one cell is cut visibly.
CELL_CHARACTERS = 20_000
# The limit of all texts of a table together.
CHARACTERS_AT_MOST = 32 * 1024 * 1024
# One value among this many may be a misfit.
ONE_MISFIT_IN = 20
EXAMPLES_AT_MOST = 3
_TOO_LARGE_TO_COMPARE = 10**100  # with a displayed number, because both become floats for comparing

# A choice of the administrator that is not a Kind: percentages given as ratios, 0.125 for 12.5 %.
RATIO = "ratio"
KIND_CHOICES = frozenset({*(kind.value for kind in Kind), RATIO})

_YEAR, _YEAR_NAME = re.compile(r"(?:19|20)\d\d"), re.compile(r"年份|年度|^年$|\byear\b", re.IGNORECASE)
_CODE_NAME = re.compile(
    r"(?:号|号码|编码|代码|条码|邮编|版本|(?:^|[^a-z])(?:id|code|sku|zip|zipcode|phone|mobile|tel|version))$",
    re.IGNORECASE,
)
_PHONE_NAME, _PHONE = re.compile(r"(?:电话|手机)$"), re.compile(r"\+?[\d -]{7,}")
# Days since 1899-12-30, as spreadsheets count them: from 1954 to 2119.
_EXCEL_DAYS = range(20_000, 80_000)
_NO_DAY_FROM = 10**8  # a number from here on is no day: larger than 20261123, a day written as a number
_EPOCH = re.compile(r"\d{10}|\d{13}")  # seconds or milliseconds since 1970

# --- Values of a kind -------------------------------------------------------------------------------------------------

_YES, _NO = frozenset({"true", "yes", "1", "是"}), frozenset({"false", "no", "0", "否"})


class _MisfitError(ValueError):
    """A value that does not fit the kind."""


def simplify_value(value: Any) -> Value:
    """Return a value that a table can hold. Infinities become unknown; nested values and bytes become texts, which are
    trimmed and cut."""
    if value is None or isinstance(value, bool | int | date):
        return value
    if isinstance(value, float | Decimal):
        return None if is_unknown(value) else value
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            value = bytes(value).decode()
        except UnicodeDecodeError:
            value = f"0x{bytes(value)[: CELL_CHARACTERS // 2].hex()}"
    elif isinstance(value, dict | list | tuple):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = clean_text(str(value)).strip()
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


def _as_text(value: Value) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    return None if value is None else str(value)


def _as_boolean(value: Value) -> bool:
    text = fold_text(_as_text(value) or "")
    if text not in _YES | _NO:
        raise _MisfitError
    return text in _YES


def _as_date(value: Value, zone: tzinfo) -> date:
    """Read a day; a number is a spreadsheet's day (46349), or a day written as 20261123."""
    if (
        isinstance(value, int | float | Decimal)
        and not isinstance(value, bool)
        and -_NO_DAY_FROM < value < _NO_DAY_FROM
    ):
        if int(value) in _EXCEL_DAYS:
            return date(1899, 12, 30) + timedelta(days=int(value))
        value = str(int(value)) if value == int(value) else None
    day = find_day(value, zone)
    if day is None:
        raise _MisfitError
    return day


def _as_moment(value: Value, zone: tzinfo) -> datetime:
    """Read a moment; a number, also as text, counts the seconds or milliseconds since 1970."""
    if isinstance(value, str) and _EPOCH.fullmatch(value):
        value = int(value)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        try:
            seconds = float(value)
            return datetime.fromtimestamp(seconds / (1000 if abs(seconds) >= 1e11 else 1), zone)
        except (OverflowError, OSError, ValueError):
            raise _MisfitError from None
    if isinstance(value, datetime):
        return in_zone(value, zone)
    moment = read_moment(value, zone) if isinstance(value, str) else None
    if moment is not None:
        return moment
    day = find_day(value, zone)
    if day is None:
        raise _MisfitError
    return datetime.combine(day, time(), zone)


# --- The kind of a column ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ColumnChoices:
    """The administrator's choices for a card's columns, by name. They take precedence.

    `kinds`: a Kind, or RATIO. `as_of_column`: the column whose newest value is the time of the data; empty if none was
    chosen. `zone`: for values without one. `load_last_columns`: returns the columns of the last answer, which decide
    the kind of a column without known values.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    as_of_column: str = ""
    zone: tzinfo = UTC
    load_last_columns: Callable[[], Sequence[Column]] = tuple


@dataclass(slots=True)
class _Reading:
    """The values of one column while its kind is determined. `known_count`: the number of known values."""

    values: list[Value]
    known_count: int = 0
    unit: str = ""
    decimals: int | None = None
    scale: int = 1
    is_percent: bool = False
    misfits: list[Value] = field(default_factory=list)


def count_allowed_misfits(known_count: int) -> int:
    """Return how many misfits a column may have: one in 20 of its known values, at least one, but less than half."""
    return max(0, min(max(1, known_count // ONE_MISFIT_IN), (known_count - 1) // 2))


def _convert(reading: _Reading, read: Callable[[Value], Value]) -> tuple[list[Value], list[Value]] | None:
    """Read every known value. Return the values and the misfits; None if there are too many misfits."""
    allowed = count_allowed_misfits(reading.known_count)
    read_values: list[Value] = []
    misfits: list[Value] = []
    seen: dict[str, Value] = {}
    for value in reading.values:
        if isinstance(value, str) and value in seen:
            read_values.append(seen[value])
            continue
        converted: Value = None
        if not is_unknown(value):
            try:
                converted = read(value)
            except _MisfitError:
                misfits.append(value)
                if len(misfits) > allowed:
                    return None
                read_values.append(None)
                continue
        read_values.append(converted)
        if isinstance(value, str):
            seen[value] = converted
    return read_values, misfits


def _make_number_reader(
    unit: str, numbers: Mapping[str, NumberText], *, is_chosen: bool, scale: int = 1
) -> Callable[[Value], Value]:
    """Return a reader of numbers. `numbers`: the texts that are numbers. `is_chosen`: the administrator chose a kind of
    number, so codes are numbers, too. `scale`: the factor for numbers without a percent sign."""

    def read(value: Value) -> Value:
        if isinstance(value, bool) and is_chosen:
            return int(value)
        if isinstance(value, bool | date):
            raise _MisfitError
        if isinstance(value, int | float | Decimal):
            return multiply(value, scale)
        number = numbers.get(value or "")
        if number is None or (number.is_code and not is_chosen) or number.unit not in ("", unit):
            raise _MisfitError
        return number.value if number.unit == "%" else multiply(number.value, scale)

    return read


def multiply(value: float | Decimal, scale: int) -> int | float | Decimal:
    """Multiply as decimals: 0.29 times 100 is 29, not 28.999…"""
    if scale == 1:
        return value
    product = Decimal(str(value)) * scale
    return int(product) if product == product.to_integral_value() else float(product)


def _read_numbers(reading: _Reading, *, is_chosen: bool, scale: int = 1) -> Kind | None:
    """Read the column as numbers with one unit. Return PERCENT or NUMBER; None if it holds no numbers."""
    allowed, misfit_count = count_allowed_misfits(reading.known_count), 0
    numbers: dict[str, NumberText] = {}
    texts: list[NumberText] = []
    for value in reading.values:
        if not isinstance(value, str) or is_unknown(value):
            continue
        number = numbers.get(value) or read_number(value)
        if number is not None:
            numbers[value] = number
            texts.append(number)
            continue
        misfit_count += 1
        if misfit_count > allowed:
            return None
    digits_count = sum(isinstance(value, str) and value.isdecimal() for value in reading.values)
    if not is_chosen and 2 * digits_count >= reading.known_count and any(number.is_code for number in texts):
        return None  # a code among plain digits shows that all are codes; a code among amounts is a misfit
    units = Counter(number.unit for number in texts if is_chosen or number.unit in UNITS or not number.unit)
    unit = next((unit for unit, count in units.most_common(2) if unit and 2 * count >= reading.known_count), "")
    unit = "%" if reading.is_percent else unit
    converted = _convert(reading, _make_number_reader(unit, numbers, is_chosen=is_chosen, scale=scale))
    if converted is None:
        return None
    reading.values, misfits = converted
    reading.misfits += misfits
    reading.unit = reading.unit or unit
    if reading.decimals is None and len(texts) == reading.known_count:
        decimals = [number.decimals for number in texts]
        reading.decimals = max((count for count in decimals if count is not None), default=None) if texts else None
    return Kind.PERCENT if reading.is_percent or reading.unit == "%" else Kind.NUMBER


def _read_days(reading: _Reading, zone: tzinfo) -> Kind | None:
    """Read the column as days, or as moments if more than a few have a time."""

    def read(value: Value) -> Value:
        if isinstance(value, str) and (moment := read_moment(value, zone)) is not None:
            return moment
        if isinstance(value, datetime):
            return in_zone(value, zone)
        day = read_day(value) if isinstance(value, str) else find_day(value, zone)  # texts with a time are read above
        if day is None:
            raise _MisfitError
        return day

    converted = _convert(reading, read)
    if converted is None:
        return None
    found, reading.misfits = converted
    moments = sum(isinstance(value, datetime) for value in found)
    if moments > count_allowed_misfits(sum(value is not None for value in found)):
        reading.values = [None if value is None else _as_moment(value, zone) for value in found]
        return Kind.DATETIME
    reading.values = [value.date() if isinstance(value, datetime) else value for value in found]
    return Kind.DATE


def _are_compact_days(name: str, numbers: Sequence[Value]) -> bool:
    """Return whether nearly all numbers are days like 20261123. If all are the same day, the column's name must also
    speak of days."""
    is_named = any(word in name.casefold() for word in ("日期", "日", "date", "day", "dt"))
    allowed, days = count_allowed_misfits(len(numbers)), set()
    for number in numbers:
        day = None
        if isinstance(number, int | float | Decimal) and 0 < number < _NO_DAY_FROM and number == int(number):
            day = read_day(str(int(number)))
        allowed -= day is None
        if allowed < 0:
            return False
        days.add(day)
    return is_named or len(days - {None}) > 1


def _are_labels(name: str, known: Sequence[Value], types: set[Any]) -> bool:
    """Return whether the column's name shows that its digits are labels, not amounts: years (2026, not 2,026), versions
    and texts that identify things (工号, 手机, 邮编, order_id)."""
    if _YEAR_NAME.search(name):
        others = [value for value in known if not _YEAR.fullmatch(str(value))]
        if len(others) <= count_allowed_misfits(len(known)):
            return all(isinstance(value, str) and read_number(value) is None for value in others)
    if types != {str}:
        return False
    is_phone = _PHONE_NAME.search(name) and all(_PHONE.fullmatch(str(value)) for value in known)
    return bool(is_phone or _CODE_NAME.search(name))


def _read_column(name: str, reading: _Reading, choice: str, source_kind: Kind | None, zone: tzinfo) -> Kind:
    """Determine the column's kind, and convert its values to it."""
    values = reading.values
    known = [value for value in values if not is_unknown(value)]
    reading.known_count = len(known)
    types: set[Any] = {type(value) for value in known}
    if choice not in KIND_CHOICES:
        choice = Kind.TEXT if known and _are_labels(name, known, types) else ""
    if choice:
        kind = _read_chosen(reading, choice, zone)
    elif not known:
        kind = Kind.PERCENT if reading.is_percent else source_kind
        reading.values = [None] * len(values) if kind not in (None, Kind.TEXT) else values
    elif bool in types and sum(isinstance(value, bool) for value in known) >= len(known) - count_allowed_misfits(
        len(known)
    ):
        kind = _read_chosen(reading, Kind.BOOLEAN, zone)
    elif types <= {date, Month, datetime}:
        kind = _read_days(reading, zone)
    elif types & {int, float, Decimal} and _are_compact_days(name, known):
        kind = _read_chosen(reading, Kind.DATE, zone)
    elif types <= {int, float, Decimal}:
        kind = _read_numbers(reading, is_chosen=False)
    else:
        kind = _read_days(reading, zone) or _read_numbers(reading, is_chosen=False)
    if kind is None or kind is Kind.TEXT:
        reading.values, reading.unit = [_as_text(value) for value in values], ""
        return Kind.TEXT
    return kind


def _read_chosen(reading: _Reading, choice: str, zone: tzinfo) -> Kind | None:
    """Read the column as the chosen kind; return None if too many values do not fit."""
    if choice in (RATIO, Kind.PERCENT, Kind.NUMBER):
        is_percent = choice != Kind.NUMBER
        scale = 100 if choice == RATIO and not reading.is_percent else 1
        reading.scale = max(reading.scale, scale)
        reading.is_percent = reading.is_percent or is_percent
        reading.unit = "%" if is_percent else reading.unit
        return _read_numbers(reading, is_chosen=True, scale=scale)
    readers: dict[str, Callable[[Value], Value]] = {
        Kind.TEXT: _as_text,
        Kind.BOOLEAN: _as_boolean,
        Kind.DATE: lambda value: _as_date(value, zone),
        Kind.DATETIME: lambda value: _as_moment(value, zone),
    }
    converted = _convert(reading, readers[choice])
    if converted is None:
        return None
    reading.values, reading.misfits = converted
    return Kind(choice)


# --- Values with their displayed texts --------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """A raw number and its displayed text, read as a number."""

    position: int
    raw: int | float | Decimal
    shown: NumberText


def _read_displays(raws: Sequence[Value], displays: Sequence[Any]) -> _Reading:
    """Read raw numbers with their displayed texts, which give unit, decimals and the scale of percentages.

    The scale is the ratio of displayed to raw numbers in most cells; cells with 0 or "-" do not count. A few cells with
    another ratio are misfits; if there are more of them, the displayed numbers become the values.
    """
    raws = [_find_bare_number(raw, text) for raw, text in zip(raws, displays, strict=True)]
    cells = [
        _Cell(position, raw, shown)
        for position, (raw, text) in enumerate(zip(raws, displays, strict=True))
        if isinstance(raw, int | float | Decimal) and not isinstance(raw, bool) and isinstance(text, str)
        if (shown := read_number(text)) is not None
    ]
    reading = _Reading(list(raws))
    counted = [cell for cell in cells if cell.raw] or cells
    units = Counter(cell.shown.unit for cell in counted)
    count, unit = max(((count, unit) for unit, count in units.items()), default=(0, ""))
    if 2 * count < len(counted) or not counted:
        return reading
    same_unit = [cell for cell in cells if cell.shown.unit == unit]
    scaled = [cell for cell in same_unit if cell.raw]
    scales = {scale: sum(_is_rounded(cell, scale) for cell in scaled) for scale in (100, 1)}
    decimals = max((cell.shown.decimals for cell in same_unit if cell.shown.decimals is not None), default=None)
    if unit != "%":
        if 2 * scales[1] >= len(scaled):
            reading.unit, reading.decimals = unit, decimals
        return reading
    reading.unit, reading.is_percent, reading.decimals = "%", True, decimals
    reading.scale = 100 if scales[100] >= scales[1] else 1
    contradicting = {cell.position for cell in same_unit if not _is_rounded(cell, reading.scale)}
    if len(contradicting) > count_allowed_misfits(len(cells)):
        # The raw numbers are of two scales, the displayed ones of one: use these.
        reading.scale = 1
        displayed = {cell.position: cell.shown.value for cell in cells}
        reading.values = [displayed.get(position) for position in range(len(raws))]
        return reading
    reading.misfits = [displays[position] for position in sorted(contradicting)]
    reading.values = [
        multiply(raw, reading.scale) if isinstance(raw, int | float | Decimal) and not isinstance(raw, bool) else raw
        for raw in raws
    ]
    for position in contradicting:
        reading.values[position] = None
    return reading


def _find_bare_number(raw: Value, text: Any) -> Value:
    """Return the number in a raw text that is displayed with a unit ("0.125" as "12.5%"); else the raw value."""
    if not isinstance(raw, str) or not isinstance(text, str) or not raw.lstrip("+-.")[:1].isdecimal():
        return raw
    number, shown = read_number(raw), read_number(text)
    is_bare = number is not None and not number.unit and not number.is_code
    return number.value if is_bare and number is not None and shown is not None and shown.unit else raw


def _is_rounded(cell: _Cell, scale: int) -> bool:
    """Return whether the shown number is the raw one times `scale`, rounded; within 6 % if its decimals are unknown."""
    raw, shown = cell.raw, cell.shown
    if not -_TOO_LARGE_TO_COMPARE < raw < _TOO_LARGE_TO_COMPARE:
        return False
    tolerance = 0.51 * 10.0 ** -(shown.decimals or 0) if shown.decimals is not None else 0.06 * abs(float(shown.value))
    return abs(float(shown.value) - float(raw) * scale) <= tolerance


# --- A whole table ----------------------------------------------------------------------------------------------------


def build_table(
    names: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    fetched_at: datetime,
    source_as_of: datetime | None = None,
    is_cut: bool = False,
    choices: ColumnChoices = ColumnChoices(),
    displays: Sequence[Sequence[Any]] = (),
    source_kinds: Sequence[Kind | None] = (),
) -> Table:
    """Build a table from a source's answer. Raises SourceError.

    `source_as_of`: the time of the data, according to the source. `displays`: for each row the displayed texts of its
    values. `source_kinds`: the kind of each column, according to the source; None if it states none.
    """
    if not names:
        raise SourceError(Problem.NO_TABLE, what="no-columns")
    if len(names) > COLUMNS_AT_MOST:
        raise SourceError(Problem.NO_TABLE, what="columns")
    unique, plain = make_names_unique(names), [[simplify_value(value) for value in row] for row in rows]
    if any(len(row) != len(unique) for row in plain):
        raise SourceError(Problem.NO_TABLE, what="uneven")
    if sum(len(value) for row in plain for value in row if isinstance(value, str)) > CHARACTERS_AT_MOST:
        raise SourceError(Problem.TOO_BIG, megabytes=CHARACTERS_AT_MOST // 2**20)
    columns: list[Column] = []
    contents: list[list[Value]] = []
    misfits: list[Misfit] = []
    last_columns: dict[str, Column] | None = None
    for position, name in enumerate(unique):
        raws = [row[position] for row in plain]
        reading = _read_displays(raws, [row[position] for row in displays]) if displays else _Reading(raws)
        source_kind = source_kinds[position] if position < len(source_kinds) else None
        kind = _read_column(name, reading, choices.kinds.get(name, ""), source_kind, choices.zone)
        unit = choices.units.get(name, reading.unit)
        if unit == "%" and kind is Kind.NUMBER:
            kind = Kind.PERCENT
        source_name = "" if str(names[position]) == name else str(names[position])[:NAME_CHARACTERS]
        column = Column(name, kind, unit, reading.decimals, reading.scale, source_name)
        if kind is Kind.TEXT and not reading.known_count and choices.kinds.get(name) not in KIND_CHOICES:
            if last_columns is None:
                last_columns = {column.name: column for column in choices.load_last_columns()}
            column = last_columns.get(name, column)
            column = replace(column, unit=choices.units.get(name, column.unit))
            reading.values = [None] * len(plain)
        columns.append(column)
        contents.append(reading.values)
        if reading.misfits:
            examples = tuple(dict.fromkeys(str(value)[:100] for value in reading.misfits))[:EXAMPLES_AT_MOST]
            misfits.append(Misfit(name, len(reading.misfits), examples))
    newest = _find_newest_moment(columns, contents, choices, fetched_at, has_source_time=source_as_of is not None)
    as_of = min(fetched_at, newest or source_as_of or fetched_at)
    is_fetch_time = newest is None and source_as_of is None
    return Table(tuple(columns), tuple(zip(*contents, strict=True)), as_of, is_cut, is_fetch_time, tuple(misfits))


def _find_newest_moment(
    columns: Sequence[Column],
    contents: Sequence[Sequence[Value]],
    choices: ColumnChoices,
    fetched_at: datetime,
    *,
    has_source_time: bool,
) -> datetime | None:
    """Return the newest moment of the chosen column that is not in the future. If no column is chosen and the source
    states no time, the only column of dates or times is used. A day or month stands for its end: yesterday's figures
    are as of 0:00 today. Raises SourceError if the chosen column is missing or holds no dates or times.
    """
    position = next((index for index, column in enumerate(columns) if column.name == choices.as_of_column), None)
    if choices.as_of_column and position is None:
        raise SourceError(Problem.NO_TABLE, what="no-time-column", column=choices.as_of_column)
    if position is None:
        temporal = [index for index, column in enumerate(columns) if column.is_temporal]
        if has_source_time or len(temporal) != 1:
            return None
        position = temporal[0]
    values = [value for value in contents[position] if value is not None]
    if values and not columns[position].is_temporal:
        raise SourceError(Problem.NO_TABLE, what="not-datetime", column=choices.as_of_column)
    today = fetched_at.astimezone(choices.zone).date()
    ends = []
    for value in values:
        if isinstance(value, datetime):
            ends += [value] if value <= fetched_at else []
        elif isinstance(value, date) and value <= today:
            last = find_month(value).end if isinstance(value, Month) else value
            ends.append(datetime.combine(last, time(), choices.zone) + timedelta(days=1))
    return max(ends, default=None)


def make_names_unique(names: Sequence[Any]) -> list[str]:
    """Return each name as one line; an empty one becomes its number, a repeated one gets " (2)"."""
    unique: list[str] = []
    used: set[str] = set()
    for number, given in enumerate(names, 1):
        name = " ".join(clean_text("" if given is None else str(given)).split())[:NAME_CHARACTERS] or f"#{number}"
        again, candidate = 1, name
        while candidate in used:
            again += 1
            candidate = f"{name} ({again})"
        used.add(candidate)
        unique.append(candidate)
    return unique
