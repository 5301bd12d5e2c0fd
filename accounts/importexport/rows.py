"""Rows and cells of both file formats, and why a file or a cell is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Sheets of people are neither longer nor wider.
ROWS_AT_MOST = 100_000
COLUMNS_AT_MOST = 200
CELL_CHARACTERS = 2000
# Notes may stand before the header; WeCom's console writes ten of them.
HEADER_WITHIN = 30
# What Excel makes of a long number in a cell that is not text.
_SCIENTIFIC = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d+")


class FileRefusedError(Exception):
    """The whole file cannot be read. `reason`: a word of accounts.explanations; `words`: what fills its
    sentence.
    """

    def __init__(self, reason: str, **words: Any) -> None:
        super().__init__(reason)
        self.reason, self.words = reason, words


@dataclass(slots=True)
class Line:
    """`number`: as the sheet's program counts. `problems`: by the column, why its cell cannot be taken."""

    number: int
    texts: list[str]
    problems: dict[int, str] = field(default_factory=dict)

    @property
    def is_blank(self) -> bool:
        return not self.problems and not any(self.texts)


def text_problem(text: str) -> str | None:
    """Why a text cannot be taken from a cell, whatever the column."""
    if len(text) > CELL_CHARACTERS:
        return "long_cell"
    if _SCIENTIFIC.fullmatch(text):
        return "scientific"
    return None


def counted(lines: Iterator[Line]) -> Iterator[Line]:
    """`lines` without blank ones. Raises FileRefusedError where there are too many."""
    count = 0
    for line in lines:
        if line.is_blank:
            continue
        count += 1
        if count > ROWS_AT_MOST:
            raise FileRefusedError("many_rows", count=ROWS_AT_MOST)
        yield line
