"""The frame of each Celery task: none runs in a copy of the database, request ids are passed on, all are counted."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Task
from celery.signals import before_task_publish, task_postrun, task_prerun
from structlog.contextvars import bind_contextvars, get_contextvars, reset_contextvars

from integrations.clients.transport import read_boot_clock
from integrations.core import installation
from integrations.core.metrics import LONG_SECONDS, CountedMetric, TimedMetric

logger = logging.getLogger(__name__)

# A header of a task's message.
_HEADER = "request_id"
_HOUR_SECONDS = 3600.0

_TASKS = CountedMetric("guanwecom_tasks", "Tasks that ended, by outcome", "task", "outcome")
_SECONDS = TimedMetric("guanwecom_task_duration_seconds", "How long tasks took", "task", edges=LONG_SECONDS)


class InstallationTask(Task[Any, Any]):
    """Base of all tasks, which skips them in a copy of the database; guanwecom.celery names it. The rows hold the work,
    so a skipped task is queued again once the copy is confirmed, unless that settled its row."""

    abstract = True
    # True for tasks that only draw: they may notice some seconds late that the database became a copy
    # (guanwecom.celery).
    sends_nothing = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.request.called_directly:
            if installation.is_known_copy() if self.sends_nothing else installation.is_copy():
                copy_warning.log(f"{self.name} and all other tasks are left out")
                return None
            return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)


class CopyWarning:
    """The hourly log line of a process in a copy that says why it does nothing."""

    def __init__(self) -> None:
        self._next_at = float("-inf")

    def log(self, consequence: str) -> None:
        """Log the line if an hour has passed. `consequence`: what the process does not do."""
        now = read_boot_clock()
        if now >= self._next_at:
            self._next_at = now + _HOUR_SECONDS
            logger.warning("this database is a copy (manage.py installation): %s", consequence)


copy_warning = CopyWarning()


@before_task_publish.connect(weak=False)
def send_request_id(headers: dict[str, Any] | None = None, **_signal: Any) -> None:
    request_id = get_contextvars().get("request_id")
    if request_id and headers is not None:
        headers[_HEADER] = request_id


@task_prerun.connect(weak=False)
def begin_task(task_id: str, task: Any, **_signal: Any) -> None:
    """Bind the context of the task's log lines, and start its clock."""
    request_id = getattr(task.request, _HEADER, None) or get_contextvars().get("request_id")
    tokens = bind_contextvars(task=task.name, task_id=task_id, request_id=request_id)
    task.request.begun = (time.perf_counter(), tokens)


@task_postrun.connect(weak=False)
def end_task(task: Any, state: str | None = None, **_signal: Any) -> None:
    """Count the task and its seconds, and unbind its context."""
    started, tokens = task.request.begun
    _TASKS.add(task.name, (state or "UNKNOWN").lower())
    _SECONDS.add(time.perf_counter() - started, task.name)
    reset_contextvars(**tokens)
