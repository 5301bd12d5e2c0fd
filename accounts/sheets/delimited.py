"""Reads csv: UTF-8 with or without a mark at its beginning, UTF-16 with one, GB 18030 (so GBK, too)."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator

from accounts.sheets.lines import COLUMNS_AT_MOST, FileRefusedError, Line, text_problem

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
    return text[1:] if _GUARDED.match(text) else text
