"""Writes tables as xlsx and csv. No cell is a formula; a last row says how many rows did not fit."""

from __future__ import annotations

import csv
import io
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.translation import gettext as _

from integrations.clients.late import LazyModule
from integrations.clients.wecom.builders import drop_direction_marks
from integrations.data.figures import in_zone, to_decimal
from integrations.data.table import USUAL_DECIMALS, Column, Kind, Month, Table, Value
from notifications.charts.drawing import find_head_unit, write_cell

if TYPE_CHECKING:
    import openpyxl
    import openpyxl.styles
    import openpyxl.utils
    from openpyxl.cell import Cell
else:
    openpyxl = LazyModule("openpyxl")

# The limits of xlsx, less one row for the head and one for the note on rows left out.
ROWS_AT_MOST = 1_048_576 - 2
COLUMNS_AT_MOST = 16_384
# Digits of a number that a spreadsheet keeps. Longer numbers, such as order numbers, become text.
DIGITS = 15
SHEET_NAME_CHARACTERS = 31
FILE_NAME_CHARACTERS = 60
# WeCom takes files of up to 20 MB.
FILE_BYTES = 20 * 1024 * 1024
# Cells of all sheets together. Usual data fills 20 MB with about this many.
CELLS_AT_MOST = 2_500_000
CELL_CHARACTERS = 32_767

_LEAST_WIDTH, _GREATEST_WIDTH = 8, 60
# A column is as wide as its longest cell in this many first rows.
_MEASURED_ROWS = 200
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NOT_IN_SHEET_NAMES = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_NOT_IN_CELLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NOT_IN_FILE_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]')

_Plain = str | float | int | bool | date | None


@dataclass(frozen=True, slots=True)
class Part:
    """A table of a file. `row_count`: number of rows that `table` had before it was cut."""

    title: str
    table: Table
    row_count: int


def cut_parts(tables: Sequence[tuple[str, Table]]) -> list[Part]:
    """Cut the (title, table) pairs to CELLS_AT_MOST cells together, all to the same number of rows."""
    longest = min(ROWS_AT_MOST, max((len(table.rows) for _title, table in tables), default=0))

    def count_cells(rows: int) -> int:
        return sum(min(rows, len(table.rows)) * min(len(table.columns), COLUMNS_AT_MOST) for _title, table in tables)

    rows = bisect_right(range(longest + 1), CELLS_AT_MOST, key=count_cells) - 1
    return [Part(title, table.replace_rows(table.rows[:rows]), len(table.rows)) for title, table in tables]


def write_file(kind: str, parts: Sequence[Part]) -> bytes:
    """Write an xlsx with a sheet for each part, or a csv of the first, with as many rows as fit into 20 MB."""
    row_count = max((len(part.table.rows) for part in parts), default=0)
    while True:
        made = _write_workbook(parts, row_count) if kind == "xlsx" else _write_csv_rows(parts[0], row_count)
        if len(made) <= FILE_BYTES or row_count == 0:
            return made
        row_count = min(row_count - 1, int(row_count * FILE_BYTES / len(made) * 0.95))


def write_file_name(title: str, moment: datetime, extension: str) -> str:
    """Make a file name of the title, without characters that file systems refuse, and the day."""
    tidy = " ".join(_NOT_IN_FILE_NAMES.sub(" ", title).split()).strip(". ")[:FILE_NAME_CHARACTERS].strip()
    return f"{tidy or _('report')} {timezone.localtime(moment):%Y-%m-%d}.{extension}"


def _write_workbook(parts: Sequence[Part], row_count: int) -> bytes:
    """Write an xlsx with typed cells, frozen heads and fitting widths."""
    # Rows go straight to a temporary file. A cell's type is decided here, never guessed from its text.
    book = openpyxl.Workbook(write_only=True)
    # Excel compares names of sheets regardless of case, and forbids the name "history".
    used = {"history"}
    for part in parts:
        base = " ".join(_NOT_IN_SHEET_NAMES.sub(" ", drop_direction_marks(part.title)).split()).strip("'") or _("data")
        name, number = base[:SHEET_NAME_CHARACTERS], 1
        while name.lower() in used:
            number += 1
            name = f"{base[: SHEET_NAME_CHARACTERS - 4]} {number}"
        used.add(name.lower())
        sheet = book.create_sheet(name)
        columns, rows = part.table.columns[:COLUMNS_AT_MOST], part.table.rows[:row_count]
        heads, number_formats = [], []
        for position, column in enumerate(columns):
            texts = (write_cell(row[position], column) for row in rows[:_MEASURED_ROWS])
            longest = max([_measure_width(_write_head(column)) + 3, *map(_measure_width, texts)])
            letter = openpyxl.utils.get_column_letter(position + 1)
            sheet.column_dimensions[letter].width = max(_LEAST_WIDTH, min(_GREATEST_WIDTH, longest + 2))
            head = _make_text_cell(sheet, _write_head(column))
            head.font = openpyxl.styles.Font(bold=True)
            head.fill = openpyxl.styles.PatternFill("solid", fgColor="E8EEF5")
            if column.is_numeric:
                head.alignment = openpyxl.styles.Alignment(horizontal="right")
            heads.append(head)
            # The formats for whole numbers and for other numbers.
            sign = "%" if column.kind is Kind.PERCENT else ""
            decimals = (0, USUAL_DECIMALS) if column.decimals is None else (column.decimals, column.decimals)
            number_formats.append([f"#,##0.{'0' * count}".rstrip(".") + sign for count in decimals])
        sheet.freeze_panes = "A2"
        if rows and columns:
            sheet.auto_filter.ref = f"A1:{openpyxl.utils.get_column_letter(len(columns))}{len(rows) + 1}"
        sheet.append(heads)
        for row in rows:
            sheet.append([_make_cell(sheet, *cell) for cell in zip(row, columns, number_formats, strict=False)])
        if left_out := _explain_left_out(part, len(rows)):
            sheet.append([_make_text_cell(sheet, left_out)])
    output = io.BytesIO()
    book.save(output)
    return output.getvalue()


