"""Rearranges the outlines of a font's letters (the table CFF): what is looked at each time stands at the beginning.

Source: Adobe's Technical Note 5176, The Compact Font Format Specification (read 2026-11-28).
"""

from __future__ import annotations

import struct

# Operators of dictionaries. Two bytes begin with 12.
_CHARSET, _LETTERS, _PRIVATE, _ROUTINES = b"\x0f", b"\x11", b"\x12", b"\x13"
_ORDERING, _FONT_OF_LETTER, _FONTS = b"\x0c\x1e", b"\x0c\x25", b"\x0c\x24"
# Says that letters are upright, which nobody asks: fills three bytes.
_FILLER = b"\x8b\x0c\x02"

Dictionary = dict[bytes, list[int]]


def rearranged(table: bytes, *, room: int) -> tuple[bytes, bytes]:
    """The beginning and the rest of the same outlines, for a font in which `room` bytes of others lie between them.

    The table must have several fonts, and the list of its letters after all of its other lists, as the packaged font
    has.
    """
    _names, top_at = _entries(table, table[2])
    [(start, end)], _end = _entries(table, top_at)
    top = _dictionary(table[start:end])
    [letters_at], [fonts_at] = top[_LETTERS], top[_FONTS]
    routines = [_routines_at(table, font) for font in _entries(table, fonts_at)[0]]
    # Each with a size and an offset, and a dictionary of its own, which names nothing but its routines.
    sizes = [len(_number(0) + _ROUTINES) if at else 0 for at in routines]
    fonts_size = 3 + 2 * (len(routines) + 1) + len(routines) * len(_number(0) + _number(0) + _PRIVATE)
    moved = fonts_size + sum(sizes) + room
    fonts, dictionaries, private_at = [], b"", letters_at + fonts_size
    for at, size in zip(routines, sizes, strict=True):
        fonts.append(_number(size) + _number(private_at) + _PRIVATE)
        dictionaries += _number(at + moved - private_at) + _ROUTINES if at else b""
        private_at += size
    top |= {_LETTERS: [letters_at + moved], _FONTS: [letters_at]}
    kept = (_ORDERING, _CHARSET, _LETTERS, _FONT_OF_LETTER, _FONTS)
    written = b"".join(b"".join(map(_number, top[operator])) + operator for operator in kept)
    # Of the same size: what follows stays at its place.
    written += _FILLER * ((end - start - len(written)) // len(_FILLER))
    return table[:start] + written.ljust(end - start, _FILLER[:1]) + table[end:letters_at] + _list(
        fonts
    ) + dictionaries, table[letters_at:]


def _routines_at(table: bytes, font: tuple[int, int]) -> int:
    """0 where it has none."""
    size, at = _dictionary(table[slice(*font)])[_PRIVATE]
    [offset] = _dictionary(table[at : at + size]).get(_ROUTINES, [-at])
    return at + offset


def _entries(table: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """Where each entry of a list begins and ends, and where the list ends."""
    (count,) = struct.unpack_from(">H", table, at)
    if not count:
        return [], at + 2
    size, first = table[at + 2], at + 3
    base = first + size * (count + 1) - 1
    places = [base + int.from_bytes(table[one : one + size]) for one in range(first, base + 1, size)]
    return list(zip(places, places[1:], strict=False)), places[-1]


def _list(entries: list[bytes]) -> bytes:
    offsets = [1]
    for entry in entries:
        offsets.append(offsets[-1] + len(entry))
    return struct.pack(f">HB{len(offsets)}H", len(entries), 2, *offsets) + b"".join(entries)


def _dictionary(data: bytes) -> Dictionary:
    """Its whole numbers by their operators; of broken ones nothing."""
    found: Dictionary = {}
    numbers: list[int] = []
    at = 0
    while at < len(data):
        first = data[at]
        if first <= 21:  # noqa: PLR2004  # operators
            size = 2 if first == 12 else 1
            found[data[at : at + size]] = numbers
            numbers = []
        elif first == 30:
            size = 2
            while data[at + size - 1] & 15 != 15:
                size += 1
        else:
            size, number = _whole(data, at)
            numbers.append(number)
        at += size
    return found


def _whole(data: bytes, at: int) -> tuple[int, int]:
    """How many bytes the number takes, and the number."""
    first = data[at]
    if first == 28:
        return 3, int.from_bytes(data[at + 1 : at + 3], signed=True)
    if first == 29:
        return 5, int.from_bytes(data[at + 1 : at + 5], signed=True)
    if first < 247:
        return 1, first - 139
    return 2, (first - 247) * 256 + data[at + 1] + 108 if first < 251 else -(first - 251) * 256 - data[at + 1] - 108


def _number(number: int) -> bytes:
    """In five bytes, however small."""
    return b"\x1d" + struct.pack(">i", number)
