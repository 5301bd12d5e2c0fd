"""Cursors of paged answers: a position that only the sandbox can have written."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from wecom_sandbox.http.digits import read_integer

_KEY = secrets.token_bytes(32)


def write(position: int, *purpose: str) -> str:
    """A cursor for one list of one company (`purpose`)."""
    return f"{position}-{_proof(position, purpose)}"


def read(cursor: str, *purpose: str) -> int | None:
    """The position, 0 for ""; None for a cursor that was never given for this list."""
    if not cursor:
        return 0
    digits, _, proof = cursor.partition("-")
    position = read_integer(digits)
    if position is None or not hmac.compare_digest(proof.encode(), _proof(position, purpose).encode()):
        return None
    return position


def _proof(position: int, purpose: tuple[str, ...]) -> str:
    text = "\n".join((str(position), *purpose))
    return hmac.new(_KEY, text.encode(), hashlib.sha256).hexdigest()[:32]
