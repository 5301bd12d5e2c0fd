"""Writes tables as xlsx and csv. No cell is a formula; what did not fit is stated in the file. Pure."""

from __future__ import annotations

import csv
import io
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum

from django.utils import timezone
from django.utils.translation import gettext as _
from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from integrations.clients.wecom.messages.limits import in_reading_order
from integrations.data.table import Column, Table, Value

# A spreadsheet's own limits, one row for the head and one for what is left out.
ROWS_AT_MOST = 1_048_576 - 2
COLUMNS_AT_MOST = 16_384
# Digits of a number that a spreadsheet keeps; longer ones, as of an order, are text.
DIGITS = 15
SHEET_NAME_CHARACTERS = 31
FILE_NAME_CHARACTERS = 60
# WeCom takes files of up to 20 MB.
FILE_BYTES = 20 * 1024 * 1024
# Of all sheets together. Usual data fills 20 MB with about as many.
CELLS_AT_MOST = 2_500_000
CELL_CHARACTERS = 32_767

_WIDTHS = (8, 60)
# So many rows decide how wide a column is.
_MEASURED = 200
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NOT_IN_SHEET_NAMES = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_NOT_IN_CELLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NOT_IN_FILE_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]')


# What a spreadsheet holds.
_Plain = str | float | int | bool | date | None


@dataclass(frozen=True, slots=True)
class Part:
    """One table of a file. `row_count`: of the whole, of which `table` may be the beginning."""

    title: str
    table: Table
    row_count: int


def parts(tables: Sequence[tuple[str, Table]]) -> list[Part]:
    """As many rows of each (title, table) as a file has cells for: each table keeps as many as the longest may have."""
    longest = min(ROWS_AT_MOST, max((len(table.rows) for _title, table in tables), default=0))

    def cells(rows: int) -> int:
        return sum(min(rows, len(table.rows)) * min(len(table.columns), COLUMNS_AT_MOST) for _title, table in tables)

    rows = bisect_right(range(longest + 1), CELLS_AT_MOST, key=cells) - 1
    return [Part(title, table.with_rows(table.rows[:rows]), len(table.rows)) for title, table in tables]


def xlsx(found: Sequence[Part]) -> bytes:
    """A workbook with a sheet for each part: typed cells, a frozen head, fitting widths; at most 20 MB."""
    return _fitting(lambda rows: _workbook(found, rows), max((len(part.table.rows) for part in found), default=0))


def csv_text(part: Part) -> bytes:
    """Comma-separated values in UTF-8 with a mark at its beginning, as Excel wants it; at most 20 MB."""
    return _fitting(lambda rows: _separated(part, rows), len(part.table.rows))


def file_name(title: str, moment: datetime, extension: str) -> str:
    """What the recipient sees: the title without what no file system takes, and the day."""
    tidy = " ".join(_NOT_IN_FILE_NAMES.sub(" ", title).split()).strip(". ")[:FILE_NAME_CHARACTERS].strip()
    return f"{tidy or _('report')} {timezone.localtime(moment):%Y-%m-%d}.{extension}"


def _fitting(make: Callable[[int], bytes], row_count: int) -> bytes:
    """The file with as many rows as 20 MB have room for."""
    rows = row_count
    while True:
        made = make(rows)
        if len(made) <= FILE_BYTES or rows == 0:
            return made
        rows = min(rows - 1, int(rows * FILE_BYTES / len(made) * 0.95))


class _Style(Enum):
    """How a cell looks: the properties of its format in the file."""

    PLAIN = {"num_format": "General"}
    HEAD = {"bold": True, "bg_color": "#E8EEF5"}
    HEAD_OF_NUMBERS = {"bold": True, "bg_color": "#E8EEF5", "align": "right"}
    # Text that begins as a formula does stays text when somebody edits it.
    QUOTED = {"quote_prefix": True}
    DAY = {"num_format": "yyyy-mm-dd"}
    MINUTE = {"num_format": "yyyy-mm-dd hh:mm"}
    SECOND = {"num_format": "yyyy-mm-dd hh:mm:ss"}
    WHOLE = {"num_format": "#,##0"}
    FRACTION = {"num_format": "#,##0.00##"}


def _workbook(found: Sequence[Part], row_count: int) -> bytes:
    output = io.BytesIO()
    # Rows go to a temporary file as they come. A value's type is decided here, never guessed from its text.
    with Workbook(output, {"constant_memory": True}) as book:
        formats = {style: book.add_format(style.value) for style in _Style}
        used: set[str] = set()
        for part in found:
            _write_sheet(book.add_worksheet(_sheet_name(part.title, used)), part, row_count, formats)
    return output.getvalue()


def _write_sheet(sheet: Worksheet, part: Part, row_count: int, formats: dict[_Style, Format]) -> None:
    """The head, the values, and what is left out."""
    columns = part.table.columns[:COLUMNS_AT_MOST]
    rows = part.table.rows[:row_count]
    for position, width in enumerate(_column_widths(columns, rows)):
        sheet.set_column(position, position, width)
    sheet.freeze_panes(1, 0)
    if rows and columns:
        sheet.autofilter(0, 0, len(rows), len(columns) - 1)
    for position, column in enumerate(columns):
        _write_text(sheet, 0, position, _head(column), formats[_head_style(column)])
    are_numbers = [column.is_numeric for column in columns]
    for number, row in enumerate(rows, start=1):
        for position, (value, is_number) in enumerate(zip(row, are_numbers, strict=False)):
            _write(sheet, number, position, _plain(value), is_number, formats)
    left_out = _left_out(part, len(rows))
    if left_out:
        _write_text(sheet, len(rows) + 1, 0, left_out, formats[_Style.PLAIN])


