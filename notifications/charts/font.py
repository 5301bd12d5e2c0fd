"""Prepares the font of drawings: one face of the packaged collection, as a file that the renderer reads quickly.

The renderer maps the file into memory and looks through its tables four times for each letter that it measures or
draws; each part of 64 KiB that it touches costs time. So what it looks at each time lies in the first such part, but
for the end of the list of outlines.
Letters and their places are the same as in the collection, with which a drawing takes several times as long.
Sources: learn.microsoft.com/typography/opentype/spec; Adobe's Technical Note 5176 for CFF (both read 2026-11-28).
"""

from __future__ import annotations

import logging
import os
import struct
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from notifications.charts import theme
from notifications.charts.outlines import rearranged

logger = logging.getLogger(__name__)

COLLECTION = "NotoSansCJK-Regular.ttc"
# Moved on where the file is written otherwise than before: one that is there already is not written again.
_VERSION = 2
# Of simplified Chinese, the third of the collection.
_FACE = 2
# Under its usual name, too: bold letters are asked for by that.
FAMILIES = (theme.PREPARED_FONT, "Noto Sans CJK SC")
# What stands in horizontal lines is shaped by these, and its letters are placed by those. The other lookups are left
# empty.
_SHAPED_BY = frozenset({b"ccmp", b"locl", b"liga", b"clig", b"rlig", b"calt", b"ljmo", b"vjmo", b"tjmo"})
_PLACED_BY = frozenset({b"kern", b"mark", b"mkmk", b"dist", b"curs", b"abvm", b"blwm"})
# The kinds of lookups whose subtables only say where another one stands, with 32 bits: of GSUB, and of GPOS.
_SHAPED_ELSEWHERE, _PLACED_ELSEWHERE = 7, 9
# For vertical lines.
_UNUSED = frozenset({b"vhea", b"vmtx", b"VORG"})

Tables = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Divided:
    """A table of which only the head is looked at for each letter. `pointers`: where in the head offsets of 32 bits
    stand that lead into the body, as if that came next."""

    head: bytes
    body: bytes
    pointers: tuple[int, ...]

    def head_before(self, gap: int) -> bytes:
        """For a body that comes so many bytes later."""
        head = bytearray(self.head)
        for at in self.pointers:
            struct.pack_into(">I", head, at, struct.unpack_from(">I", head, at)[0] + gap)
        return bytes(head)


def folder() -> Path:
    """Where the font lies, alone: prepared by the first process of this user that asks. The packaged one's folder where
    it cannot be prepared: drawings look the same and take twice as long.

    Asked before each drawing: of a file that was cleaned up meanwhile the renderer would draw no letters.
    """
    packaged = Path(str(resources.files("noto_cjk_sans_otc")))
    try:
        found = Path(tempfile.gettempdir()) / f"guanwecom-font-{_VERSION}-{os.geteuid()}"
        found.mkdir(mode=0o700, exist_ok=True)
        if found.is_symlink() or found.stat().st_uid != os.geteuid():
            # Somebody else's, with whatever font in it.
            return packaged
        font = found / "drawings.otf"
        if not font.exists():
            _write(font, prepared((packaged / COLLECTION).read_bytes()))
    except OSError as error:
        _warn(str(error))
        return packaged
    return found


def _write(font: Path, content: bytes) -> None:
    """At once: another process sees the whole file or none."""
    with tempfile.NamedTemporaryFile(dir=font.parent, delete=False) as file:
        part = Path(file.name)
        try:
            file.write(content)
            file.flush()
            # Else a machine that loses its power may keep the name without the content, and draw no letters for good.
            os.fsync(file.fileno())
            part.replace(font)
        finally:
            part.unlink(missing_ok=True)


@cache
def _warn(reason: str) -> None:
    """Once for a process."""
    logger.warning("drawings take twice as long: the font cannot be prepared (%s)", reason)


def prepared(collection: bytes) -> bytes:
    """The face of simplified Chinese as a font of its own."""
    (offset,) = struct.unpack_from(">I", collection, 12 + 4 * _FACE)
    tables = {tag: data for tag, data in _tables(collection, offset).items() if tag not in _UNUSED}
    tables[b"name"] = _names()
    return _font(tables)


def _tables(collection: bytes, offset: int) -> Tables:
    (count,) = struct.unpack_from(">H", collection, offset + 4)
    found = {}
    for position in range(offset + 12, offset + 12 + 16 * count, 16):
        tag, _checksum, start, length = struct.unpack_from(">4sIII", collection, position)
        found[tag] = collection[start : start + length]
    return found


