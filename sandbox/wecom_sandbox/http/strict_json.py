"""Reading JSON from outside without surprises later on."""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn


def _finite(text: str) -> float:
    """Raises ValueError for 1e400, which Python reads as infinity."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _no_constant(name: str) -> NoReturn:
    """NaN, Infinity and -Infinity, which Python's reader takes and no other does."""
    raise ValueError(f"{name} is not JSON")


# The escape of half a pair; most programs escape every Chinese letter, and those are no halves.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRICT = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
_LENIENT = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant, strict=False)


def loads(text: str | bytes) -> object:
    """The document. Raises ValueError also for what only Python reads, for halves of surrogate pairs (no UTF-8 holds
    them) and for endless nesting.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        document: object = _STRICT.decode(text)
        _check_unicode(text, document)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return document


def load_at(text: str, start: int) -> object:
    """The document that begins at `start`, whatever stands behind it, raw line ends in its texts. Raises ValueError."""
    try:
        document: object = _LENIENT.raw_decode(text, start)[0]
        _check_unicode(text, document)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return document


def _check_unicode(text: str, document: object) -> None:
    """Raises UnicodeEncodeError, a ValueError, where an escape in `text` made half a surrogate pair."""
    if _SURROGATE.search(text):
        json.dumps(document, ensure_ascii=False).encode()
