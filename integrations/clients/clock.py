"""The clock by which deadlines, permits and leases are counted, and how long something known may be used."""

from __future__ import annotations

import time

# Where the system has none that counts sleep, as on macOS, its monotonic one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_boot_clock() -> float:
    """Seconds since the machine was started, those included in which it slept. Never set back.

    A monotonic clock stands still in sleep. Other machines go on meanwhile: they take over what this one had in hand.
    """
    return time.clock_gettime(_CLOCK)
