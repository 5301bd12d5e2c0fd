"""URL parameters of the BI that only this site may set: a foreign token signs a person in as somebody else.

Servers, proxies and frameworks differ in how they read a query, so a name is reserved if any of them may take it for
one: in other letters, encoded again and again, behind other separators, or as an array.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_plus

NAMES = frozenset({"provider", "ssotoken"})
_SEPARATORS = re.compile(r"[&;?#]")
# What PHP, Rails, Express and Spring take apart in a name: ssoToken[], ssoToken[0], user.ssoToken.
_NESTING = re.compile(r"[\[\].]|[\x00-\x1f\x7f]")
# Also in the form of old servers: %u0073 for s.
_UTF16 = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)


def without_reserved(query: str) -> str:
    """The query as it stood, without the pairs that hold something reserved."""
    return "&".join(pair for pair in query.split("&") if pair and not _holds_reserved(pair))


def has_reserved(page: str) -> bool:
    """Whether a page of the BI (a path, with query if any) names something reserved, also behind a `;` of its path."""
    path, *parameters = _SEPARATORS.split(_decoded(page))
    return any(map(_is_reserved, parameters))


def _holds_reserved(pair: str) -> bool:
    return any(map(_is_reserved, _SEPARATORS.split(_decoded(pair))))


def _is_reserved(parameter: str) -> bool:
    name = unicodedata.normalize("NFKC", parameter.partition("=")[0]).casefold()
    # A name that is no UTF-8 is read differently everywhere.
    return "\ufffd" in name or not NAMES.isdisjoint(map(_letters, [name, *_NESTING.split(name)]))


def _letters(name: str) -> str:
    """`sso_token` and `sso-token` are `ssoToken` to who binds names to fields; spaces around a name are cut by some."""
    return "".join(char for char in name if char.isalnum())


def _decoded(text: str) -> str:
    """Decoded until nothing changes any more: each round is shorter than the one before."""
    while (decoded := unquote_plus(_UTF16.sub(_char, text))) != text:
        text = decoded
    return text


def _char(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))
