"""Reads a mail: subject, body, inline pictures, attachments; and the channel's rules for mails. No I/O.

Input is bounded before it is read: the number of lines, the nesting and the length of a header decide how long reading
takes. No mail of a BI comes near the limits.
"""

from __future__ import annotations

import codecs
import mimetypes
import re
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32
from email.utils import collapse_rfc2231_value, parseaddr
from enum import StrEnum
from html import unescape
from typing import Any
from urllib.parse import unquote

from integrations.clients.wecom.builders import drop_direction_marks
from notifications.inbound.content import FILE_BYTES, ChannelRules, decode_by_first, tidy_name

# Extensions that a BI sends, of those that `notifications.inbound.content` allows.
EXTENSIONS = ("xlsx", "xls", "csv", "pdf", "docx", "pptx", "png", "jpg", "jpeg")


class Forward(StrEnum):
    """Recipients who also get the mail itself, through our mail server."""

    NOBODY = ""
    UNKNOWN = "unknown"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class MailRules(ChannelRules):
    """Rules of a mail channel. `takes_text`, `takes_picture`: whether the mail's text and its inline pictures are sent.

    `networks`: from where the channel may sign in; empty: from anywhere. `attachments`: extensions in lower case;
    empty: none are sent. `footers`: beginnings of lines; from the first such line on, the text is left out.
    `tells_sender`: report by mail who cannot be reached. `mail_domains`: the only domains to which reports and
    forwarded mails go, so that nobody can send words to anybody through our mail server.
    """

    networks: tuple[str, ...] = ()
    takes_text: bool = True
    takes_picture: bool = True
    attachments: tuple[str, ...] = EXTENSIONS
    footers: tuple[str, ...] = ()
    tells_sender: bool = False
    forward: str = Forward.NOBODY
    mail_domains: tuple[str, ...] = ()

    def may_mail(self, address: str) -> bool:
        """Return whether a mail of this channel may lead to a mail to this address."""
        return address.rpartition("@")[2].lower() in self.mail_domains


