"""Celery's task, except in a copy of the database: there no worker does anything."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task

from integrations.core import installation

logger = logging.getLogger(__name__)


class InstallationTask(Task[Any, Any]):
    """Named in guanwecom.celery. The rows hold the truth, so a task that is left out is queued again once the copy was
    confirmed, unless its row was settled then."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.request.called_directly:
            if installation.is_copy():
                logger.warning("%s is left out: this database is a copy (manage.py installation)", self.name)
                return None
            return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)
