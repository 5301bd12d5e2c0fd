"""Celery's task, except in a copy of the database: there no worker does anything."""

from __future__ import annotations

from typing import Any

from celery import Task

from guanwecom.operations import copies
from integrations.core import installation


class InstallationTask(Task[Any, Any]):
    """Named in guanwecom.celery. The rows hold the truth, so a task that is left out is queued again once the copy was
    confirmed, unless its row was settled then."""

    abstract = True
    # One that only draws may see some seconds late that its database became a copy (settings.CELERY_TASK_ANNOTATIONS).
    sends_nothing = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.request.called_directly:
            if installation.is_known_copy() if self.sends_nothing else installation.is_copy():
                copies.warn(f"{self.name} and all other tasks are left out")
                return None
            return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)
