"""Which messages were accepted a short time ago, for the check of duplicates."""

from __future__ import annotations

import hashlib
from collections import deque

_TABLES = 8


class Recent:
    """Until when the identical JSON is a duplicate: of the newest `most` messages, or of an eighth less.

    Tables of one size, of which the oldest goes as a whole. One table from which the oldest go one by one would be made
    anew again and again, each time with room for three times as many.
    """

    def __init__(self, most: int) -> None:
        self._rows_each = max(1, most // _TABLES)
        self._tables: deque[dict[bytes, float]] = deque([{}], maxlen=_TABLES)

    def add(self, corpid: str, agentid: int, body: bytes, *, until: float) -> None:
        if len(self._tables[-1]) == self._rows_each:
            self._tables.append({})
        self._tables[-1][_key(corpid, agentid, body)] = until

    def until(self, corpid: str, agentid: int, body: bytes) -> float:
        """0.0: it was not accepted, or long ago."""
        key = _key(corpid, agentid, body)
        return next((table[key] for table in reversed(self._tables) if key in table), 0.0)

    def __len__(self) -> int:
        return sum(map(len, self._tables))


def _key(corpid: str, agentid: int, body: bytes) -> bytes:
    found = hashlib.sha256(f"{corpid}/{agentid}/".encode())
    found.update(body)
    return found.digest()
