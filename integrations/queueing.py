"""Handing work to the background where a person waits for it and must read why it does not begin."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def queue_on_commit(task: Any, row_id: int, *, otherwise: Callable[[], None]) -> None:
    """Queue `task` for one row after the commit; call `otherwise` where the broker cannot be reached."""
    transaction.on_commit(partial(_queue, task, row_id, otherwise))


def _queue(task: Any, row_id: int, otherwise: Callable[[], None]) -> None:
    try:
        task.delay(row_id)
    except OperationalError as error:
        logger.error("the queue cannot be reached task=%s row=%s error=%s", task.name, row_id, type(error).__name__)
        otherwise()
