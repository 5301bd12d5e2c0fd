"""The edge of a loop: what goes wrong with one row is logged, and the others are done."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Guarded:
    """What became of a guarded block. `error`: what it raised; None if it ran to its end."""

    error: Exception | None = None


@contextmanager
def guarded(
    logger: logging.Logger, message: str, *facts: object, unless: tuple[type[Exception], ...] = ()
) -> Iterator[Guarded]:
    """Log whatever the block raises, with its traceback, and go on after it. `unless`: errors that are passed on."""
    block = Guarded()
    try:
        yield block
    except unless:
        raise
    except Exception as error:  # the edge of every loop: one bad row must not keep the others
        block.error = error
        logger.exception(message, *facts)
