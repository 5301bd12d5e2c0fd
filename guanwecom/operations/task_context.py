"""Hands the request's id from who queues a task to its worker, and counts tasks. Connected by guanwecom.celery."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun
from structlog.contextvars import bind_contextvars, get_contextvars, reset_contextvars

from integrations.core.metrics import LONG_SECONDS, CountedMetric, TimedMetric

# In a task's message.
_HEADER = "request_id"

_TASKS = CountedMetric("guanwecom_tasks", "Tasks that ended, by outcome", "task", "outcome")
_SECONDS = TimedMetric("guanwecom_task_duration_seconds", "How long tasks took", "task", edges=LONG_SECONDS)


@before_task_publish.connect(weak=False)
def _send_id(headers: dict[str, Any] | None = None, **_signal: Any) -> None:
    request_id = get_contextvars().get("request_id")
    if request_id and headers is not None:
        headers[_HEADER] = request_id


@task_prerun.connect(weak=False)
def _bind(task_id: str, task: Any, **_signal: Any) -> None:
    request_id = getattr(task.request, _HEADER, None) or get_contextvars().get("request_id")
    tokens = bind_contextvars(task=task.name, task_id=task_id, request_id=request_id)
    task.request.begun = (time.perf_counter(), tokens)


@task_postrun.connect(weak=False)
def _unbind(task: Any, state: str | None = None, **_signal: Any) -> None:
    started, tokens = task.request.begun
    _TASKS.add(task.name, (state or "UNKNOWN").lower())
    _SECONDS.add(time.perf_counter() - started, task.name)
    reset_contextvars(**tokens)
