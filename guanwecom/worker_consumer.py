"""Keeps a worker from the broker in a copy of the database, and alive when its broker goes away.

A copy that was started with the original's Valkey would take the original's tasks and leave them out.

Celery 5.7 with kombu 5.7 ends a worker ("Unrecoverable error: AttributeError") whose broker goes away while a task is
under way: it closes a connection whose transport it has just taken apart. Found by `make chaos`.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import active_requests, maybe_shutdown, reserved_requests
from django.db import Error, connections

from guanwecom.operations import pulse, tasks
from integrations.core import installation

logger = logging.getLogger(__name__)
# How soon a worker takes tasks once a copy was confirmed, and ends once it was asked to.
LOOK_SECONDS = 2


class LastingConsumer(Consumer):
    """Named in settings.CELERY_WORKER_CONSUMER."""

    # Celery's, which its stubs leave out.
    controller: Any
    prefetch_multiplier: int

    def start(self) -> None:
        while _may_be_copy():
            pulse.touch_file()
            maybe_shutdown()
            time.sleep(LOOK_SECONDS)
        super().start()

    @property
    def max_prefetch_count(self) -> int:
        """Of all processes that there may be. With --autoscale Celery counts those that there are, maybe none; after a
        lost connection the worker would take one task at a time, and never start a second process."""
        return int(self.controller.max_concurrency or self.pool.num_processes) * self.prefetch_multiplier

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """What tasks had not acknowledged comes back after the visibility timeout; the rows hold the truth anyway."""
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as error:
            # By then the connection is forgotten, and only advice for the next one was left to do. A task that says
            # on the lost one that it is done would end the worker, too.
            for request in {*active_requests, *reserved_requests}:
                request.acknowledged = True
            logger.warning("the lost connection to the broker could not be closed: %s", error)


def _may_be_copy() -> bool:
    """Also while the database cannot be asked."""
    try:
        is_copy = installation.is_copy()
    except Error as error:
        logger.warning("no task is taken until the database can be asked (%s)", type(error).__name__)
        return True
    finally:
        connections.close_all()
    if is_copy:
        tasks.copy_warning.log("this worker takes no task")
    return is_copy