def _write(
    sheet: Worksheet, row: int, column: int, plain: _Plain, is_number: bool, formats: dict[_Style, Format]
) -> None:
    match plain:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, plain)
        case str():
            style = _Style.QUOTED if plain.startswith(_FORMULA_STARTS) else _Style.PLAIN
            _write_text(sheet, row, column, plain, formats[style])
        case date():
            sheet.write_datetime(row, column, plain, formats[_date_style(plain)])
        case _:
            sheet.write_number(row, column, plain, formats[_number_style(plain) if is_number else _Style.PLAIN])


def _write_text(sheet: Worksheet, row: int, column: int, text: str, style: Format) -> None:
    """Text is text whatever it begins with, without the letters that the format cannot hold."""
    sheet.write_string(row, column, _NOT_IN_CELLS.sub("", text)[:CELL_CHARACTERS], style)


def _head_style(column: Column) -> _Style:
    return _Style.HEAD_OF_NUMBERS if column.is_numeric else _Style.HEAD


def _date_style(value: date) -> _Style:
    if not isinstance(value, datetime):
        return _Style.DAY
    return _Style.SECOND if value.second else _Style.MINUTE


def _number_style(value: float) -> _Style:
    return _Style.WHOLE if value == int(value) else _Style.FRACTION


def _sheet_name(title: str, used: set[str]) -> str:
    """Unique whatever its letters' case, as spreadsheets compare them."""
    base = " ".join(_NOT_IN_SHEET_NAMES.sub(" ", in_reading_order(title)).split()).strip("'") or _("data")
    name, number = base[:SHEET_NAME_CHARACTERS], 1
    while name.lower() in used or name.lower() == "history":
        number += 1
        name = f"{base[: SHEET_NAME_CHARACTERS - 4]} {number}"
    used.add(name.lower())
    return name


def _head(column: Column) -> str:
    name = " ".join(in_reading_order(column.name).split())
    return f"{name} ({column.unit})" if column.unit else name


def _plain(value: Value) -> _Plain:
    """As a spreadsheet can hold it. A number that is none is empty; one with too many digits is text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, datetime):
        local = timezone.localtime(value) if timezone.is_aware(value) else value
        # The calendar of spreadsheets begins in 1900.
        return local.replace(tzinfo=None) if local.year > 1900 else f"{local.replace(tzinfo=None)}"
    if isinstance(value, date):
        return value if value.year > 1900 else value.isoformat()
    if isinstance(value, str):
        return in_reading_order(value)
    return _number(value)


def _number(value: float | Decimal) -> float | int | str | None:
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        digits = len(value.normalize().as_tuple().digits)
        if digits > DIGITS or value.adjusted() >= DIGITS:
            return str(value)
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, int):
        return value if abs(value) < 10**DIGITS else str(value)
    return value if math.isfinite(value) else None


def _column_widths(columns: Sequence[Column], rows: Sequence[tuple[Value, ...]]) -> Iterator[int]:
    for position, column in enumerate(columns):
        texts: Iterable[str] = (_shown(row[position]) for row in rows[:_MEASURED])
        longest = max([_width(_head(column)) + 3, *map(_width, texts)])
        yield max(_WIDTHS[0], min(_WIDTHS[1], longest + 2))


def _shown(value: Value) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        plain = _number(value)
        return f"{plain:,.2f}" if isinstance(plain, int | float) else str(plain or "")
    return "" if value is None else str(value)


def _width(text: str) -> int:
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text[: _WIDTHS[1]])


def _left_out(part: Part, row_count: int) -> str:
    if row_count < part.row_count:
        sentence = _(
            "Only the first %(count)d of %(total)d rows have room in this file. Cards with fewer columns or rows, or "
            "fewer cards in the report, leave room for more."
        )
        return sentence % {"count": row_count, "total": part.row_count}
    return _("The data was longer than what is fetched at most.") if part.table.is_cut else ""


def _separated(part: Part, row_count: int) -> bytes:
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow([_guarded(_head(column)) for column in part.table.columns])
    shown = part.table.rows[:row_count]
    for row in shown:
        writer.writerow([_guarded(_field(value)) if isinstance(value, str) else _field(value) for value in row])
    left_out = _left_out(part, len(shown))
    if left_out:
        writer.writerow([_guarded(left_out)])
    return b"\xef\xbb\xbf" + output.getvalue().encode("utf-8", "replace")


def _guarded(text: str) -> str:
    """A spreadsheet takes what begins so for a formula; behind an apostrophe it is text (OWASP: CSV injection)."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) or text.startswith(_FORMULA_STARTS) else text


def _field(value: Value) -> str:
    plain = value if isinstance(value, Decimal) and value.is_finite() else _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, datetime):
        return f"{plain:%Y-%m-%d %H:%M:%S}"
    if isinstance(plain, bool):
        return "TRUE" if plain else "FALSE"
    return f"{plain:f}" if isinstance(plain, Decimal) else str(plain).replace("\x00", "")
