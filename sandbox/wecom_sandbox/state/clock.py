"""The sandbox's clock: the machine's, which a test may move forward."""

from __future__ import annotations

import time

# The last moment whose unix seconds have ten digits, as WeCom's hint ids want them.
ENDS_AT = 9_999_999_999


class Clock:
    """Unix seconds as float. Goes back by `reset` alone, and not beyond ENDS_AT."""

    def __init__(self) -> None:
        self._offset_seconds = 0.0

    def now(self) -> float:
        return time.time() + self._offset_seconds

    def reset(self) -> None:
        """The machine's again: only where nothing is left that is of a later time."""
        self._offset_seconds = 0.0

    def advance(self, seconds: float) -> None:
        """Move forward. `seconds`: zero or more. Raises ValueError."""
        if not seconds >= 0:
            raise ValueError("seconds must be zero or more: the clock cannot go back")
        if seconds > ENDS_AT - self.now():
            raise ValueError(f"seconds must not take the clock beyond {ENDS_AT} (the year 2286)")
        self._offset_seconds += seconds
