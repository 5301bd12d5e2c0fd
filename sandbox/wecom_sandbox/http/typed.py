"""Conversion of JSON into dataclasses, with errors that name wrong fields and types; cursors of lists."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def read_integer(text: str) -> int | None:
    """Return the integer that a text represents: ASCII digits, at most 18 of them; None for anything else. int() alone
    accepts the digits of every script, and raises for "--5" and for more than 4,300 digits."""
    return int(text) if _INTEGER.fullmatch(text) else None


T = TypeVar("T")
_DEPTH_MOST = 20


def build(cls: type[T], values: object, *, path: str = "", allowed: frozenset[str] | None = None) -> T:
    """Build an instance from a JSON object. Raise ValueError that names the field."""
    checked = check_fields(cls, values, path=path, allowed=allowed)
    try:
        return cls(**checked)
    except TypeError as error:
        raise ValueError(f"{path or cls.__name__}: {error}") from error


def check_fields(
    cls: type[T], values: object, *, path: str = "", allowed: frozenset[str] | None = None
) -> dict[str, Any]:
    """Check a JSON object's names and types and build nested objects. Raise ValueError. `allowed`: accepted names."""
    where = path or cls.__name__
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must be an object")
    hints = _find_field_types(cls)  # type: ignore[arg-type]  # every class is hashable
    public = hints.keys() if allowed is None else hints.keys() & allowed
    unknown = sorted(set(values) - public)
    if unknown:
        raise ValueError(f"{where} has no {', '.join(map(str, unknown))}; it may have {', '.join(sorted(public))}")
    return {name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()}


def merge(target: object, values: object, *, path: str = "", allowed: frozenset[str] | None = None) -> None:
    """Set the given fields of an instance, all or none. Raise ValueError."""
    for name, value in check_fields(type(target), values, path=path, allowed=allowed).items():
        setattr(target, name, value)


@cache
def _find_field_types(cls: Any) -> dict[str, Any]:
    """Return the public fields of a dataclass and their types."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls) if not field.name.startswith("_")}


def _convert(hint: Any, value: object, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(one for one in arguments if one is not type(None)), value, path)
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f"{path} must be a list")
        return [_convert(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value)]
    if origin is dict:
        return _check_plain_value(dict, value, path)
    if isinstance(hint, type) and is_dataclass(hint):
        return build(hint, value, path=path)
    return _check_plain_value(hint, value, path)


def _check_plain_value(kind: type, value: object, path: str) -> Any:
    wrong_bool = isinstance(value, bool) and kind is not bool
    if wrong_bool or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"{path} must be of type {kind.__name__}")
    if isinstance(value, int | float) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{path} must be a number of at most 64 bits")
    if isinstance(value, dict):
        check_depth(value, path)
    return value


def check_depth(value: object, path: str, *, most: int = _DEPTH_MOST) -> None:
    """Raise ValueError for objects and lists nested deeper than `most` levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inner and not most:
        raise ValueError(f"{path} is nested too deeply")
    for one in inner:
        check_depth(one, path, most=most - 1)


_KEY = secrets.token_bytes(32)


def write_cursor(position: int, *purpose: str) -> str:
    """Make a cursor that is valid for one `purpose` only: a list and its company."""
    return f"{position}-{_sign_position(position, purpose)}"


def read_cursor(cursor: str, *purpose: str) -> int | None:
    """Return the cursor's position, 0 for ""; None for a cursor that was not made for this list."""
    if not cursor:
        return 0
    digits, _, proof = cursor.partition("-")
    position = read_integer(digits)
    if position is None or not hmac.compare_digest(proof.encode(), _sign_position(position, purpose).encode()):
        return None
    return position


def _sign_position(position: int, purpose: tuple[str, ...]) -> str:
    text = "\n".join((str(position), *purpose))
    return hmac.new(_KEY, text.encode(), hashlib.sha256).hexdigest()[:32]