# A mail of 30 MB in base64 has about 400,000 lines.
LINES_AT_MOST = 600_000
# For every line Python's parser checks the boundary of each multipart that contains it.
BOUNDARIES_TIMES_LINES_AT_MOST = 5_000_000
# The time in which Python reads a header grows with the square of the header's length.
HEADER_CHARACTERS = 8_000
PARTS_AT_MOST = 1_000
# Limit of the files of one mail; further ones are left out.
READ_FILES_AT_MOST = 50
BODY_CHARACTERS = 2_000_000
SUBJECT_CHARACTERS = 500
# Limit of a line (RFC 5322, 2.1.1), and the first bytes of the mail, in which the header is searched.
MESSAGE_ID_CHARACTERS, HEAD_BYTES = 998, 64 * 1024
# The header of mails that we forwarded, so that they are not forwarded again.
PASSED_ON = "X-Guanwecom-Passed-On"

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_NOT_IN_A_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# The id of an inline picture in the HTML (RFC 2392), percent-encoded; also in an attribute without quotes.
_CID = re.compile(r"""\bcid:([^\s"'<>)]{1,300})""")
_NOT_IN_AN_ID = re.compile(r"[^\x21-\x7e]+")
_ENCODED_WORDS = re.compile(r"=\?[^?\s]{1,64}\?[bq]\?", re.IGNORECASE)
# Python knows other codecs that take minutes for a long text (idna, punycode) or are no charset (rot13).
_CODECS = frozenset(
    {
        *("ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "big5", "big5hkscs", "cp950"),
        *("shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr", "cp949", "koi8-r", "koi8-u", "mac-roman", "hz"),
        *(f"cp125{digit}" for digit in range(9)),
        *(f"iso8859-{number}" for number in range(1, 17)),
    }
)
# GB 18030 contains all of these, and more characters that senders write although they name one of these.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030"}
# Signatures of the mail itself, which nobody opens.
_SIGNATURES = {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"}
_DATA_PICTURE = re.compile(
    r"""(\bsrc\s*=\s*["']?)data:(image/(?:png|jpe?g|gif));base64,([A-Za-z0-9+/=\s]{1,12000000})""", re.IGNORECASE
)


class UnreadableMailError(Exception):
    """Reading this mail would take too long, also at the next try. `str(error)`: the reason in ASCII, for an SMTP
    answer."""


@dataclass(frozen=True, slots=True)
class MailPart:
    """A picture or a file. `name`: tidied by notifications.inbound.content; `content_type`: the sender's, in lower
    case; `cid`: its name in the HTML; empty for an attachment."""

    name: str
    content_type: str
    content: bytes
    cid: str = ""


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """The parts of a mail that a message is made of. `html` may be empty; `text` is the plain body if there is one.
    `pictures`: those in the HTML, in its order. `left_out`: names of parts that were too large or too many.
    `is_automatic`: the mail expects no answer (RFC 3834). `is_forwarded_by_us`: we forwarded it, with PASSED_ON."""

    subject: str
    sender: str
    html: str
    text: str
    pictures: tuple[MailPart, ...] = ()
    files: tuple[MailPart, ...] = ()
    left_out: tuple[str, ...] = ()
    is_automatic: bool = False
    is_forwarded_by_us: bool = False


def parse_mail(content: bytes) -> ParsedMail:
    """Read a mail as it came by SMTP. Raise UnreadableMailError."""
    # A carriage return alone ends a line, too.
    lines = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
    boundaries = content.lower().count(b"boundary")
    if lines > LINES_AT_MOST:
        raise UnreadableMailError("too many lines")
    if lines * boundaries > BOUNDARIES_TIMES_LINES_AT_MOST:
        raise UnreadableMailError("too many nested parts")
    try:
        message = message_from_bytes(content, policy=_POLICY)
        found = _collect_parts(message)
    except RecursionError:
        raise UnreadableMailError("parts are nested too deep") from None
    html, pictures = _join_texts(found.html, "\n<hr>\n"), found.pictures
    # Pictures inside the HTML (data: URLs) become parts with an id, like the pictures of other senders.
    pieces, end = [], 0
    for match in _DATA_PICTURE.finditer(html) if "base64," in html else ():
        pieces.append(html[end : match.end(1)])
        end = match.end()
        with suppress(ValueError):
            picture = codecs.decode("".join(match[3].split()).encode(), "base64")
            cid, kind = f"data-{len(pictures)}", match[2].lower()
            pictures.append(MailPart(f"{cid}.{kind.rpartition('/')[2]}", kind, bytes(picture), cid))
            pieces.append(f"cid:{cid}")
    html, pictures = "".join([*pieces, html[end:]]), pictures[:READ_FILES_AT_MOST]
    # If the HTML names any picture, the others are attachments.
    places: dict[str, int] = {}
    for place, name in enumerate(map(unescape, _CID.findall(html))):
        places.setdefault(name, place)
        places.setdefault(unquote(name), place)
    shown = sorted((part for part in pictures if part.cid in places), key=lambda part: places[part.cid])
    attached = [part for part in pictures if part.cid not in places] if shown else []
    shown = shown or pictures
    auto_submitted = _read_header(message, "auto-submitted").lower().partition(";")[0].strip()
    is_bulk = _read_header(message, "precedence").lower() in {"bulk", "junk", "list"}
    return ParsedMail(
        subject=_read_subject(message),
        sender=_CONTROLS.sub("", parseaddr(_read_header(message, "from"))[1])[:320],
        html=html[:BODY_CHARACTERS],
        text=_join_texts(found.text, "\n\n")[:BODY_CHARACTERS].replace("\r\n", "\n").strip(),
        pictures=tuple(shown),
        files=tuple([*attached, *found.files][:READ_FILES_AT_MOST]),
        left_out=(*found.left_out, *(part.name for part in [*attached, *found.files][READ_FILES_AT_MOST:])),
        is_automatic=auto_submitted not in {"", "no"} or is_bulk or message.get("list-id") is not None,
        is_forwarded_by_us=message.get(PASSED_ON) is not None,
    )


def find_message_id(content: bytes) -> str:
    """Return the Message-ID without reading the rest of the mail; empty if there is none."""
    head = BytesHeaderParser(policy=_POLICY).parsebytes(content[:HEAD_BYTES])
    return _CONTROLS.sub("", _read_header(head, "message-id"))[:MESSAGE_ID_CHARACTERS].strip()


class _Policy(Compat32):
    """Policy that keeps the original bytes of headers. Python would replace what is not ASCII with question marks."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value


class _Message(Message):
    """Message whose overlong headers are empty, also for Python's parser, which calls `get`."""

    def get(self, name: str, failobj: Any = None) -> Any:
        value = super().get(name, failobj)
        return "" if isinstance(value, str) and len(value) > HEADER_CHARACTERS else value


_POLICY = _Policy(message_factory=_Message)


@dataclass
class _Leaves:
    """The parts of a mail that have no parts of their own, by kind."""

    html: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    pictures: list[MailPart] = field(default_factory=list)
    files: list[MailPart] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def _collect_parts(message: Message) -> _Leaves:
    """Decode the mail's first PARTS_AT_MOST leaves and sort them into texts, pictures and files."""
    found = _Leaves()
    # The leaves in the mail's order, without recursion. A mail inside the mail is one leaf.
    waiting, count = [message], 0
    while waiting and count < PARTS_AT_MOST:
        part = waiting.pop()
        is_node = part.is_multipart() and not part.get_content_type().startswith("message/")
        children = part.get_payload() if is_node else []
        if isinstance(children, list) and children:
            waiting.extend(child for child in reversed(children) if isinstance(child, Message))
            continue
        count += 1
        kind, name = part.get_content_type(), _read_file_name(part)
        is_attached = part.get_content_disposition() == "attachment" or _is_file(part, found)
        if kind == "text/html" and not is_attached:
            found.html.append(_decode_part(part))
        elif kind == "text/plain" and not is_attached:
            found.text.append(_decode_part(part))
        elif kind == "message/rfc822":
            inner: Any = part.get_payload()
            found.left_out.append(name or tidy_name(f"{_read_subject(inner[0] if inner else part)}.eml"))
        elif not kind.startswith(("multipart/", "message/")) and kind not in _SIGNATURES:
            name = name or f"{len(found.files) + 1}{mimetypes.guess_extension(kind) or '.bin'}"
            content = _decode_content(part)
            cid = _NOT_IN_AN_ID.sub("", str(part.get("content-id", ""))).strip("<>")
            if len(content) > FILE_BYTES or len(found.pictures) + len(found.files) >= PARTS_AT_MOST:
                found.left_out.append(name)
            elif kind.startswith("image/") and (cid or part.get_content_disposition() == "inline"):
                found.pictures.append(MailPart(name, kind, content, cid or f"inline-{len(found.pictures)}"))
            elif content:
                found.files.append(MailPart(name, kind, content))
    return found


def _is_file(part: Message, found: _Leaves) -> bool:
    """Return whether a text part is an attachment: it has a file name. The first text is the body even if its type has
    a name, as some senders write."""
    if part.get_param("filename", None, "content-disposition") is not None:
        return True
    has_body = found.html or (found.text and part.get_content_type() == "text/plain")
    return bool(has_body and _read_file_name(part))


def _decode_content(part: Message) -> bytes:
    """Return the decoded content; empty if the encoding is broken."""
    try:
        content = part.get_payload(decode=True)
    except ValueError:
        return b""
    return content if isinstance(content, bytes) else b""


def _decode_part(part: Message) -> str:
    return _NOT_IN_A_TEXT.sub("", decode_text(_decode_content(part), part.get_content_charset("") or ""))


def _join_texts(texts: list[str], separator: str) -> str:
    return separator.join(text for text in texts if text.strip())


def decode_text(content: bytes, charset: str) -> str:
    """Decode `content` by its charset; if that is unknown or wrong, as UTF-8, then as GB 18030. Bytes that fit none
    become question marks."""
    try:
        name = codecs.lookup(charset.strip()[:40]).name
    except (LookupError, ValueError):
        name = ""
    name = _WIDER.get(name, name)
    named = [name] if name in _CODECS else []
    text = decode_by_first(content, [*named, "utf-8", "gb18030"])
    return content.decode(named[0] if named else "utf-8", "replace") if text is None else text


def _read_header(message: Message, name: str) -> str:
    """Return the first header of this name on one line, with its bytes (surrogateescape); empty if there is none."""
    return " ".join(str(message.get(name, "")).split())


def _read_subject(message: Any) -> str:
    return _decode_header(_read_header(message, "subject"))[:SUBJECT_CHARACTERS]


def _decode_header(line: str) -> str:
    """Decode a header's encoded words (RFC 2047) into one line of text, without marks of reading direction."""
    pieces: list[tuple[bytes | str, str | None]] = [(line, None)]
    if _ENCODED_WORDS.search(line):
        try:
            pieces = decode_header(line)
        except (HeaderParseError, ValueError):
            pieces = [(line, None)]
    text = ""
    for piece, charset in pieces:
        if isinstance(piece, bytes):
            content = piece
        else:  # get the original bytes back; a character that was none of them is encoded as UTF-8
            try:
                content = piece.encode("ascii", "surrogateescape")
            except UnicodeEncodeError:
                content = piece.encode("utf-8", "replace")
        text += decode_text(content, charset or "")
    return " ".join(_NOT_IN_A_TEXT.sub("", drop_direction_marks(_CONTROLS.sub(" ", text))).split())


def _read_file_name(part: Message) -> str:
    """Return the part's file name; empty if it has none."""
    for parameter, header in (("filename", "content-disposition"), ("name", "content-type")):
        value = part.get_param(parameter, None, header)
        if value is None:
            continue
        try:
            text = collapse_rfc2231_value(value)
        except (LookupError, ValueError, TypeError):
            text = ""
        if name := _decode_header(text[:HEADER_CHARACTERS]):
            return tidy_name(name)
    return ""
