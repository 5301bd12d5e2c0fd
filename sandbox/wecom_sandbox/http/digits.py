"""Numbers that come as text."""

from __future__ import annotations

import re

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def read_integer(text: str) -> int | None:
    """The number that a text is: ASCII digits, at most 18 of them; None for anything else.

    int() by itself takes the digits of every script, and raises for "--5" and for more than 4,300 digits.
    """
    return int(text) if _INTEGER.fullmatch(text) else None
