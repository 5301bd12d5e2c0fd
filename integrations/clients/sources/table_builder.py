"""Builds a Table from a source's rows: unique column names, one type per column. Pure.

A kind is taken from the values only where every one of them says so; what looks like a number but came as text stays
text ("007" is no 7), unless the card says that the column is one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from integrations.clients.sources.errors import Problem, SourceError
from integrations.clients.sources.table import Column, Kind, Table, Value

COLUMNS_AT_MOST = 500
NAME_CHARACTERS = 200
# A longer text in one cell is cut there, visibly.
CELL_CHARACTERS = 20_000
# Of all texts of a table together.
CHARACTERS_AT_MOST = 32 * 1024 * 1024

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?")
# As people and programs write one, with separators of thousands or without.
_NUMBER = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?([eE][+-]?\d{1,3})?")
_YES, _NO = frozenset({"true", "yes", "1", "是"}), frozenset({"false", "no", "0", "否"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the card says of its columns, by their names, before what the values say.

    `as_of_column`: whose latest value says of when the data is; empty where none does. `zone`: of its values that have
    none.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    as_of_column: str = ""
    zone: tzinfo = UTC


def table_of(
    names: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    as_of: datetime,
    is_cut: bool = False,
    wishes: Wishes = Wishes(),
    units: Sequence[str] = (),
) -> Table:
    """`units`: what the source says of each column. `as_of`: when it was fetched, or what the source says; the card's
    column goes before. Raises SourceError where this is no table."""
    if not names:
        raise SourceError(Problem.NO_TABLE, what="no-columns")
    if len(names) > COLUMNS_AT_MOST:
        raise SourceError(Problem.NO_TABLE, what="columns")
    named, plain = unique_names(names), [[plain_value(value) for value in row] for row in rows]
    if any(len(row) != len(named) for row in plain):
        raise SourceError(Problem.NO_TABLE, what="uneven")
    if sum(len(value) for row in plain for value in row if isinstance(value, str)) > CHARACTERS_AT_MOST:
        raise SourceError(Problem.TOO_BIG, megabytes=CHARACTERS_AT_MOST // 2**20)
    columns, contents = [], []
    for position, name in enumerate(named):
        kind, values = _column(name, [row[position] for row in plain], wishes.kinds.get(name, ""))
        said = units[position] if position < len(units) else ""
        columns.append(Column(name, kind, wishes.units.get(name, said)))
        contents.append(values)
    if wishes.as_of_column:
        as_of = min(as_of, _latest(columns, contents, wishes) or as_of)
    return Table(tuple(columns), tuple(zip(*contents, strict=True)), as_of, is_cut)


def _latest(columns: Sequence[Column], contents: Sequence[Sequence[Value]], wishes: Wishes) -> datetime | None:
    """The latest moment in the column that says of when the data is; None where it is empty. A day stands for its end:
    figures of yesterday are as of this midnight. Raises SourceError for a column that is not there, or holds no times.
    """
    name = wishes.as_of_column
    position = next((number for number, column in enumerate(columns) if column.name == name), None)
    if position is None:
        raise SourceError(Problem.NO_TABLE, what="no-time-column", column=name)
    values = [value for value in contents[position] if value is not None]
    if values and columns[position].kind not in {Kind.DATE, Kind.DATETIME}:
        raise SourceError(Problem.NO_TABLE, what="not-datetime", column=name)
    try:
        return max((_end_of(value, wishes.zone) for value in values if isinstance(value, date)), default=None)
    except OverflowError:  # at the end of the calendar
        return None


def _end_of(value: date, zone: tzinfo) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=zone) if value.tzinfo is None else value
    return datetime(value.year, value.month, value.day, tzinfo=zone) + timedelta(days=1)


def unique_names(names: Sequence[Any]) -> list[str]:
    """Each as one line of text; an empty one gets its number, a second one of the same name " (2)"."""
    found: list[str] = []
    used: set[str] = set()
    for number, given in enumerate(names, 1):
        name = " ".join(clean_text("" if given is None else str(given)).split())[:NAME_CHARACTERS] or f"#{number}"
        again, unique = 1, name
        while unique in used:
            again += 1
            unique = f"{name} ({again})"
        used.add(unique)
        found.append(unique)
    return found


def clean_text(text: str) -> str:
    """Without what no database and no XML takes: half characters and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "") if not text.isascii() else text.replace("\0", "")


