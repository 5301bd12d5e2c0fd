"""Limits of messages (people of a call, items, bytes, links), and request bodies as bytes. Pure."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

JSON_TYPE = "application/json; charset=UTF-8"
# Whom one message may name: developer.work.weixin.qq.com/document/path/90236.
USERS_AT_MOST = 1000
# Invisible marks that turn the direction of reading (Unicode UAX #9): with them "fdp.exe" reads as "exe.pdf".
_DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class MessageError(ValueError):
    """A value that WeCom would refuse or cut. `field` names it as the documentation does."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def in_reading_order(text: str) -> str:
    """The text without marks that turn the direction of reading."""
    return _DIRECTION_MARKS.sub("", text)


def body_bytes(payload: Mapping[str, Any]) -> bytes:
    """The JSON bytes of a payload: compact, keys in their order, non-ASCII characters as they are, but for marks that
    turn the direction of reading.

    Unescaped: WeCom rejects `\\uXXXX` (40033). Raises MessageError where a text holds half of a surrogate pair,
    which UTF-8 cannot say, or a number that is none.
    """
    try:
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return in_reading_order(text).encode()
    except UnicodeEncodeError as error:
        raise MessageError("body", "a text holds half of a surrogate pair") from error
    except ValueError as error:
        raise MessageError("body", "not possible in JSON") from error


def multipart(content: bytes, *, file_name: str, media_type: str = "application/octet-stream") -> tuple[bytes, str]:
    """A form with one part named `media`: its bytes and its content type.

    Not requests' own: the name must be raw UTF-8. WeCom does not understand `filename*=utf-8''…` (44001) and
    shows a percent-encoded name to the recipient as it is. Raises MessageError for a name with line breaks.
    """
    if not file_name or any(ord(character) < 32 for character in file_name):
        raise MessageError("filename", "is empty or holds control characters")
    if any(ord(character) < 33 for character in media_type) or not media_type.isascii():
        raise MessageError("media_type", "not a media type")
    quoted = file_name.replace("\\", "_").replace('"', "_")
    try:
        name = quoted.encode()
    except UnicodeEncodeError as error:
        raise MessageError("filename", "holds half of a surrogate pair") from error
    boundary = secrets.token_hex(16).encode()
    head = (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="media"; filename="' + name + b'"\r\n'
        b"Content-Type: " + media_type.encode() + b"\r\n\r\n"
    )
    body = head + content + b"\r\n--" + boundary + b"--\r\n"
    return body, f"multipart/form-data; boundary={boundary.decode()}"


# --- What all builders check. Sizes are bytes of UTF-8 unless a name says characters ---

LINK_BYTES = 2048


def utf8_size(field: str, value: str) -> int:
    """The bytes of a text. Raises MessageError for half of a surrogate pair."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise MessageError(field, "holds half of a surrogate pair") from None


def check_bytes(field: str, value: str, limit_bytes: int, *, is_optional: bool = False) -> None:
    """Raises MessageError unless `value` has at most `limit_bytes` bytes of UTF-8, and at least one if not optional."""
    if not in_reading_order(value) and not is_optional:
        raise MessageError(field, "is empty")
    size = utf8_size(field, value)
    if size > limit_bytes:
        raise MessageError(field, f"{size} bytes of UTF-8, at most {limit_bytes}")


def check_characters(field: str, value: str, shortest: int, longest: int) -> None:
    """Raises MessageError unless `value` has `shortest` to `longest` characters."""
    utf8_size(field, value)
    length = len(in_reading_order(value))
    if not shortest <= length <= longest:
        raise MessageError(field, f"{length} characters, {shortest} to {longest}")


def check_count(field: str, count: int, limit: int, *, at_least: int = 0) -> None:
    """Raises MessageError unless `count` is from `at_least` to `limit`."""
    if not at_least <= count <= limit:
        raise MessageError(field, f"{count}, {at_least} to {limit}" if at_least else f"{count}, at most {limit}")


def check_unique(field: str, values: Sequence[str]) -> None:
    """Raises MessageError where one of `values` stands twice."""
    if len(set(values)) != len(values):
        raise MessageError(field, "used twice")


def check_link(field: str, url: str, limit_bytes: int = LINK_BYTES, *, is_optional: bool = False) -> None:
    """Raises MessageError unless `url` is a full address with http or https, of at most `limit_bytes` bytes."""
    check_bytes(field, url, limit_bytes, is_optional=is_optional)
    if not url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MessageError(field, "not an address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise MessageError(field, "a full address with http or https")
