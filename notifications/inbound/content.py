"""Text, pictures and files of other systems, made safe for a message. Pure.

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
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from integrations.clients.wecom.builders import in_reading_order
from integrations.core.sentences import Sentence, SentenceError
from notifications.models import IncomingMessage, Medium, MessageForm
from notifications.models.inbound import LINK_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS
from notifications.reports.templates.values import escaped

# Includes halves of surrogate pairs, which databases refuse. Line ends and tabs stay.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?")
_START = re.compile(r"(?P<quote>(?:>[ \t]?)*)(?P<heading>#{1,6}[ \t]+)?(?P<bullet>[*+-][ \t]+)?")
# Marks between two pieces of plain text; a picture becomes a link.
_INLINE = re.compile(
    r"!?\[(?P<label>[^\[\]]+)\]\((?P<url>https?://[^\s()<>]+)\)"
    r"|<(?P<bare>https?://[^\s<>]+)>"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|`(?P<code>[^`]+)`"
)
_LOOK_ALIKES = str.maketrans({"<": "＜", ">": "＞", "[": "［", "]": "］"})  # noqa: RUF001  # on purpose


def safe_title(title: str) -> str:
    """Return the title as one line of allowed length, without markup of any form; empty if nothing can be shown."""
    line = " ".join(in_reading_order(_CONTROLS.sub(" ", title)).split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"


def safe_text(text: str) -> str:
    """Return the text with plain line ends and without unprintable characters, cut to TEXT_CHARACTERS."""
    plain = in_reading_order(_CONTROLS.sub("", _LINE_ENDS.sub("\n", text[: 2 * TEXT_CHARACTERS]))).strip()
    return plain if len(plain) <= TEXT_CHARACTERS else plain[: TEXT_CHARACTERS - 1] + "…"


def safe_link(link: str) -> str:
    """Return `link` if it is an http or https address that a message may have; else an empty string."""
    if len(link) > LINK_CHARACTERS or not link.isprintable() or " " in link:
        return ""
    try:
        found = urlsplit(link)
    except ValueError:
        return ""
    return link if found.scheme in {"http", "https"} and found.hostname else ""


def text_for(form: str, text: str, markup: str) -> str:
    """Return a safe text in the form's own syntax."""
    if markup != IncomingMessage.Markup.MARKDOWN:
        return "\n".join(escaped(line, form) for line in text.split("\n"))
    if form == MessageForm.MARKDOWN:
        return "\n".join(_marked(line) for line in text.split("\n"))
    return "\n".join(escaped(_unmarked(line), form) for line in text.split("\n"))


def _marked(line: str) -> str:
    """Write a line of Markdown with the allowed marks only."""
    start = _START.match(line)
    quote, heading, bullet = (start["quote"], start["heading"], start["bullet"]) if start else ("", "", "")
    rest = line[start.end() :] if start else line
    return ("> " if quote else "") + (heading or "") + ("- " if bullet else "") + _each_piece(rest, _let_through)


def _unmarked(line: str) -> str:
    """Write a line of Markdown in plain words, each address behind its label."""
    start = _START.match(line)
    bullet = "- " if start and start["bullet"] else ""
    return bullet + _INLINE.sub(_in_words, line[start.end() :] if start else line)


def _each_piece(line: str, shown: Callable[[re.Match[str]], str]) -> str:
    """Replace text between marks by look-alikes, and marks by what `shown` returns."""
    pieces, end = [], 0
    for mark in _INLINE.finditer(line):
        pieces += [_between(line[end : mark.start()]), shown(mark)]
        end = mark.end()
    return "".join([*pieces, _between(line[end:])])


def _between(text: str) -> str:
    return text.translate(_LOOK_ALIKES)


def _let_through(mark: re.Match[str]) -> str:
    if mark["url"]:
        return f"[{_between(mark['label'])}]({mark['url']})"
    if mark["bare"]:
        return mark["bare"]
    return f"**{_between(mark['bold'])}**" if mark["bold"] else f"`{_between(mark['code'])}`"


def _in_words(mark: re.Match[str]) -> str:
    if mark["url"]:
        return mark["url"] if mark["label"] == mark["url"] else f"{mark['label']} ({mark['url']})"
    return mark["bare"] or mark["bold"] or mark["code"]


# --- Pictures and files ---

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


class FileRefusedError(SentenceError):
    """The file is not sent: it is too large, empty, or of a type that is not allowed."""


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