def plain_value(value: Any) -> Value:
    """One value as a Table can hold it: no infinity, nothing nested, no bytes."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, date):
        return value
    return _clipped(clean_text(_as_text(value)))


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        found = bytes(value)
        try:
            return found.decode()
        except UnicodeDecodeError:
            return f"0x{found[: CELL_CHARACTERS // 2].hex()}"
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _clipped(text: str) -> str:
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


def _column(name: str, values: list[Value], wished: str) -> tuple[Kind, list[Value]]:
    present = [value for value in values if value is not None]
    kind = Kind(wished) if wished in set(Kind) else kind_of(present)
    try:
        return kind, [None if value is None else _as_kind(value, kind) for value in values]
    except (ValueError, InvalidOperation):
        # Without the value: the sentence is shown where the rows may not be.
        raise SourceError(Problem.NO_TABLE, what=f"not-{kind.value}", column=name) from None


def kind_of(values: Sequence[Value]) -> Kind:
    """The kind that every one of the values has, none of them None; text where they differ or there is none."""
    if not values:
        return Kind.TEXT
    types = {type(value) for value in values}
    if types == {bool}:
        return Kind.BOOLEAN
    if types <= {int, float, Decimal}:
        return Kind.NUMBER
    if types == {str}:
        return _kind_of_texts([value for value in values if isinstance(value, str)])
    if types == {date}:
        return Kind.DATE
    return Kind.DATETIME if types <= {date, datetime} else Kind.TEXT


def _kind_of_texts(texts: Sequence[str]) -> Kind:
    if all(_DATE.fullmatch(text) and _date_of(text) for text in texts):
        return Kind.DATE
    if all((_DATETIME.fullmatch(text) or _DATE.fullmatch(text)) and _datetime_of(text) for text in texts):
        return Kind.DATETIME
    return Kind.TEXT


def _date_of(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _datetime_of(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None


def _as_kind(value: Value, kind: Kind) -> Value:
    """Raises ValueError where `value` cannot be one."""
    if kind is Kind.TEXT:
        return value if isinstance(value, str) else _written(value)
    if kind is Kind.NUMBER:
        return number_from(value)
    if kind is Kind.BOOLEAN:
        return _boolean_from(value)
    return _moment_from(value, kind)


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def number_from(value: Value) -> int | float | Decimal | None:
    """A number, or a text that is one; an empty text is none. Raises ValueError."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | Decimal):
        return value
    text = value.strip() if isinstance(value, str) else "?"
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or len(text) > 100:
        raise ValueError("not a number")
    bare = text.replace(",", "")
    return int(bare) if bare.lstrip("+-").isdecimal() else Decimal(bare)


def _boolean_from(value: Value) -> bool | None:
    text = _written(value).strip().lower()
    if not text:
        return None
    if text not in _YES | _NO:
        raise ValueError("neither yes nor no")
    return text in _YES


def _moment_from(value: Value, kind: Kind) -> date | datetime | None:
    if isinstance(value, str):
        if not value.strip():
            return None
        moment = _datetime_of(value.strip())
        if moment is None:
            raise ValueError("no date")
        return moment.date() if kind is Kind.DATE else moment
    if isinstance(value, datetime):
        return value.date() if kind is Kind.DATE else value
    if isinstance(value, date):
        return value if kind is Kind.DATE else datetime(value.year, value.month, value.day)  # noqa: DTZ001  # no zone
    raise ValueError("no date")
