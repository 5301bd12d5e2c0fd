"""Queues tasks after the commit, and reports to the waiting person when the broker is away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def queue_on_commit(task: Any, row_id: int, *, otherwise: Callable[[], None]) -> None:
    """Queue `task` for one row after the commit; call `otherwise` where the broker cannot be reached."""
    queue_all_on_commit(task, [row_id], otherwise=lambda _unqueued: otherwise())


def queue_all_on_commit(task: Any, row_ids: Sequence[int], *, otherwise: Callable[[Sequence[int]], None]) -> None:
    """Queue `task` for each row after the commit. Where the broker cannot be reached, call `otherwise` once, with the
    rows for which nothing was queued."""
    transaction.on_commit(partial(_queue_all, task, row_ids, otherwise))


def _queue_all(task: Any, row_ids: Sequence[int], otherwise: Callable[[Sequence[int]], None]) -> None:
    """Stops at the first failure: each try takes a second or more, and somebody waits for the page."""
    for number, row_id in enumerate(row_ids):
        try:
            task.delay(row_id)
        except OperationalError as error:
            logger.error("the queue cannot be reached task=%s row=%s error=%s", task.name, row_id, type(error).__name__)
            otherwise(row_ids[number:])
            return


def queue_by_name_on_commit(name: str, row_ids: Sequence[int | str], *, expires_seconds: int) -> None:
    """Queue the task of this name for each row after the commit: for services, which know no task. Without a broker
    the rows wait for the sweep that their task must have."""
    if row_ids:
        transaction.on_commit(partial(_queue_by_name, name, row_ids, expires_seconds))


def _queue_by_name(name: str, row_ids: Sequence[int | str], expires_seconds: int) -> None:
    try:
        for row_id in row_ids:
            current_app.send_task(name, args=(row_id,), expires=expires_seconds, ignore_result=True)
    except OperationalError as error:
        logger.error("the queue cannot be reached task=%s error=%s", name, type(error).__name__)
