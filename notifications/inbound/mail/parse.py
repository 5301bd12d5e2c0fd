"""Reads a mail: subject, body, inline pictures, attachments; and the rules of a channel for it. Pure.

Whatever arrives is bounded before it is read: the lines, the nesting and the length of a header decide how long
reading takes, and none of them is what a BI sends.
"""

from __future__ import annotations

import codecs
import ipaddress
import mimetypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
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

from integrations.clients.wecom.builders import in_reading_order
from notifications.inbound.content import FILE_BYTES, tidy_name

# Of what `notifications.inbound.content` lets through, what a BI sends.
EXTENSIONS = ("xlsx", "xls", "csv", "pdf", "docx", "pptx", "png", "jpg", "jpeg")


class Forward(StrEnum):
    """Who gets the mail itself, too, by our own mail server."""

    NOBODY = ""
    UNKNOWN = "unknown"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class MailRules:
    """Kept in InboundChannel.mapping. A rule that is missing there has the value that it has here.

    `networks`: from where the channel may sign in; empty: from wherever one may connect. `attachments`: extensions in
    small letters; empty: none are sent. `footers`: beginnings of lines; from the first such line on, the rest is left
    out. `tells_sender`: of people who cannot be reached, by mail. `mail_domains`: mails because of a mail go to these
    alone, so that nobody sends words to whom they like by our mail server.
    """

    networks: tuple[str, ...] = ()
    takes_text: bool = True
    takes_picture: bool = True
    attachments: tuple[str, ...] = EXTENSIONS
    footers: tuple[str, ...] = ()
    tells_sender: bool = False
    forward: str = Forward.NOBODY
    mail_domains: tuple[str, ...] = ()

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> MailRules:
        """From a channel's row."""
        known = {one.name for one in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in mapping.items() if name in known
        }
        return cls(**values)

    def document(self) -> dict[str, Any]:
        """For a channel's row."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def admits(self, address: str) -> bool:
        """Whether the channel may sign in from this IP address."""
        networks = [ipaddress.ip_network(network) for network in self.networks]
        return not networks or any(ipaddress.ip_address(address) in network for network in networks)

    def mails_to(self, address: str) -> bool:
        return address.rpartition("@")[2].lower() in self.mail_domains


# A mail of 30 MB in base64 has some 400,000.
LINES_AT_MOST = 600_000
# Python's parser looks, for every line, at the boundary of each multipart that it is in.
BOUNDARIES_TIMES_LINES_AT_MOST = 5_000_000
# What Python reads in a header takes time that grows with the square of its length.
HEADER_CHARACTERS = 8_000
PARTS_AT_MOST = 1_000
# Of one mail; what comes after them is left out.
READ_FILES_AT_MOST = 50
BODY_CHARACTERS = 2_000_000
SUBJECT_CHARACTERS = 500
# RFC 5322, 2.1.1: of a line. It stands in the header's first bytes.
MESSAGE_ID_CHARACTERS, HEAD_BYTES = 998, 64 * 1024
# A header of mails that we pass on: they are passed on no second time.
PASSED_ON = "X-Guanwecom-Passed-On"

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_NOT_IN_A_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# RFC 2392: percent-encoded, also in an attribute without quotes.
_CID = re.compile(r"""\bcid:([^\s"'<>)]{1,300})""")
_NOT_IN_AN_ID = re.compile(r"[^\x21-\x7e]+")
_ENCODED_WORDS = re.compile(r"=\?[^?\s]{1,64}\?[bq]\?", re.IGNORECASE)
# Python knows others that take minutes for a long text (idna, punycode), or that are none (rot13).
_CODECS = frozenset(
    {
        *("ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "big5", "big5hkscs", "cp950"),
        *("shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr", "cp949", "koi8-r", "koi8-u", "mac-roman", "hz"),
        *(f"cp125{digit}" for digit in range(9)),
        *(f"iso8859-{number}" for number in range(1, 17)),
    }
)
# GB 18030 contains both, and what senders write under their names.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030"}
# Of a mail itself: nobody opens them.
_SIGNATURES = {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"}
_DATA_PICTURE = re.compile(
    r"""(\bsrc\s*=\s*["']?)data:(image/(?:png|jpe?g|gif));base64,([A-Za-z0-9+/=\s]{1,12000000})""", re.IGNORECASE
)


class UnreadableMailError(Exception):
    """Reading this mail would take too long, whoever tries again. `str(error)`: why, in ASCII, for an SMTP answer."""


@dataclass(frozen=True, slots=True)
class Part:
    """A picture or a file. `name`: as notifications.inbound.content tidies it; `content_type`: as the sender says, in
    small letters; `cid`: by which the HTML names it; empty for an attachment."""

    name: str
    content_type: str
    content: bytes
    cid: str = ""


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """What of a mail a message can be made.

    `html` may be empty; `text` is the plain body where there is one. `pictures`: those that stand in
    the HTML, in its order. `left_out`: names of what was too large or too much. `is_automatic`: nobody answers it
    (RFC 3834). `is_passed_on`: by us, with PASSED_ON.
    """

    subject: str
    sender: str
    html: str
    text: str
    pictures: tuple[Part, ...] = ()
    files: tuple[Part, ...] = ()
    left_out: tuple[str, ...] = ()
    is_automatic: bool = False
    is_passed_on: bool = False


def parse(content: bytes) -> ParsedMail:
    """Read a mail as it came by SMTP. Raises UnreadableMailError."""
    # A carriage return alone ends a line, too.
    lines = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
    boundaries = content.lower().count(b"boundary")
    if lines > LINES_AT_MOST:
        raise UnreadableMailError("too many lines")
    if lines * boundaries > BOUNDARIES_TIMES_LINES_AT_MOST:
        raise UnreadableMailError("too many nested parts")
    try:
        message = message_from_bytes(content, policy=_POLICY)
        found = _collected(message)
    except RecursionError:
        raise UnreadableMailError("parts are nested too deep") from None
    html, pictures = _with_data_pictures(_joined(found.html, "\n<hr>\n"), found.pictures)
    shown, attached = _by_reference(html, pictures)
    return ParsedMail(
        subject=_subject(message),
        sender=_CONTROLS.sub("", parseaddr(_line(message, "from"))[1])[:320],
        html=html[:BODY_CHARACTERS],
        text=_joined(found.text, "\n\n")[:BODY_CHARACTERS].replace("\r\n", "\n").strip(),
        pictures=tuple(shown),
        files=tuple([*attached, *found.files][:READ_FILES_AT_MOST]),
        left_out=(*found.left_out, *(part.name for part in [*attached, *found.files][READ_FILES_AT_MOST:])),
        is_automatic=_is_automatic(message),
        is_passed_on=message.get(PASSED_ON) is not None,
    )


def find_message_id(content: bytes) -> str:
    """Read the Message-ID of a mail, and nothing else of it; empty where there is none."""
    head = BytesHeaderParser(policy=_POLICY).parsebytes(content[:HEAD_BYTES])
    return _CONTROLS.sub("", _line(head, "message-id"))[:MESSAGE_ID_CHARACTERS].strip()


class _Policy(Compat32):
    """Headers as they came, with their bytes: Python would put a question mark in place of what is not ASCII."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value


class _Message(Message):
    """A header that is too long is an empty one, also for Python's parser, which asks here."""

    def get(self, name: str, failobj: Any = None) -> Any:
        value = super().get(name, failobj)
        return "" if isinstance(value, str) and len(value) > HEADER_CHARACTERS else value


_POLICY = _Policy(message_factory=_Message)


@dataclass
class _Collected:
    """The leaves of a mail, by what they are."""

    html: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    pictures: list[Part] = field(default_factory=list)
    files: list[Part] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def _collected(message: Message) -> _Collected:
    found = _Collected()
    for number, part in enumerate(_leaves(message), start=1):
        if number > PARTS_AT_MOST:
            break
        kind, name = part.get_content_type(), _file_name(part)
        is_attached = part.get_content_disposition() == "attachment" or _is_file(part, found)
        if kind == "text/html" and not is_attached:
            found.html.append(_text(part))
        elif kind == "text/plain" and not is_attached:
            found.text.append(_text(part))
        elif kind == "message/rfc822":
            inner: Any = part.get_payload()
            found.left_out.append(name or tidy_name(f"{_subject(inner[0] if inner else part)}.eml"))
        elif not kind.startswith(("multipart/", "message/")) and kind not in _SIGNATURES:
            _keep(found, part, kind, name or f"{len(found.files) + 1}{mimetypes.guess_extension(kind) or '.bin'}")
    return found


def _is_file(part: Message, found: _Collected) -> bool:
    """Whether a text is an attachment: it has a file name, unless it is the first text and only its type has the name,
    as some senders name the body."""
    if part.get_param("filename", None, "content-disposition") is not None:
        return True
    has_body = found.html or (found.text and part.get_content_type() == "text/plain")
    return bool(has_body and _file_name(part))


def _keep(found: _Collected, part: Message, kind: str, name: str) -> None:
    content = _content(part)
    if len(content) > FILE_BYTES or len(found.pictures) + len(found.files) >= PARTS_AT_MOST:
        found.left_out.append(name)
        return
    cid = _NOT_IN_AN_ID.sub("", str(part.get("content-id", ""))).strip("<>")
    if kind.startswith("image/") and (cid or part.get_content_disposition() == "inline"):
        found.pictures.append(Part(name, kind, content, cid or f"inline-{len(found.pictures)}"))
    elif content:
        found.files.append(Part(name, kind, content))


def _leaves(message: Message) -> Iterator[Message]:
    """In the mail's order, without recursion. A mail inside the mail is one leaf."""
    waiting: list[Message] = [message]
    while waiting:
        part = waiting.pop()
        children = (
            part.get_payload() if part.is_multipart() and not part.get_content_type().startswith("message/") else []
        )
        if isinstance(children, list) and children:
            waiting.extend(child for child in reversed(children) if isinstance(child, Message))
        else:
            yield part


def _content(part: Message) -> bytes:
    """What is broken in its encoding is left away."""
    try:
        content = part.get_payload(decode=True)
    except ValueError:
        return b""
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    return _NOT_IN_A_TEXT.sub("", decoded(_content(part), part.get_content_charset("") or ""))


def _joined(texts: list[str], separator: str) -> str:
    return separator.join(text for text in texts if text.strip())


def decoded(content: bytes, charset: str) -> str:
    """`content` by its charset; where that is unknown or wrong, as UTF-8, then as GB 18030. What fits none is shown as
    a question mark."""
    named = _codec(charset)
    for codec in dict.fromkeys([*([named] if named else []), "utf-8", "gb18030"]):
        try:
            return content.decode(codec)
        except UnicodeError:
            continue
    return content.decode(named or "utf-8", "replace")


def _codec(charset: str) -> str:
    """Python's name for it; empty where it is none of those that are known."""
    try:
        name = codecs.lookup(charset.strip()[:40]).name
    except (LookupError, ValueError):
        return ""
    name = _WIDER.get(name, name)
    return name if name in _CODECS else ""


def _line(message: Message, name: str) -> str:
    """The first header of this name on one line, with its bytes (surrogateescape); empty where there is none."""
    return " ".join(str(message.get(name, "")).split())


def _subject(message: Any) -> str:
    return _decoded_header(_line(message, "subject"))[:SUBJECT_CHARACTERS]


def _decoded_header(line: str) -> str:
    """A header's encoded words (RFC 2047) as text in its reading order."""
    pieces: list[tuple[bytes | str, str | None]] = [(line, None)]
    if _ENCODED_WORDS.search(line):
        try:
            pieces = decode_header(line)
        except (HeaderParseError, ValueError):
            pieces = [(line, None)]
    text = "".join(
        decoded(_bytes(piece), charset or "") if isinstance(piece, str) else decoded(piece, charset or "")
        for piece, charset in pieces
    )
    return " ".join(_NOT_IN_A_TEXT.sub("", in_reading_order(_CONTROLS.sub(" ", text))).split())


def _bytes(text: str) -> bytes:
    """The bytes that came; of what a header names as bytes of another charset, its characters in UTF-8."""
    try:
        return text.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _file_name(part: Message) -> str:
    """Empty where it has none."""
    for parameter, header in (("filename", "content-disposition"), ("name", "content-type")):
        value = part.get_param(parameter, None, header)
        if value is None:
            continue
        try:
            text = collapse_rfc2231_value(value)
        except (LookupError, ValueError, TypeError):
            text = ""
        if name := _decoded_header(text[:HEADER_CHARACTERS]):
            return tidy_name(name)
    return ""


def _with_data_pictures(html: str, pictures: list[Part]) -> tuple[str, list[Part]]:
    """Pictures that stand in the HTML itself become parts with an id, as those of other senders are."""
    found = list(pictures)

    def taken(match: re.Match[str]) -> str:
        try:
            content = codecs.decode("".join(match[3].split()).encode(), "base64")
        except ValueError:
            return match[1]
        cid, kind = f"data-{len(found)}", match[2].lower()
        found.append(Part(f"{cid}.{kind.rpartition('/')[2]}", kind, bytes(content), cid))
        return f"{match[1]}cid:{cid}"

    return (_DATA_PICTURE.sub(taken, html) if "base64," in html else html), found[:READ_FILES_AT_MOST]


def _by_reference(html: str, pictures: list[Part]) -> tuple[list[Part], list[Part]]:
    """Pictures in the order in which the HTML shows them, then those that it does not name; and, where there is HTML
    that names others, those as attachments."""
    places: dict[str, int] = {}
    for place, name in enumerate(map(unescape, _CID.findall(html))):
        places.setdefault(name, place)
        places.setdefault(unquote(name), place)
    named = sorted((part for part in pictures if part.cid in places), key=lambda part: places[part.cid])
    others = [part for part in pictures if part.cid not in places]
    return (named, others) if named else (others, [])


def _is_automatic(message: Message) -> bool:
    if _line(message, "auto-submitted").lower().partition(";")[0].strip() not in {"", "no"}:
        return True
    return _line(message, "precedence").lower() in {"bulk", "junk", "list"} or message.get("list-id") is not None
