"""Waiting for what other processes bring about."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from tests.e2e.stack import ProcessFailed, Program

T = TypeVar("T")
PATIENCE_SECONDS = 180


def eventually(
    look: Callable[[], T | None], programs: Iterable[Program] = (), *, seconds: float = PATIENCE_SECONDS
) -> T:
    """What `look` gives as soon as it is true. Raises ProcessFailed, with the programs' logs, when it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    logs = "\n".join(f"--- {program.name}\n{program.tail()}" for program in programs)
    raise ProcessFailed(f"nothing came within {seconds:.0f} s\n{logs}")