def checked(name: str, content: bytes) -> CheckedFile:
    """Return the file as it may be sent. Raise FileRefusedError. WeCom shows PNG and JPEG pictures of up to 10 MB;
    other pictures are sent as files."""
    tidy = tidy_name(name)
    if len(content) < LEAST_BYTES:
        raise FileRefusedError(Sentence("“%(name)s” is empty, or has fewer than 6 bytes.") % {"name": tidy})
    if len(content) > FILE_BYTES:
        raise FileRefusedError(Sentence("“%(name)s” is larger than 20 MB.") % {"name": tidy})
    extension = tidy.rpartition(".")[2].lower() if "." in tidy else ""
    found = _type_of(extension, content)
    if found is None:
        raise FileRefusedError(
            Sentence("“%(name)s” is none of the types that are let through, or not what it is called.") % {"name": tidy}
        )
    proper, content_type = found
    named = tidy if extension in _SAME.get(proper, {proper}) else f"{tidy}.{proper}"
    if proper not in _SIZES:
        return CheckedFile(named, Medium.Kind.FILE, content_type, content)
    size = _SIZES[proper](content)
    if size is None or not all(size):
        raise FileRefusedError(Sentence("“%(name)s” is a broken picture.") % {"name": tidy})
    if size[0] * size[1] > PIXELS_AT_MOST:
        raise FileRefusedError(Sentence("“%(name)s” has more than 40 million pixels.") % {"name": tidy})
    is_shown = proper in {"png", "jpg"} and len(content) <= PICTURE_BYTES
    return CheckedFile(named, Medium.Kind.PICTURE if is_shown else Medium.Kind.FILE, content_type, content, *size)


def tidy_name(name: str) -> str:
    """Return the name without folders and without characters that file systems refuse."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    tidy = " ".join(_NOT_IN_NAMES.sub(" ", last).split()).strip(". ")
    stem, dot, extension = tidy.rpartition(".")
    if len(tidy) <= NAME_CHARACTERS:
        return tidy or "file"
    return f"{stem[:NAME_CHARACTERS].rstrip()}{dot}{extension[:10]}" if stem else tidy[:NAME_CHARACTERS]


# --- Types by content: the proper extension and the media type ---

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# The last record of an archive, and the most bytes from its beginning: the record and a comment.
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
_SAME = {"jpg": {"jpg", "jpeg", "jpe"}}


def _type_of(extension: str, content: bytes) -> tuple[str, str] | None:
    for magic, proper, content_type in _MAGIC:
        if content.startswith(magic):
            return proper, content_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp", "image/webp"
    if content.startswith(_ZIP):
        return _archive(content)
    if content.startswith(_OLE):
        return (extension, _OLD_OFFICE[extension]) if extension in _OLD_OFFICE else None
    if extension in _TEXTS and _is_text(content):
        return extension, _TEXTS[extension]
    return None


def _archive(content: bytes) -> tuple[str, str] | None:
    """Recognise an archive by names in it. They are only searched for: reading the list of members could be costly."""
    if _END_OF_ARCHIVE not in content[-_END_BYTES:]:
        return None
    for proper, (member, content_type) in _OFFICE.items():
        if member in content:
            return None if b"vbaProject.bin" in content else (proper, content_type)
    return "zip", "application/zip"


# Content that a browser treats as a page, whatever its name says.
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.{0,1000}?-->\s*)*<(?:!doctype|html|head|body|script|svg|\?xml)\b", re.I | re.S
)


def _is_text(content: bytes) -> bool:
    if b"\0" in content or _PAGE.match(content):
        return False
    for encoding in ("utf-8", "gb18030"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return True
    return False


# --- Sizes of pictures, from their headers ---


def _png_size(content: bytes) -> tuple[int, int] | None:
    if len(content) < 24 or content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _gif_size(content: bytes) -> tuple[int, int] | None:
    if len(content) < 10:
        return None
    width, height = struct.unpack("<HH", content[6:10])
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return the size in the first frame; segments before it are skipped."""
    at = 2
    for _segment in range(_SEGMENTS_AT_MOST):
        if at + 9 > len(content) or content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        # These markers have no segment. An extra byte 0xFF may precede any marker.
        is_alone = marker in {0xFF, 0x01} or 0xD0 <= marker <= 0xD8
        at += (1 if marker == 0xFF else 2) if is_alone else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


_SEGMENTS_AT_MOST = 1000
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _webp_size(content: bytes) -> tuple[int, int] | None:
    head = content[12:16]
    if len(content) < 30:
        return None
    if head == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if head == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if head == b"VP8 ":
        width, height = struct.unpack("<HH", content[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


_SIZES: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "png": _png_size,
    "jpg": _jpeg_size,
    "gif": _gif_size,
    "webp": _webp_size,
}
