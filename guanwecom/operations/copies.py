"""Says in the log of a process of a copy why it does nothing, once an hour."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic

logger = logging.getLogger(__name__)
HOUR_SECONDS = 3600.0


@dataclass
class _Said:
    until: float = float("-inf")


_said = _Said()


def warn(what: str) -> None:
    """`what`: what the process does not do."""
    if monotonic() >= _said.until:
        _said.until = monotonic() + HOUR_SECONDS
        logger.warning("this database is a copy (manage.py installation): %s", what)
