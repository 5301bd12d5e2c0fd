"""Text, pictures and files of other systems, made safe for a message. No I/O.

Only this Markdown takes effect: headings, quotes, bold, code, and links with http or https. Anything else that WeCom
could read as markup (a tag, a mention, <@all>) is replaced by look-alike characters.

A picture or file has the type that its content shows, whatever the sender calls it. Nothing is unpacked or decoded:
only a picture's header is read, so that a picture too large to draw is refused before anything draws it.
"""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Self
from urllib.parse import urlsplit

from integrations.clients.wecom.builders import drop_direction_marks
from integrations.core.sentences import Sentence, SentenceError
from notifications.models import IncomingMessage, Medium, MessageForm
from notifications.models.inbound import LINK_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS
from notifications.reports.templates.values import escape_markup


class InboundError(SentenceError):
    """Refusal of what another system sends. `code`: the problem's (notifications.api.problems). `sentence`: for the
    log of calls and the sender. `retry_after_seconds`: until it may be sent again. `unknown`: addresses that name
    nobody, with reasons."""

    def __init__(
        self, code: str, sentence: Sentence | None = None, *, retry_after_seconds: int = 0, unknown: Sequence[Any] = ()
    ) -> None:
        super().__init__(sentence or SENTENCES.get(code) or Sentence(code))
        self.code, self.retry_after_seconds, self.unknown = code, retry_after_seconds, unknown


# The sentences of codes that always have the same one.
SENTENCES = {
    "invalid_proof": Sentence("The secret or the signature is missing or wrong."),
    "malformed_request": Sentence("The body is neither JSON nor a form that can be read."),
    "body_too_large": Sentence("The body is too large, or nested too deeply."),
    "too_many_requests": Sentence("There were too many calls in a minute."),
    "nobody_found": Sentence("Its recipients name nobody whom the channel reaches."),
    "daily_limit_reached": Sentence("The channel has sent as much as it may today."),
}


@dataclass(frozen=True)
class ChannelRules:
    """Rules of a channel, stored in InboundChannel.mapping; a missing rule has its default."""

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Read the rules as a channel stores them. Unknown fields are ignored."""
        found = document if isinstance(document, dict) else {}
        return cls(**{one.name: _make_immutable(found[one.name]) for one in fields(cls) if one.name in found})

    def to_document(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, in the form that a channel stores."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}


def _make_immutable(value: Any) -> Any:
    return tuple(map(_make_immutable, value)) if isinstance(value, list | tuple) else value


# Control characters, and halves of surrogate pairs, which databases refuse; not line ends and tabs.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?")
# The marks at the beginning of a line of Markdown.
_START = re.compile(r"(?P<quote>(?:>[ \t]?)*)(?P<heading>#{1,6}[ \t]+)?(?P<bullet>[*+-][ \t]+)?")
# Marks between two pieces of plain text; a picture becomes a link.
_INLINE = re.compile(
    r"!?\[(?P<label>[^\[\]]+)\]\((?P<url>https?://[^\s()<>]+)\)"
    r"|<(?P<bare>https?://[^\s<>]+)>"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|`(?P<code>[^`]+)`"
)
_LOOK_ALIKES = str.maketrans({"<": "＜", ">": "＞", "[": "［", "]": "］"})


def clean_title(title: str) -> str:
    """Return the title as one line of allowed length, without control characters; empty if nothing is left."""
    line = " ".join(drop_direction_marks(_CONTROLS.sub(" ", title)).split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"


def clean_text(text: str) -> str:
    """Return the text with plain line ends and without unprintable characters, cut to TEXT_CHARACTERS."""
    plain = drop_direction_marks(_CONTROLS.sub("", _LINE_ENDS.sub("\n", text[: 2 * TEXT_CHARACTERS]))).strip()
    return plain if len(plain) <= TEXT_CHARACTERS else plain[: TEXT_CHARACTERS - 1] + "…"


def clean_link(link: str) -> str:
    """Return `link` if it is an http or https address that a message may have; else an empty string."""
    if len(link) > LINK_CHARACTERS or not link.isprintable() or " " in link:
        return ""
    try:
        found = urlsplit(link)
    except ValueError:
        return ""
    return link if found.scheme in {"http", "https"} and found.hostname else ""


def format_text(form: str, text: str, markup: str) -> str:
    """Return a safe text in the form's own syntax."""
    lines = text.split("\n")
    if markup != IncomingMessage.Markup.MARKDOWN:
        return "\n".join(escape_markup(line, form) for line in lines)
    if form == MessageForm.MARKDOWN:
        return "\n".join(map(_filter_markdown, lines))
    plain = []  # lines without Markdown, with each link's address behind its label
    for line in lines:
        start = _START.match(line)
        bullet = "- " if start and start["bullet"] else ""
        plain.append(bullet + _INLINE.sub(_write_as_plain_text, line[start.end() :] if start else line))
    return "\n".join(escape_markup(line, form) for line in plain)


