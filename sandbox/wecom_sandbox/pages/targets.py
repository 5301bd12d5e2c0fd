"""Where a browser is sent after it was authorised."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class Refused(Exception):
    """The visit cannot go on. `text` is what WeCom's page says (in Chinese, as WeCom says it)."""

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.detail = detail


def netloc_of(redirect_uri: str) -> str:
    """Host, with the port where the address names one, in small letters; "" when it is no clean http(s) address."""
    if _UNSAFE.search(redirect_uri):
        return ""
    try:
        parts = urlsplit(redirect_uri)
        parts.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return ""
    return parts.netloc.lower()


def with_code(redirect_uri: str, code: str, state: str) -> str:
    """The address with code and state appended to its query; `code` "": refused by the person, state only."""
    base, hash_sign, fragment = redirect_uri.partition("#")
    added = f"code={quote(code, safe='')}&" if code else ""
    separator = "&" if "?" in base else "?"
    return f"{base}{separator}{added}state={quote(state, safe='')}{hash_sign}{fragment}"
