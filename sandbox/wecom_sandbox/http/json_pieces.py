"""JSON of large documents, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_pieces(document: object) -> Iterator[bytes]:
    """A piece for each row of the iterators that stand as lists in the document, or in objects in it.

    The rows are made as their pieces are asked for; all other values are encoded whole.
    """
    if isinstance(document, Iterator):
        yield b"["
        for number, row in enumerate(document):
            yield from _after_comma(number, json_pieces(row))
        yield b"]"
    elif isinstance(document, dict) and any(isinstance(value, Iterator) for value in document.values()):
        yield b"{"
        for number, (name, value) in enumerate(document.items()):
            yield from _after_comma(number, json_pieces(name))
            yield b": "
            yield from json_pieces(value)
        yield b"}"
    else:
        yield _ENCODER.encode(document).encode()


def _after_comma(number: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """With the first piece, so that a row is one."""
    yield (b", " if number else b"") + next(pieces)
    yield from pieces
