"""What all builders check. Sizes are bytes of UTF-8 unless a name says characters."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from integrations.wecom.bodies import MessageError

LINK_BYTES = 2048


def utf8_size(field: str, value: str) -> int:
    """The bytes of a text. Raises MessageError for half of a surrogate pair."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise MessageError(field, "holds half of a surrogate pair") from None


def check_bytes(field: str, value: str, limit_bytes: int, *, is_optional: bool = False) -> None:
    """A text that must be there, unless it is optional, and fit. Raises MessageError."""
    if not value and not is_optional:
        raise MessageError(field, "is empty")
    size = utf8_size(field, value)
    if size > limit_bytes:
        raise MessageError(field, f"{size} bytes of UTF-8, at most {limit_bytes}")


def check_characters(field: str, value: str, shortest: int, longest: int) -> None:
    """A text with so many characters. Raises MessageError."""
    utf8_size(field, value)
    if not shortest <= len(value) <= longest:
        raise MessageError(field, f"{len(value)} characters, {shortest} to {longest}")


def check_count(field: str, count: int, limit: int, *, at_least: int = 0) -> None:
    """A list of so many. Raises MessageError."""
    if not at_least <= count <= limit:
        raise MessageError(field, f"{count}, {at_least} to {limit}" if at_least else f"{count}, at most {limit}")


def check_unique(field: str, values: Sequence[str]) -> None:
    """Keys that must differ. Raises MessageError."""
    if len(set(values)) != len(values):
        raise MessageError(field, "used twice")


def check_link(field: str, url: str, limit_bytes: int = LINK_BYTES, *, is_optional: bool = False) -> None:
    """A full address with http or https. Raises MessageError."""
    check_bytes(field, url, limit_bytes, is_optional=is_optional)
    if not url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MessageError(field, "not an address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise MessageError(field, "a full address with http or https")
