"""Runs a child process for one answer: it limits its own memory, and is killed here after its time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# More than any of the programs writes.
_OUTPUT_BYTES_AT_MOST = 33 * 1024 * 1024


class WorkerTooSlow(Exception):
    """It did not end within its time, and was killed."""


class WorkerBroken(Exception):
    """It ended without an answer. `code`: its own; below zero the signal that ended it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ended with {code}")
        self.code = code


def answer_of(program: ModuleType, sent: bytes, *, seconds: float) -> Any:
    """What `program` answers to `sent`. Raises WorkerTooSlow and WorkerBroken."""
    command = [sys.executable, "-I", str(Path(program.__file__ or "").resolve())]
    try:
        # Nothing of a source's goes into the command or the environment, where other users could read it.
        done = subprocess.run(  # noqa: S603  # our own program
            command, input=sent, capture_output=True, env={}, check=False, timeout=max(0.1, seconds)
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode == -signal.SIGXCPU:
        # Raised outside the block: inside, it would carry the other error, which holds what was sent.
        raise WorkerTooSlow
    if done.returncode != 0 or len(done.stdout) > _OUTPUT_BYTES_AT_MOST:
        raise WorkerBroken(done.returncode)
    return json.loads(done.stdout)
