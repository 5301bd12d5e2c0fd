"""Reads files of people; csv in UTF-8, UTF-16 with a byte order mark, or GB 18030 (which includes GBK)."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from accounts.importexport.columns import Header, Recogniser
from accounts.importexport.rows import COLUMNS_AT_MOST, HEADER_WITHIN, FileRefusedError, Line, counted, text_problem
from integrations.clients.late import Late

if TYPE_CHECKING:
    from accounts.importexport import xlsx_reader
else:
    xlsx_reader = Late("accounts.importexport.xlsx_reader")

SEPARATORS = (",", "\t", ";", "，", "|")  # noqa: RUF001  # the Chinese comma is meant
# Excel takes a cell with such a beginning for a formula. Our own files put a ' before it, which is taken away again.
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def decoded(content: bytes) -> str:
    """Raises FileRefusedError where it is no text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise FileRefusedError("no_text")


def lines_of(text: str, separator: str) -> Iterator[Line]:
    """Raises FileRefusedError where a cell never ends. `number` is that of the line in which a row begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    number = 1
    try:
        for row in reader:
            yield _line(number, row)
            number = reader.line_num + 1
    except csv.Error:
        raise FileRefusedError("broken", line=number) from None


def _line(number: int, row: list[str]) -> Line:
    line = Line(number, [unguarded(cell.strip()) for cell in row[:COLUMNS_AT_MOST]])
    for column, text in enumerate(line.texts):
        problem = text_problem(text)
        if problem:
            line.problems[column] = problem
    return line


def guarded(text: str) -> str:
    """As it is written into csv: Excel must not take it for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} or _GUARDED.match(text) else text


def unguarded(text: str) -> str:
    """A cell of csv without the mark that guarded() put before it."""
    return text[1:] if _GUARDED.match(text) else text


# --- Finds the one list of people in an uploaded file, whatever kind it is ---


@dataclass(frozen=True, slots=True)
class Table:
    """`lines`: those below the header, without blank ones, read as one asks for them."""

    header: Header
    lines: Iterator[Line]


def table_of(content: bytes, recogniser: Recogniser) -> Table:
    """Raises FileRefusedError, also while the lines are read."""
    stream = io.BytesIO(content)
    if xlsx_reader.is_workbook(stream):
        return _of_workbook(stream, recogniser)
    text = decoded(content)
    for separator in SEPARATORS:
        header = _header(lines_of(text, separator), recogniser)
        if header is not None:
            return Table(header, counted(_below(lines_of(text, separator), header)))
    raise FileRefusedError("no_header", count=HEADER_WITHIN)


def _of_workbook(stream: io.BytesIO, recogniser: Recogniser) -> Table:
    opened, merged = xlsx_reader.opened(stream)
    found = []
    for name, sheet in xlsx_reader.sheets_of(opened):
        header = _header(xlsx_reader.lines_of(sheet, merged), recogniser)
        if header is not None:
            found.append((name, sheet, header))
    if not found:
        raise FileRefusedError("no_header", count=HEADER_WITHIN)
    if len(found) > 1:
        raise FileRefusedError("several_sheets", sheets=", ".join(name for name, _sheet, _header in found[:10]))
    _name, sheet, header = found[0]
    return Table(header, counted(_below(xlsx_reader.lines_of(sheet, merged), header)))


def _header(lines: Iterator[Line], recogniser: Recogniser) -> Header | None:
    for line in islice(lines, HEADER_WITHIN):
        header = recogniser.header(line.number, line.texts)
        if header is not None:
            return header
    return None


def _below(lines: Iterator[Line], header: Header) -> Iterator[Line]:
    return (line for line in lines if line.number > header.line)
