"""The sandbox's clock: the machine's, which a test may move forward."""

from __future__ import annotations

import time


class Clock:
    """Unix seconds as float. Never goes back."""

    def __init__(self) -> None:
        self._offset_seconds = 0.0

    def now(self) -> float:
        return time.time() + self._offset_seconds

    def advance(self, seconds: float) -> None:
        """Move forward. `seconds`: zero or more. Raises ValueError."""
        if seconds < 0:
            raise ValueError("the clock cannot go back")
        self._offset_seconds += seconds