def _filter_markdown(line: str) -> str:
    """Write a line of Markdown with the allowed marks only, and look-alikes for other characters of markup."""
    start = _START.match(line)
    head, rest = "", line
    if start:
        head = ("> " if start["quote"] else "") + (start["heading"] or "") + ("- " if start["bullet"] else "")
        rest = line[start.end() :]
    pieces, end = [head], 0
    for mark in _INLINE.finditer(rest):
        words = (mark["label"] or mark["bold"] or mark["code"] or "").translate(_LOOK_ALIKES)
        if mark["url"]:
            kept = f"[{words}]({mark['url']})"
        elif mark["bare"]:
            kept = mark["bare"]
        else:
            kept = f"**{words}**" if mark["bold"] else f"`{words}`"
        pieces += [rest[end : mark.start()].translate(_LOOK_ALIKES), kept]
        end = mark.end()
    return "".join([*pieces, rest[end:].translate(_LOOK_ALIKES)])


def _write_as_plain_text(mark: re.Match[str]) -> str:
    """Write a piece of Markdown without marks; a link's address follows its label."""
    if mark["url"]:
        return mark["url"] if mark["label"] == mark["url"] else f"{mark['label']} ({mark['url']})"
    return mark["bare"] or mark["bold"] or mark["code"]


# WeCom's limits of a file and of a picture, in bytes.
FILE_BYTES = 20 * 1024 * 1024
PICTURE_BYTES = 10 * 1024 * 1024
# WeCom refuses smaller files.
LEAST_BYTES = 6
# A drawn pixel takes four bytes of memory.
PIXELS_AT_MOST = 40_000_000
# Length of a file's name without its extension; the name is also the title of its message.
NAME_CHARACTERS = 110
FILES_AT_MOST = 20
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that a message may carry. `name` ends with the extension of its real type."""

    name: str
    kind: Medium.Kind
    content_type: str
    content: bytes
    width: int = 0
    height: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of name and content, in hexadecimal digits."""
        return hashlib.sha256(self.name.encode() + b"\0" + self.content).hexdigest()


def check_file(name: str, content: bytes) -> CheckedFile:
    """Return the file as it may be sent. Raise InboundError if it is too large, empty or of a type that is not allowed.
    WeCom shows PNG and JPEG pictures of up to 10 MB; other pictures are sent as files."""
    tidy = tidy_name(name)
    words = {"name": tidy}
    if len(content) < LEAST_BYTES:
        raise InboundError("file_refused", Sentence("“%(name)s” is empty, or has fewer than 6 bytes.") % words)
    if len(content) > FILE_BYTES:
        raise InboundError("file_refused", Sentence("“%(name)s” is larger than 20 MB.") % words)
    extension = tidy.rpartition(".")[2].lower() if "." in tidy else ""
    found = _detect_type(extension, content)
    if found is None:
        sentence = Sentence("“%(name)s” is none of the types that are let through, or not what it is called.")
        raise InboundError("file_refused", sentence % words)
    real_extension, content_type = found
    size = _read_picture_size(real_extension, content) if real_extension in _PICTURES else (0, 0)
    if real_extension in _PICTURES and (size is None or not all(size)):
        raise InboundError("file_refused", Sentence("“%(name)s” is a broken picture.") % words)
    width, height = size or (0, 0)
    if width * height > PIXELS_AT_MOST:
        raise InboundError("file_refused", Sentence("“%(name)s” has more than 40 million pixels.") % words)
    is_right = extension == real_extension or extension in _SYNONYMS.get(real_extension, ())
    is_shown = real_extension in {"png", "jpg"} and len(content) <= PICTURE_BYTES
    kind = Medium.Kind.PICTURE if is_shown else Medium.Kind.FILE
    return CheckedFile(tidy if is_right else f"{tidy}.{real_extension}", kind, content_type, content, width, height)


