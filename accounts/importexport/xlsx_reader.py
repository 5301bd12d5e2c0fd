"""Reads xlsx row by row, after checking the archive: one that would unpack to too much is not opened.

openpyxl's read-only mode streams rows, but reads everything else whole, and one endless row, too.
"""

from __future__ import annotations

import datetime
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from openpyxl import load_workbook
from openpyxl.utils import range_boundaries

from accounts.importexport.rows import COLUMNS_AT_MOST, FileRefusedError, Line, text_problem

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

UNPACKED_AT_MOST = 256 * 2**20
STRINGS_AT_MOST = 48 * 2**20
# Of any part that is no sheet; and of a sheet without the beginning of a row.
PART_AT_MOST = 2 * 2**20
PARTS_AT_MOST = 1000
SHEETS_AT_MOST = 50
MERGES_AT_MOST = 20_000
# A row's number in xlsx is not larger; openpyxl counts up to it, whatever it is.
LAST_ROW = 2**20
# Excel keeps so many digits of a number.
DIGITS_KEPT = 15
_OLD_EXCEL = bytes.fromhex("d0cf11e0a1b11ae1")
_PASSWORD = "EncryptedPackage".encode("utf-16-le")
_BEGINNING = re.compile(rb"<(?:\w+:)?(?:row|si)\b|</(?:\w+:)?sheetData>")
_MERGE = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]{0,200}?ref=[\"']([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})[\"']")
_ZEROS = re.compile(r"0{2,64}")
# What openpyxl raises for files that are none, or broken.
BROKEN = (
    *(ArithmeticError, AttributeError, AssertionError, EOFError, LookupError, OSError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)


def is_workbook(content: IO[bytes]) -> bool:
    """Whether it is a zip archive. Raises FileRefusedError for what Excel has written, but not as xlsx."""
    content.seek(0)
    beginning = content.read(8)
    if beginning == _OLD_EXCEL:
        content.seek(0)
        raise FileRefusedError("password" if _PASSWORD in content.read() else "old_excel")
    return beginning.startswith(b"PK")


def opened(content: IO[bytes]) -> tuple[Workbook, dict[str, list[tuple[int, int, int, int]]]]:
    """The workbook, and by the path of each sheet its merged ranges. Raises FileRefusedError."""
    try:
        with zipfile.ZipFile(content) as archive:
            merged = _inspect(archive)
        workbook = load_workbook(content, read_only=True, keep_links=False)
    except BROKEN:
        raise FileRefusedError("no_xlsx") from None
    if len(workbook.worksheets) > SHEETS_AT_MOST:
        raise FileRefusedError("many_sheets", count=SHEETS_AT_MOST)
    return workbook, merged


def _inspect(archive: zipfile.ZipFile) -> dict[str, list[tuple[int, int, int, int]]]:
    """Raises FileRefusedError for an archive that unfolds to too much. Each part is unpacked a piece at a time."""
    parts = archive.infolist()
    if len(parts) > PARTS_AT_MOST or sum(part.file_size for part in parts) > UNPACKED_AT_MOST:
        raise FileRefusedError("too_big")
    if any(part.flag_bits & 1 for part in parts):
        raise FileRefusedError("password")
    merged = {}
    for part in parts:
        if part.filename.endswith("sharedStrings.xml") and part.file_size > STRINGS_AT_MOST:
            raise FileRefusedError("too_big")
        is_sheet = part.filename.startswith("xl/worksheets/")
        if is_sheet or part.file_size > PART_AT_MOST:
            merged[part.filename] = _scanned(archive.open(part))
    return merged


def _scanned(part: IO[bytes]) -> list[tuple[int, int, int, int]]:
    """The merged ranges of a sheet. Raises FileRefusedError where one row, or anything else, is too long."""
    merged: list[tuple[int, int, int, int]] = []
    since, rest, count = 0, b"", 0
    with part:
        while piece := part.read(2**18):
            found = list(_BEGINNING.finditer(piece))
            since = len(piece) - found[-1].start() if found else since + len(piece)
            count += len(found)
            if since > PART_AT_MOST or count > 2 * LAST_ROW:
                raise FileRefusedError("too_big")
            text = rest + piece
            ends = 0
            for match in _MERGE.finditer(text):
                merged.append(_bounds(match[1].decode()))
                ends = match.end()
            if len(merged) > MERGES_AT_MOST:
                raise FileRefusedError("too_big")
            rest = text[max(ends, len(text) - 300) :]
    return merged


def _bounds(reference: str) -> tuple[int, int, int, int]:
    """First and last column, first and last row, columns counted from 0."""
    left, top, right, bottom = range_boundaries(reference)
    return (left or 1) - 1, (right or 1) - 1, top or 1, bottom or 1


def sheets_of(workbook: Workbook) -> list[tuple[str, Any]]:
    """Names and sheets that one sees in Excel."""
    return [(sheet.title, sheet) for sheet in workbook.worksheets if sheet.sheet_state == "visible"]


def lines_of(sheet: Any, merged: dict[str, list[tuple[int, int, int, int]]]) -> Iterator[Line]:
    """Raises FileRefusedError where the sheet is broken."""
    ranges = sorted(merged.get(str(sheet._worksheet_path).lstrip("/"), []), key=lambda one: one[2])
    sheet.reset_dimensions()
    open_ranges: list[tuple[int, int, int, int]] = []
    following = 0
    former: Any = None
    try:
        for number, cells in enumerate(sheet.iter_rows(max_col=COLUMNS_AT_MOST), 1):
            if number > LAST_ROW:
                return
            # Up to a stray cell far below, which Excel leaves easily, openpyxl gives one empty row a million times.
            line = Line(number, []) if cells is former else _line(number, cells)
            former = cells
            while following < len(ranges) and ranges[following][2] <= number:
                open_ranges.append(ranges[following])
                following += 1
            open_ranges = [one for one in open_ranges if one[3] >= number]
            for left, right, _top, _bottom in open_ranges:
                line.problems |= dict.fromkeys(range(left, min(right, COLUMNS_AT_MOST) + 1), "merged")
            yield line
    except BROKEN:
        raise FileRefusedError("no_xlsx") from None


def _line(number: int, cells: tuple[Any, ...]) -> Line:
    line = Line(number, [""] * len(cells))
    for column, cell in enumerate(cells):
        if cell.value is None:
            continue
        text, problem = _text_of(cell)
        line.texts[column] = text
        if problem:
            line.problems[column] = problem
    while line.texts and not line.texts[-1]:
        line.texts.pop()
    return line


def _text_of(cell: Any) -> tuple[str, str | None]:
    """A cell as a person reads it, and why it cannot be taken."""
    value = cell.value
    if cell.data_type == "f":
        return "=", "formula"
    if cell.data_type == "e":
        return str(value), "error_cell"
    if isinstance(value, bool):
        return str(value).upper(), None
    if isinstance(value, int | float):
        return _number(value, str(cell.number_format))
    if isinstance(value, datetime.datetime):
        has_time = (value.hour, value.minute, value.second) != (0, 0, 0)
        return value.isoformat(" ", "seconds") if has_time else value.date().isoformat(), None
    text = str(value).strip()
    return text, text_problem(text)


def _number(value: float, number_format: str) -> tuple[str, str | None]:
    """Excel keeps fifteen digits: of longer ones, such as an employee number typed without quotes, the rest is lost."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.15g}", None if "e" not in f"{value:.15g}" else "rounded"
    digits = str(int(value))
    if len(digits.lstrip("-")) > DIGITS_KEPT:
        return digits[:40], "rounded"
    return digits.zfill(len(number_format)) if _ZEROS.fullmatch(number_format) else digits, None