def _make_cell(sheet: Any, value: Value, column: Column, number_formats: Sequence[str]) -> Cell | bool | None:
    """Make a typed cell. `number_formats`: for whole numbers, and for other numbers."""
    plain = _to_plain(value)
    if plain is None or isinstance(plain, bool):
        return plain
    if isinstance(plain, str):
        return _make_text_cell(sheet, plain)
    if isinstance(plain, date):
        cell: Cell = openpyxl.cell.WriteOnlyCell(sheet)
        cell.value, cell.number_format = plain, "yyyy-mm" if isinstance(plain, Month) else "yyyy-mm-dd"
        if isinstance(plain, datetime):
            cell.number_format = "yyyy-mm-dd hh:mm:ss" if plain.second else "yyyy-mm-dd hh:mm"
        return cell
    # Spreadsheets store 12.5% as 0.125.
    cell = openpyxl.cell.WriteOnlyCell(
        sheet, float(Decimal(str(plain)).scaleb(-2)) if column.kind is Kind.PERCENT else plain
    )
    cell.number_format = number_formats[plain % 1 != 0]
    return cell


def _make_text_cell(sheet: Any, text: str) -> Cell:
    """Make a text cell, without characters that xlsx cannot hold."""
    cell = openpyxl.cell.WriteOnlyCell(sheet, _NOT_IN_CELLS.sub("", text)[:CELL_CHARACTERS])
    cell.data_type = "s"
    # Text that begins like a formula stays text when somebody edits it.
    cell.quotePrefix = text.startswith(_FORMULA_STARTS)
    return cell


def _write_head(column: Column) -> str:
    name, unit = " ".join(drop_direction_marks(column.name).split()), find_head_unit(column)
    return f"{name} ({unit})" if unit else name


def _to_plain(value: Value) -> _Plain:
    """Convert to a type of spreadsheets: NaN and infinity become empty, numbers with too many digits text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, datetime):
        local = in_zone(value, timezone.get_current_timezone()).replace(tzinfo=None)
        # The calendar of spreadsheets begins in 1900.
        return local if local.year > 1900 else str(local)
    if isinstance(value, date):
        return value if value.year > 1900 else value.isoformat()
    if isinstance(value, str):
        return drop_direction_marks(value)
    if isinstance(value, int):
        return value if abs(value) < 10**DIGITS else str(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        digits = len(value.normalize().as_tuple().digits)
        if digits > DIGITS or value.adjusted() >= DIGITS:
            return str(value)
        return int(value) if value == value.to_integral_value() else float(value)
    return value if math.isfinite(value) else None


def _measure_width(text: str) -> int:
    # Chinese characters are twice as wide as Latin letters.
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text[:_GREATEST_WIDTH])


def _explain_left_out(part: Part, row_count: int) -> str:
    if row_count < part.row_count:
        sentence = _(
            "Only the first %(count)d of %(total)d rows have room in this file. Data with fewer columns or rows, "
            "or less data in the content, leaves room for more."
        )
        return sentence % {"count": row_count, "total": part.row_count}
    return _("The data was longer than what is fetched at most.") if part.table.is_cut else ""


def _write_csv_rows(part: Part, row_count: int) -> bytes:
    """Write comma-separated values in UTF-8, with a byte order mark for Excel."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow([_guard_formula(_write_head(column)) for column in part.table.columns])
    shown = part.table.rows[:row_count]
    for row in shown:
        fields = []
        for value, column in zip(row, part.table.columns, strict=True):
            if (number := to_decimal(value)) is not None:
                text = f"{number if number else abs(number):f}{'%' if column.kind is Kind.PERCENT else ''}"
            elif isinstance(plain := _to_plain(value), datetime):
                text = f"{plain:%Y-%m-%d %H:%M:%S}"
            elif isinstance(plain, bool):
                text = "TRUE" if plain else "FALSE"
            else:
                text = "" if plain is None else str(plain).replace("\x00", "")
                text = _guard_formula(text) if isinstance(value, str) else text
            fields.append(text)
        writer.writerow(fields)
    left_out = _explain_left_out(part, len(shown))
    if left_out:
        writer.writerow([_guard_formula(left_out)])
    return b"\xef\xbb\xbf" + output.getvalue().encode("utf-8", "replace")


def _guard_formula(text: str) -> str:
    """Prefix text that looks like a formula with an apostrophe (OWASP: CSV injection)."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) or text.startswith(_FORMULA_STARTS) else text