def tidy_name(name: str) -> str:
    """Return the name without folders and without characters that file systems refuse."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    tidy = " ".join(_NOT_IN_NAMES.sub(" ", last).split()).strip(". ")
    stem, dot, extension = tidy.rpartition(".")
    if len(tidy) <= NAME_CHARACTERS:
        return tidy or "file"
    return f"{stem[:NAME_CHARACTERS].rstrip()}{dot}{extension[:10]}" if stem else tidy[:NAME_CHARACTERS]


_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# How the last record of a zip archive begins, and the longest such record: with a comment of 64 KB.
_END_OF_ARCHIVE, _END_BYTES = b"PK\x05\x06", 22 + 65535
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png", "image/png"),
    (b"\xff\xd8\xff", "jpg", "image/jpeg"),
    (b"GIF87a", "gif", "image/gif"),
    (b"GIF89a", "gif", "image/gif"),
    (b"%PDF-", "pdf", "application/pdf"),
)
_OOXML = "application/vnd.openxmlformats-officedocument"
_OFFICE = {
    "xlsx": (b"xl/workbook.xml", f"{_OOXML}.spreadsheetml.sheet"),
    "docx": (b"word/document.xml", f"{_OOXML}.wordprocessingml.document"),
    "pptx": (b"ppt/presentation.xml", f"{_OOXML}.presentationml.presentation"),
}
_OLD_OFFICE = {
    "xls": "application/vnd.ms-excel",
    "doc": "application/msword",
    "ppt": "application/vnd.ms-powerpoint",
}
# Text has the type that its sender names, if no program runs files of that type.
_TEXTS = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "log": "text/plain",
    "md": "text/markdown",
    "json": "application/json",
}
# Other extensions of one type.
_SYNONYMS = {"jpg": ("jpeg", "jpe")}


def _detect_type(extension: str, content: bytes) -> tuple[str, str] | None:
    """Return the extension and the content type that the content shows; None for a type that is not allowed."""
    for magic, real_extension, content_type in _MAGIC:
        if content.startswith(magic):
            return real_extension, content_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp", "image/webp"
    if content.startswith(_ZIP):
        # An Office file is known by a member's name. It is only searched for: parsing the archive may be costly.
        if _END_OF_ARCHIVE not in content[-_END_BYTES:]:
            return None
        for real_extension, (member, content_type) in _OFFICE.items():
            if member in content:  # a file with macros is not allowed
                return None if b"vbaProject.bin" in content else (real_extension, content_type)
        return "zip", "application/zip"
    if content.startswith(_OLE):
        return (extension, _OLD_OFFICE[extension]) if extension in _OLD_OFFICE else None
    # Text in UTF-8 or GB 18030, and no page of a browser.
    is_text = extension in _TEXTS and b"\0" not in content and not _PAGE.match(content)
    if is_text and decode_by_first(content, ("utf-8", "gb18030")) is not None:
        return extension, _TEXTS[extension]
    return None


# Content that a browser treats as a page, whatever its name says.
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.{0,1000}?-->\s*)*<(?:!doctype|html|head|body|script|svg|\?xml)\b", re.I | re.S
)


def decode_by_first(content: bytes, encodings: Iterable[str]) -> str | None:
    """Decode `content` by the first of these encodings that fits; None if none does."""
    for encoding in encodings:
        with suppress(UnicodeError):
            return content.decode(encoding)
    return None


_PICTURES = frozenset({"png", "jpg", "gif", "webp"})
# Bytes of a file up to the end of the picture's size. JPEG is missing: its size comes after segments of any length.
_HEADER_BYTES = {"png": 24, "gif": 10, "webp": 30}
# The struct format and the offset of width and height.
_SIZE_PLACES = {"png": (">II", 16), "gif": ("<HH", 6)}
# Limit of the segments read of a JPEG, and the markers of those that hold its size.
_SEGMENTS_AT_MOST = 1000
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _read_picture_size(extension: str, content: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels of a picture of this type; None if its header is broken."""
    if extension == "jpg":
        # The first frame segment holds the size; segments before it are skipped.
        at = 2
        for _segment in range(_SEGMENTS_AT_MOST):
            if at + 9 > len(content) or content[at] != 0xFF:
                return None
            marker = content[at + 1]
            if marker in _FRAMES:
                height, width = struct.unpack_from(">HH", content, at + 5)
                return width, height
            # These markers have no segment. An extra byte 0xFF may precede any marker.
            is_alone = marker in {0xFF, 0x01} or 0xD0 <= marker <= 0xD8
            at += (1 if marker == 0xFF else 2) if is_alone else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        return None
    chunk_type = content[12:16]
    if len(content) < _HEADER_BYTES[extension] or (extension == "png" and chunk_type != b"IHDR"):
        return None
    width, height = 0, 0
    if extension in _SIZE_PLACES:
        pattern, at = _SIZE_PLACES[extension]
        width, height = struct.unpack_from(pattern, content, at)
    elif chunk_type == b"VP8X":
        width, height = 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    elif chunk_type == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    elif chunk_type == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", content[26:30]))
    return width, height
