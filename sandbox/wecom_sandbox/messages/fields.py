"""Reading one field of a message as WeCom reads it: refuse what is missing, cut in silence what is too long."""

from __future__ import annotations

import re
from collections.abc import Callable

from wecom_sandbox.errors import ApiError

Json = dict[str, object]
# Raises ApiError 40007 for a media_id that is unknown, expired or of another kind; returns the file's name.
MediaCheck = Callable[[str, str], str]
# Whether a userid is somebody of the company.
MemberCheck = Callable[[str], bool]
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S")


def invalid(name: str) -> ApiError:
    """The error of a field that is of the wrong type or too long."""
    return ApiError(40058, f"invalid Request Parameter: {name}")


def child(parent: Json, name: str, *, missing: int | None = None) -> Json:
    """An object; {} when absent and `missing` is None. Raises ApiError."""
    value = parent.get(name)
    if value is None or value == "":
        if missing is not None:
            raise ApiError(missing)
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{name} should be object")
    return value


def children(parent: Json, name: str, *, least: int, most: int, wrong: int) -> list[Json]:
    """A list of objects; [] when absent and `least` is 0. Raises ApiError `wrong` for another length."""
    value = parent.get(name, [])
    if value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(f"{name} should be array of objects")
    if not least <= len(value) <= most:
        raise ApiError(wrong)
    return value


def text(parent: Json, name: str, *, missing: int | None = None, cut: int | None = None) -> str:
    """A text; "" when absent and `missing` is None. `cut`: bytes of UTF-8 that are kept, inside a character too."""
    value = parent.get(name)
    if value is None or value == "":
        if missing is not None:
            raise ApiError(missing)
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise invalid(f"{name} should be string")
    if cut is not None and len(value.encode()) > cut:
        return value.encode()[:cut].decode(errors="replace")
    return value


def texts(parent: Json, name: str) -> list[str]:
    """A list of texts; [] when absent. Raises ApiError 40058."""
    value = parent.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"{name} should be array of strings")
    return list(value)


def link(parent: Json, name: str, *, missing: int | None = None, most: int = 2048) -> str:
    """An address with its scheme, at most `most` bytes. Raises ApiError `missing`, 45034 or 40039."""
    url = text(parent, name, missing=missing)
    if url and not _SCHEME.match(url):
        raise ApiError(45034)
    if len(url.encode()) > most:
        raise ApiError(40039)
    return url


def number(parent: Json, name: str, default: int = 0, *, least: int = 0, most: int = 2**31) -> int:
    """A number, not its digits as a text: what a card's `type` opens depends on it. Raises ApiError 40058."""
    value = parent.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise invalid(name)
    return value


def key(parent: Json, name: str, *, missing: int, wrong: int, most: int = 1024) -> str:
    """A key of at most `most` bytes."""
    value = text(parent, name, missing=missing)
    if len(value.encode()) > most:
        raise ApiError(wrong)
    return value


def unique(values: list[str], wrong: int) -> None:
    """Raises ApiError `wrong` for a value that stands twice."""
    if len(set(values)) != len(values):
        raise ApiError(wrong)
