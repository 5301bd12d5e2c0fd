"""Finds the one list of people in an uploaded file, whatever kind it is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from accounts.sheets import delimited, workbook
from accounts.sheets.headers import Header, Recogniser
from accounts.sheets.lines import HEADER_WITHIN, FileRefusedError, Line, counted


@dataclass(frozen=True, slots=True)
class Table:
    """`lines`: those below the header, without blank ones, read as one asks for them."""

    header: Header
    lines: Iterator[Line]


def table_of(content: bytes, recogniser: Recogniser) -> Table:
    """Raises FileRefusedError, also while the lines are read."""
    stream = io.BytesIO(content)
    if workbook.is_workbook(stream):
        return _of_workbook(stream, recogniser)
    text = delimited.decoded(content)
    for separator in delimited.SEPARATORS:
        header = _header(delimited.lines_of(text, separator), recogniser)
        if header is not None:
            return Table(header, counted(_below(delimited.lines_of(text, separator), header)))
    raise FileRefusedError("no_header", count=HEADER_WITHIN)


def _of_workbook(stream: io.BytesIO, recogniser: Recogniser) -> Table:
    opened, merged = workbook.opened(stream)
    found = []
    for name, sheet in workbook.sheets_of(opened):
        header = _header(workbook.lines_of(sheet, merged), recogniser)
        if header is not None:
            found.append((name, sheet, header))
    if not found:
        raise FileRefusedError("no_header", count=HEADER_WITHIN)
    if len(found) > 1:
        raise FileRefusedError("several_sheets", sheets=", ".join(name for name, _sheet, _header in found[:10]))
    _name, sheet, header = found[0]
    return Table(header, counted(_below(workbook.lines_of(sheet, merged), header)))


def _header(lines: Iterator[Line], recogniser: Recogniser) -> Header | None:
    for line in islice(lines, HEADER_WITHIN):
        header = recogniser.header(line.number, line.texts)
        if header is not None:
            return header
    return None


def _below(lines: Iterator[Line], header: Header) -> Iterator[Line]:
    return (line for line in lines if line.number > header.line)
