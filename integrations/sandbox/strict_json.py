"""Reading JSON from outside without surprises later on."""

from __future__ import annotations

import json


def loads(text: str | bytes) -> object:
    """The document. Raises ValueError also for halves of surrogate pairs (no UTF-8 holds them) and endless nesting."""
    try:
        document: object = json.loads(text)
        check_unicode(text, document)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return document


def check_unicode(text: str | bytes, document: object) -> None:
    """Raises UnicodeEncodeError, a ValueError, where an escape in `text` made half a surrogate pair."""
    escape = b"\\u" if isinstance(text, bytes) else "\\u"
    if escape in text:  # type: ignore[operator]  # both are texts or both are bytes
        json.dumps(document, ensure_ascii=False).encode()
