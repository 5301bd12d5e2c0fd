"""Says in the log of a process of a copy why it does nothing, once an hour."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from integrations.clients.clock import read_boot_clock

logger = logging.getLogger(__name__)
HOUR_SECONDS = 3600.0


@dataclass
class _Said:
    until: float = float("-inf")


_said = _Said()


def warn(what: str) -> None:
    """`what`: what the process does not do."""
    if read_boot_clock() >= _said.until:
        _said.until = read_boot_clock() + HOUR_SECONDS
        logger.warning("this database is a copy (manage.py installation): %s", what)
