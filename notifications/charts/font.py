"""Prepares the font of drawings: one face of the packaged collection, as a file that the renderer reads quickly.

The renderer maps the file into memory and looks through its tables four times for each letter that it measures or
draws; each part of 64 KiB that it touches costs time. So what it looks at each time lies side by side at the beginning.
Letters and their places are the same as in the collection, with which a drawing takes several times as long.
Sources: learn.microsoft.com/typography/opentype/spec; Adobe's Technical Note 5176 for CFF (both read 2026-11-28).
"""

from __future__ import annotations

import logging
import os
import struct
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

from notifications.charts import theme
from notifications.charts.outlines import rearranged

logger = logging.getLogger(__name__)

COLLECTION = "NotoSansCJK-Regular.ttc"
# Of simplified Chinese, the third of the collection.
_FACE = 2
# Under its usual name, too: bold letters are asked for by that.
FAMILIES = (theme.PREPARED_FONT, "Noto Sans CJK SC")
# What stands in horizontal lines is shaped by these. The other lookups are left empty.
_SHAPED_BY = frozenset({b"ccmp", b"locl", b"liga", b"clig", b"rlig", b"calt", b"ljmo", b"vjmo", b"tjmo"})
# For vertical lines.
_UNUSED = frozenset({b"vhea", b"vmtx", b"VORG"})

# Of 64 KiB, what the renderer reads at once, these take next to nothing.
_SMALL = 1024

Tables = dict[bytes, bytes]


def folder() -> Path:
    """Where the font lies, alone: prepared by the first process of this user that asks. The packaged one's folder where
    it cannot be prepared: drawings look the same and take twice as long.

    Asked before each drawing: of a file that was cleaned up meanwhile the renderer would draw no letters.
    """
    packaged = Path(str(resources.files("noto_cjk_sans_otc")))
    try:
        found = Path(tempfile.gettempdir()) / f"guanwecom-font-{os.geteuid()}"
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
    tables[b"GSUB"] = _shaping(tables[b"GSUB"])
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
    """Small tables first, then the beginning of the outlines, whose room for others holds the large tables."""
    padded = {tag: data + bytes(-len(data) % 4) for tag, data in tables.items() if tag != b"CFF "}
    small = {tag: data for tag, data in padded.items() if len(data) <= _SMALL}
    large = {tag: data for tag, data in padded.items() if len(data) > _SMALL}
    outlines, rest = rearranged(tables[b"CFF "], room=sum(map(len, large.values())))
    start = 12 + 16 * len(tables)
    body, places = b"", {}
    for tag, data in {**small, b"CFF ": outlines, **large}.items():
        places[tag] = (start + len(body), len(tables[tag]))
        body += data
    body += rest
    places[b"CFF "] = (places[b"CFF "][0], start + len(body) - places[b"CFF "][0])
    power = len(tables).bit_length() - 1
    head = struct.pack(">4sHHHH", b"OTTO", len(tables), 16 << power, power, 16 * len(tables) - (16 << power))
    return head + b"".join(struct.pack(">4sIII", tag, 0, *places[tag]) for tag in sorted(tables)) + body


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
    """GSUB without what only other lines and languages need: its lookups keep their numbers, but have no subtables."""
    found = bytearray(table)
    scripts_at, features_at, lookups_at = struct.unpack_from(">3H", table, 4)
    used = _used_features(table, scripts_at)
    kept: set[int] = set()
    named: set[int] = set()
    for number, (tag, offset) in enumerate(_records(table, features_at)):
        lookups = _numbers(table, features_at + offset + 2)
        named.update(lookups)
        if number in used and tag in _SHAPED_BY:
            kept.update(lookups)
    for number, offset in enumerate(_numbers(table, lookups_at)):
        if number in named - kept:
            struct.pack_into(">H", found, lookups_at + offset + 4, 0)
    return bytes(found)


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
