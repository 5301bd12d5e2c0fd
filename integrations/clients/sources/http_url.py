"""Validates addresses and headers of web services. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# They belong to the connection, which is ours.
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "te", "trailer"}
)
HEADERS_AT_MOST = 20


class WrittenWrong(ValueError):
    """`line`: of the header that is none, from 1; 0 where the whole is meant."""

    def __init__(self, line: int = 0) -> None:
        super().__init__("not admitted")
        self.line = line


def headers_from(text: str) -> dict[str, str]:
    """The headers of a text with one "Name: value" a line. Raises WrittenWrong, with the line, for what may not be
    sent.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, mark, value = line.partition(":")
        name, value = name.strip(), value.strip()
        is_plain = value.isprintable() and value.isascii()
        if not mark or not _NAME.fullmatch(name) or name.lower() in _OURS or not value or not is_plain:
            raise WrittenWrong(number)
        found[name] = value
    if len(found) > HEADERS_AT_MOST:
        raise WrittenWrong
    return found


def is_base(url: str) -> bool:
    """Whether `url` is http or https with a host, and without credentials, query and fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (port is None or port > 0)
    return is_whole and "@" not in parts.netloc and "?" not in url and "#" not in url and is_plain(url)


def is_plain(text: str) -> bool:
    """Without what servers and browsers read in different ways."""
    return text.isprintable() and "\\" not in text and not any(letter.isspace() for letter in text)


def is_below(path: str) -> bool:
    """Whether a path with its query stays below the address that it is put behind."""
    inner = path.partition("?")[0]
    steps = re.split("[/;]", inner.lower().replace("%2e", "."))
    return (
        is_plain(path) and "#" not in path and "://" not in inner and not inner.startswith("//") and ".." not in steps
    )


def joined(base: str, path: str) -> str:
    """The address of the service with what a card puts behind it. Raises WrittenWrong where that would leave the
    service.
    """
    if not is_base(base) or not is_below(path):
        raise WrittenWrong
    if not path:
        return base
    return f"{base}{path}" if path.startswith("?") else f"{base.rstrip('/')}/{path.lstrip('/')}"
