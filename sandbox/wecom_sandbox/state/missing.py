"""Calls and pages of WeCom that programs asked for and the sandbox does not have: what to build next."""

from __future__ import annotations

from collections import OrderedDict

_KEPT = 1000
_PATH_MOST = 200


class Missing:
    """How often each path was asked for. Of more than _KEPT paths, the one asked for longest ago is forgotten."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()

    def note(self, method: str, path: str) -> None:
        key = (method, path[:_PATH_MOST])
        self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > _KEPT:
            self._counts.popitem(last=False)

    def clear(self) -> None:
        self._counts.clear()

    def as_json(self) -> list[dict[str, object]]:
        """The most wanted first."""
        rows = sorted(self._counts.items(), key=lambda row: (-row[1], row[0]))
        return [{"method": method, "path": path, "count": count} for (method, path), count in rows]
