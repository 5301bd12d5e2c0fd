"""Reading and writing of bodies: JSON (large documents row by row), uploaded files, and XML of callbacks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from wecom_sandbox.errors import ApiError
from wecom_sandbox.http.typed import read_integer

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def encode_in_pieces(document: object) -> Iterator[bytes]:
    """Yield the document as JSON in pieces. It may have iterators in place of lists: each of their rows is one piece,
    which is made when it is asked for. All other values are encoded at once."""
    if isinstance(document, Iterator):
        yield b"["
        for number, row in enumerate(document):
            yield from _prepend_comma(number, encode_in_pieces(row))
        yield b"]"
    elif isinstance(document, dict) and any(isinstance(value, Iterator) for value in document.values()):
        yield b"{"
        for number, (name, value) in enumerate(document.items()):
            yield from _prepend_comma(number, encode_in_pieces(name))
            yield b": "
            yield from encode_in_pieces(value)
        yield b"}"
    else:
        yield _ENCODER.encode(document).encode()


def _prepend_comma(number: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Put the comma into the first piece, so that a row stays one piece."""
    yield (b", " if number else b"") + next(pieces)
    yield from pieces


def _parse_finite_number(text: str) -> float:
    """Parse a number. Raise ValueError for numbers such as 1e400, which Python reads as infinity."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    """Raise ValueError for NaN, Infinity and -Infinity, which only Python's reader accepts."""
    raise ValueError(f"{name} is not JSON")


# An escaped surrogate. The escapes of Chinese characters, which most programs send, do not match.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRICT = json.JSONDecoder(parse_float=_parse_finite_number, parse_constant=_refuse_constant)
_LENIENT = json.JSONDecoder(parse_float=_parse_finite_number, parse_constant=_refuse_constant, strict=False)


def parse_json(text: str | bytes) -> object:
    """Parse JSON strictly. Raise ValueError, also for Python's extensions of JSON, for unpaired surrogates and for
    documents nested too deeply."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        document: object = _STRICT.decode(text)
        _check_unicode(text, document)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return document


def parse_json_at(text: str, start: int) -> object:
    """Parse the document that begins at `start`. Its texts may hold raw line ends. Raise ValueError."""
    try:
        document: object = _LENIENT.raw_decode(text, start)[0]
        _check_unicode(text, document)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return document


def _check_unicode(text: str, document: object) -> None:
    """Raise UnicodeEncodeError, a ValueError, if an escape in `text` is an unpaired surrogate."""
    if _SURROGATE.search(text):
        json.dumps(document, ensure_ascii=False).encode()


_BOUNDARY = re.compile(r"""boundary=(?:"([^"]+)"|([^;\s]+))""", re.IGNORECASE)
_NAME = re.compile(rb"""[;\s]name=(?:"([^"]*)"|([^;\s]+))""", re.IGNORECASE)
_FILENAME = re.compile(rb"""[;\s]filename=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    filename: str
    content_type: str
    body: bytes


def read_media(content_type: str, body: bytes) -> Upload:
    """Return the part named `media`. Raise ApiError 44001 if it has no data or name, 40033 for a name not in UTF-8."""
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or match is None:
        raise ApiError(44001)
    boundary = b"--" + (match.group(1) or match.group(2)).encode(errors="surrogateescape")
    for piece in (b"\r\n" + body).split(b"\r\n" + boundary)[1:]:
        head, found, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not found or piece.startswith(b"--"):
            continue
        headers = _read_headers(head)
        disposition = headers.get(b"content-disposition", b"")
        if _find_first(_NAME, disposition) == b"media":
            return _make_upload(headers, disposition, content)
    raise ApiError(44001)


def _read_headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _find_first(pattern: re.Pattern[bytes], text: bytes) -> bytes | None:
    match = pattern.search(text)
    return None if match is None else match.group(1) or match.group(2) or b""


def _make_upload(headers: dict[bytes, bytes], disposition: bytes, content: bytes) -> Upload:
    filename = _find_first(_FILENAME, disposition)
    if not filename or not content:
        raise ApiError(44001)
    try:
        name = filename.decode()
    except UnicodeDecodeError as error:
        raise ApiError(40033) from error
    kind = headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
    return Upload(name.replace('\\"', '"'), kind, content)


_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Characters that no XML document may hold, not even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LIST_FIELDS = frozenset(
    {
        "horizontal_content_list",
        "vertical_content_list",
        "jump_list",
        "button_list",
        "option_list",
        "select_list",
        "action_list",
    }
)
# Fields that are one word in a card's JSON and two in the CamelCase of a reply (WeCom's pages 90241 and 90236).
_ONE_WORD_FIELDS = {
    "key_name": "keyname",
    "check_box": "checkbox",
    "app_id": "appid",
    "page_path": "pagepath",
    "user_id": "userid",
}
_INTEGER_FIELDS = frozenset({"type", "style", "mode", "desc_color"})


def write_xml(elements: Mapping[str, object]) -> str:
    """Write <xml>…</xml>: texts as CDATA, numbers bare, a mapping as nested elements, a list as repeated elements."""
    return f"<xml>{_write_elements(elements)}</xml>"


def _write_elements(elements: Mapping[str, object]) -> str:
    return "".join(
        f"<{name}>{_write_value(item)}</{name}>"
        for name, value in elements.items()
        for item in (value if isinstance(value, list) else [value])
    )


def _write_value(value: object) -> str:
    if isinstance(value, Mapping):
        return _write_elements(value)
    if isinstance(value, int | float):
        return str(value)
    text = _NOT_IN_XML.sub("\ufffd", str(value))
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def parse_xml(text: bytes) -> Element:
    """Parse an XML document without a DTD. Raise ValueError for anything else."""
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ValueError("not XML") from error
    return root


def convert_card(element: Element) -> dict[str, object]:
    """Convert <TemplateCard> in CamelCase to the card's JSON: MainTitle/Title becomes main_title.title."""
    card: dict[str, Any] = {}
    for child in element:
        name = _WORD_BORDER.sub("_", child.tag).lower()
        name = _ONE_WORD_FIELDS.get(name, name)
        value = convert_card(child) if len(child) else _convert_text(name, child.text or "")
        if name in _LIST_FIELDS:
            card.setdefault(name, []).append(value)
        else:
            card[name] = value
    return card


def _convert_text(name: str, text: str) -> object:
    text = text.strip()
    number = read_integer(text) if name in _INTEGER_FIELDS else None
    if number is not None:
        return number
    if name in ("is_checked", "disable"):
        return text.lower() in ("true", "1")
    if name == "aspect_ratio":
        try:
            return float(text)
        except ValueError:
            return text
    return text