def _font(tables: Tables) -> bytes:
    """Small tables first, then the beginning of the outlines, whose room for others holds what else is looked at for
    each letter. Behind the outlines stands what remains."""
    divided = {
        b"cmap": _alphabets(tables[b"cmap"]),
        b"GPOS": _placing(tables[b"GPOS"]),
        b"hmtx": Divided(b"", tables[b"hmtx"], ()),
    }
    room = {b"GPOS": divided[b"GPOS"].head, b"GSUB": _shaping(tables[b"GSUB"])}
    small = {tag: data for tag, data in tables.items() if tag not in {b"CFF ", *room, *divided}}
    small[b"cmap"] = divided[b"cmap"].head
    outlines, rest = rearranged(tables[b"CFF "], room=sum(len(_padded(data)) for data in room.values()))
    places, at = {}, 12 + 16 * len(tables)
    found = bytearray(at)
    for tag, data in {**small, b"CFF ": outlines, **room}.items():
        places[tag] = (len(found), len(data))
        found += data if tag == b"CFF " else _padded(data)
    found += rest
    places[b"CFF "] = (places[b"CFF "][0], len(found) - places[b"CFF "][0])
    for tag, table in divided.items():
        found += bytes(-len(found) % 4)
        start, length = places.get(tag, (len(found), 0))
        places[tag] = (start, len(found) + len(table.body) - start)
        found[start : start + length] = table.head_before(len(found) - start - length)
        found += table.body
    power = len(tables).bit_length() - 1
    head = struct.pack(">4sHHHH", b"OTTO", len(tables), 16 << power, power, 16 * len(tables) - (16 << power))
    found[:at] = head + b"".join(struct.pack(">4sIII", tag, 0, *places[tag]) for tag in sorted(tables))
    return bytes(found)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _alphabets(table: bytes) -> Divided:
    """cmap: its head says where each alphabet stands."""
    (count,) = struct.unpack_from(">H", table, 2)
    end = 4 + 8 * count
    return Divided(table[:end], table[end:], tuple(range(8, end, 8)))


def _names() -> bytes:
    """A family may have a name in each language: here those of English and of Chinese."""
    english, chinese = FAMILIES
    texts = ((0x409, 1, english), (0x409, 2, "Regular"), (0x409, 6, english.replace(" ", "")), (0x804, 1, chinese))
    records, strings = b"", b""
    for language, name, text in texts:
        encoded = text.encode("utf-16-be")
        records += struct.pack(">6H", 3, 1, language, name, len(encoded), len(strings))
        strings += encoded
    return struct.pack(">3H", 0, len(texts), 6 + len(records)) + records + strings


def _shaping(table: bytes) -> bytes:
    """GSUB without what only other lines and languages need: its lookups keep their numbers, but have no subtables.
    What of those stands behind all that are used is cut off."""
    found = bytearray(table)
    used = _used(table, _SHAPED_BY)
    last, left_out = 0, [len(table)]
    for number, lookup in enumerate(_lookups(table)):
        subtables = _subtables(table, lookup)
        if number in used:
            last = max(last, *subtables)
        else:
            struct.pack_into(">H", found, lookup + 4, 0)
            left_out += subtables
    return bytes(found[: min(place for place in left_out if place > last)])


def _placing(table: bytes) -> Divided:
    """GPOS likewise. Its subtables are the body."""
    lookups, used = _lookups(table), _used(table, _PLACED_BY)
    start = min(place for lookup in lookups for place in _subtables(table, lookup))
    head, pointers = bytearray(table[:start]), []
    end = start + 8 * sum(len(_subtables(table, lookups[number])) for number in used)
    for number, lookup in enumerate(lookups):
        if number not in used:
            struct.pack_into(">H", head, lookup + 4, 0)
            continue
        (kind,) = struct.unpack_from(">H", table, lookup)
        struct.pack_into(">H", head, lookup, _PLACED_ELSEWHERE)
        for position, place in enumerate(_subtables(table, lookup)):
            struct.pack_into(">H", head, lookup + 6 + 2 * position, len(head) - lookup)
            pointers.append(len(head) + 4)
            head += struct.pack(">HHI", 1, kind, end + place - start - len(head))
    return Divided(bytes(head), table[start:], tuple(pointers))


def _lookups(table: bytes) -> list[int]:
    """Where those of GSUB or GPOS begin."""
    (lookups_at,) = struct.unpack_from(">H", table, 8)
    return [lookups_at + offset for offset in _numbers(table, lookups_at)]


def _subtables(table: bytes, lookup: int) -> list[int]:
    """Where those of a lookup begin, also where GSUB has them elsewhere. The packaged font's GPOS has none of that
    kind."""
    (kind,) = struct.unpack_from(">H", table, lookup)
    places = [lookup + offset for offset in _numbers(table, lookup + 4)]
    if kind == _SHAPED_ELSEWHERE:
        return [place + struct.unpack_from(">I", table, place + 4)[0] for place in places]
    return places


def _used(table: bytes, features: frozenset[bytes]) -> set[int]:
    """The numbers of the lookups of these features, and of those that are only named by other lookups."""
    scripts_at, features_at = struct.unpack_from(">2H", table, 4)
    used_features = _used_features(table, scripts_at)
    kept: set[int] = set()
    named: set[int] = set()
    for number, (tag, offset) in enumerate(_records(table, features_at)):
        lookups = _numbers(table, features_at + offset + 2)
        named.update(lookups)
        if number in used_features and tag in features:
            kept.update(lookups)
    return kept | set(range(len(_lookups(table)))) - named


def _used_features(table: bytes, scripts_at: int) -> set[int]:
    """Of texts without a language, as the renderer shapes all."""
    found: set[int] = set()
    for _script, offset in _records(table, scripts_at):
        (language,) = struct.unpack_from(">H", table, scripts_at + offset)
        found.update(_numbers(table, scripts_at + offset + language + 4))
    return found


def _records(table: bytes, at: int) -> list[tuple[bytes, int]]:
    """Tags and offsets, with their number before them."""
    (count,) = struct.unpack_from(">H", table, at)
    return [struct.unpack_from(">4sH", table, at + 2 + 6 * number) for number in range(count)]


def _numbers(table: bytes, at: int) -> tuple[int, ...]:
    """A list with its length before it, all of 16 bits."""
    (count,) = struct.unpack_from(">H", table, at)
    return struct.unpack_from(f">{count}H", table, at + 2)
