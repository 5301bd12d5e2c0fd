"""Keeps a worker alive when its broker goes away.

Celery 5.7 with kombu 5.7 ends a worker ("Unrecoverable error: AttributeError") whose broker goes away while a task is
under way: it closes a connection whose transport it has just taken apart. Found by `make chaos`.
"""

from __future__ import annotations

import logging

from celery.worker.consumer import Consumer
from celery.worker.state import active_requests, reserved_requests

logger = logging.getLogger(__name__)


class LastingConsumer(Consumer):
    """Named in settings.CELERY_WORKER_CONSUMER."""

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
