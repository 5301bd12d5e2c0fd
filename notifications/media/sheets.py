"""Tables as files: xlsx and csv. Nothing in a cell is ever a formula; what had no room is said in the file. Pure."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter

from integrations.sources.table import Column, Kind, Table, Value

# A spreadsheet's own limits, one row for the head and one for what is left out.
ROWS_AT_MOST = 1_048_576 - 2
CELL_CHARACTERS = 32_767
COLUMNS_AT_MOST = 16_384
# Digits of a number that a spreadsheet keeps; longer ones, as of an order, are text.
DIGITS = 15
SHEET_NAME_CHARACTERS = 31
FILE_NAME_CHARACTERS = 60
# WeCom takes files of up to 20 MB.
FILE_BYTES = 20 * 1024 * 1024

_WIDTHS = (8, 60)
# So many rows decide how wide a column is.
_MEASURED = 200
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NOT_IN_SHEET_NAMES = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_NOT_IN_FILE_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_HEAD = Font(bold=True)
_HEAD_FILL = PatternFill("solid", start_color="FFE8EEF5")


def xlsx(tables: Sequence[tuple[str, Table]]) -> bytes:
    """A workbook with a sheet for each (title, table): typed cells, a frozen head, fitting widths; at most 20 MB."""
    return _fitting(lambda rows: _workbook(tables, rows), max((len(table.rows) for _t, table in tables), default=0))


def csv_text(table: Table) -> bytes:
    """Comma-separated values in UTF-8 with a mark at its beginning, as Excel wants it; at most 20 MB."""
    return _fitting(lambda rows: _separated(table, rows), len(table.rows))


def file_name(title: str, moment: datetime, extension: str) -> str:
    """What the recipient sees: the title without what no file system takes, and the day."""
    tidy = " ".join(_NOT_IN_FILE_NAMES.sub(" ", title).split()).strip(". ")[:FILE_NAME_CHARACTERS].strip()
    return f"{tidy or _('report')} {timezone.localtime(moment):%Y-%m-%d}.{extension}"


def _fitting(make: Callable[[int], bytes], row_count: int) -> bytes:
    """The file with as many rows as 20 MB have room for."""
    rows = min(row_count, ROWS_AT_MOST)
    while True:
        made = make(rows)
        if len(made) <= FILE_BYTES or rows == 0:
            return made
        rows = min(rows - 1, int(rows * FILE_BYTES / len(made) * 0.95))


def _workbook(tables: Sequence[tuple[str, Table]], row_count: int) -> bytes:
    book = Workbook(write_only=True)
    taken: set[str] = set()
    for title, table in tables:
        sheet = book.create_sheet(_sheet_name(title, taken))
        # In this order: a sheet that is written row by row takes both before its first row only.
        sheet.freeze_panes = "A2"
        columns = table.columns[:COLUMNS_AT_MOST]
        shown = table.rows[:row_count]
        for position, width in enumerate(_column_widths(columns, shown), start=1):
            sheet.column_dimensions[get_column_letter(position)].width = width
        sheet.append([_head_cell(sheet, column) for column in columns])
        for row in shown:
            sheet.append([_cell(sheet, value, column.kind) for value, column in zip(row, columns, strict=False)])
        left_out = _left_out(table, len(shown))
        if left_out:
            sheet.append([_text_cell(sheet, left_out)])
        if shown and columns:
            sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{len(shown) + 1}"
    output = io.BytesIO()
    book.save(output)
    return output.getvalue()


def _sheet_name(title: str, taken: set[str]) -> str:
    """Unique whatever its letters' case, as spreadsheets compare them."""
    base = " ".join(_NOT_IN_SHEET_NAMES.sub(" ", title).split()).strip("'") or _("data")
    name, number = base[:SHEET_NAME_CHARACTERS], 1
    while name.lower() in taken or name.lower() == "history":
        number += 1
        name = f"{base[: SHEET_NAME_CHARACTERS - 4]} {number}"
    taken.add(name.lower())
    return name


def _head(column: Column) -> str:
    name = " ".join(column.name.split())
    return f"{name} ({column.unit})" if column.unit else name


def _head_cell(sheet: Any, column: Column) -> Cell:
    cell = _text_cell(sheet, _head(column))
    cell.font, cell.fill = _HEAD, _HEAD_FILL
    if column.kind == Kind.NUMBER:
        cell.alignment = Alignment(horizontal="right")
    return cell


def _cell(sheet: Any, value: Value, kind: Kind) -> Any:
    plain = _plain(value)
    if isinstance(plain, str):
        return _text_cell(sheet, plain)
    if plain is None or isinstance(plain, bool):
        return plain
    cell: Cell = WriteOnlyCell(sheet)
    cell.value = plain
    if isinstance(plain, datetime):
        cell.number_format = "yyyy-mm-dd hh:mm:ss" if plain.second else "yyyy-mm-dd hh:mm"
    elif isinstance(plain, date):
        cell.number_format = "yyyy-mm-dd"
    elif kind == Kind.NUMBER:
        cell.number_format = "#,##0" if plain == int(plain) else "#,##0.00##"
    return cell


def _text_cell(sheet: Any, text: str) -> Cell:
    """Text whatever it begins with: `=1+1` is three characters and a digit to a spreadsheet, also once it is edited."""
    shown = ILLEGAL_CHARACTERS_RE.sub("", text)[:CELL_CHARACTERS]
    cell: Cell = WriteOnlyCell(sheet)
    cell.value = shown
    cell.data_type = "s"
    if shown.startswith(_FORMULA_STARTS):
        cell.quotePrefix = True
    return cell


def _plain(value: Value) -> str | float | int | bool | date | None:
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
        return value
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


def _left_out(table: Table, row_count: int) -> str:
    if row_count < len(table.rows):
        return _("Only the first %(count)d of %(total)d rows have room in this file.") % {
            "count": row_count,
            "total": len(table.rows),
        }
    return _("The data was longer than what is fetched at most.") if table.is_cut else ""


def _separated(table: Table, row_count: int) -> bytes:
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow([_guarded(_head(column)) for column in table.columns])
    shown = table.rows[:row_count]
    for row in shown:
        writer.writerow([_guarded(_field(value)) if isinstance(value, str) else _field(value) for value in row])
    left_out = _left_out(table, len(shown))
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
