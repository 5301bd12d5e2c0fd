"""Log lines, as JSON or readable at a console, and the metrics of tasks.

Every line has its time with the time zone, and the bound request_id, run_id, delivery_id and task. Lines hold ids,
codes and durations; never an address with its query, a body or a token. An outage of Valkey, the database or the broker
is one line, then one a minute per process. Otherwise every tick, task and request would write a traceback: thousands a
minute would fill disks and hide other events.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import redis
from celery.signals import before_task_publish, task_postrun, task_prerun
from django.db import InterfaceError, OperationalError
from kombu.exceptions import OperationalError as BrokerError
from structlog.contextvars import bind_contextvars, get_contextvars, merge_contextvars, reset_contextvars
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import ProcessorFormatter

from integrations.clients.transport import read_boot_clock
from integrations.core.metrics import LONG_SECONDS, CountedMetric, TimedMetric

if TYPE_CHECKING:
    from django.http import HttpRequest

_Line = MutableMapping[str, Any]

# --- Format of a line -------------------------------------------------------------------------------------------------

# By logger: the lowest level whose lines are written.
LEVELS: dict[str, str] = {
    # urllib3 logs paths with their query at DEBUG, and WeCom puts secrets and tokens there.
    "urllib3": "WARNING",
    "requests": "WARNING",
    # These log every tick, every few seconds, which would hide important lines. They log failures as errors.
    "celery.beat": "WARNING",
    "celery.worker.strategy": "WARNING",
    "celery.app.trace": "WARNING",
    # aiosmtpd logs a line for each command, with people's addresses.
    "mail.log": "ERROR",
    # The pool logs three lines for each task.
    "psycopg.pool": "WARNING",
}
# Facts that guanwecom.operations.middleware adds to the line of a request.
REQUEST_FACTS = ("method", "path", "view", "status", "ms", "user", "client")
# Credentials in addresses and headers that libraries quote in errors.
_CREDENTIALS = re.compile(
    r"(?P<name>[?&](?:[a-z_]*(?:token|secret|ticket|password|sign(?:ature)?)|key|code|state)=)[^&\s'\"]+"
    r"|(?P<scheme>\bbearer )[\w.~+/=-]+"
    r"|(?P<user>://[^\s:/@'\"]*:)[^\s/@'\"]+(?=@)",
    re.IGNORECASE,
)


class JsonFormatter(ProcessorFormatter):
    """Formatter that writes lines as JSON."""

    def __init__(self) -> None:
        super().__init__(processors=[_finish_line, format_exc_info, _mask_line, JSONRenderer(ensure_ascii=False)])


class ConsoleFormatter(ProcessorFormatter):
    """Formatter that writes lines to be read at a console."""

    def __init__(self) -> None:
        renderer = ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plain_traceback)
        super().__init__(processors=[_finish_line, _mask_line, renderer])


def _finish_line(logger: Any, method: str, line: _Line) -> _Line:
    """Add time, level, logger and bound ids to a line, drop internal and empty values, and hide secrets in the paths
    that Django itself logs."""
    record: logging.LogRecord = line.pop("_record")
    line.pop("_from_structlog")
    request = getattr(record, "request", None)
    if request is not None and hasattr(request, "path"):  # Django's own lines about a request
        for path in (request.path, request.path.encode("unicode_escape").decode()):  # Django logs the second form
            line["event"] = line["event"].replace(path, hide_arguments_in_path(request))
        if getattr(record, "status_code", 500) < 500:
            line.pop("exc_info", None)  # a refused or unknown page is no failure of the product
    line = {
        "timestamp": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        **line,
    }
    line |= {name: value for name, value in vars(record).items() if name in REQUEST_FACTS}
    line = merge_contextvars(logger, method, line)
    return {name: value for name, value in line.items() if value is not None}


def _mask_line(_logger: Any, _method: str, line: _Line) -> _Line:
    """Replace credentials with asterisks, as a safety net: none should be logged."""
    for name in ("event", "exception"):
        text = line.get(name)
        if isinstance(text, str) and ("=" in text or "@" in text or "earer" in text):
            line[name] = _CREDENTIALS.sub(lambda found: f"{found['name'] or found['scheme'] or found['user']}***", text)
    return line


def hide_arguments_in_path(request: HttpRequest) -> str:
    """Return a request's path without secrets, for logs. A view's arguments are replaced by … unless they are numbers,
    since links of pictures and callbacks have secrets there. An unknown path is cut after its first part."""
    match, path = request.resolver_match, request.path
    if match is None:
        head, slash, rest = path.lstrip("/").partition("/")
        return f"/{head[:40]}{slash}{'…' if rest else ''}"
    values = {str(value) for value in (*match.args, *match.kwargs.values())}
    for value in sorted((value for value in values if value and not value.isdigit()), key=len, reverse=True):
        path = path.replace(value, "…")
    return path


# --- Outages ----------------------------------------------------------------------------------------------------------

MINUTE_SECONDS = 60.0
VALKEY, DATABASE = "valkey", "database"
# Libraries that report an outage only as text, and the words (_TEXTS) that they use.
_LIBRARIES = {"celery": VALKEY, "kombu": VALKEY, "redis": VALKEY, "psycopg": DATABASE}
_TEXTS = ("connecting", "cannot connect", "could not connect", "connection to broker lost", "connection error")
# PostgreSQL's error classes and codes for a server that is unreachable, full or shutting down.
_AWAY_STATES = ("08", "53", "57P")
_CAUSES_AT_MOST = 20  # an error's chain of causes may be circular


class OutageFilter(logging.Filter):
    """Filter of the log handler that passes an outage's first line without traceback, then one a minute with a count.
    Lines of all loggers belong to one outage if they name the same server. All other lines pass."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}
        self._dropped: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        server = _find_outage(record)
        if not server:
            return True
        with self._lock:
            now, logged_at = read_boot_clock(), self._logged_at.get(server)
            if logged_at is not None and now - logged_at < MINUTE_SECONDS:
                self._dropped[server] = self._dropped.get(server, 0) + 1
                return False
            self._logged_at[server] = now
            count = self._dropped.pop(server, 0)
        # The error's first line replaces the traceback.
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage().partition("\n")[0]
        if error is not None:
            reason = str(error).partition("\n")[0]
            text += f" ({type(error).__name__}: {reason})"
        if count:
            text += f" ({count} more lines of this outage were left out since the last one)"
        record.msg, record.args = text, ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def _find_outage(record: logging.LogRecord) -> str:
    """Return the server whose outage a line reports; empty for none."""
    errors: list[Any] = [record.exc_info[1] if record.exc_info else None]
    errors += record.args if isinstance(record.args, tuple) else ()
    for error in errors:
        for _cause in range(_CAUSES_AT_MOST):
            if not isinstance(error, BaseException):
                break
            if isinstance(error, redis.ConnectionError | redis.TimeoutError | BrokerError):
                return VALKEY
            if isinstance(error, OperationalError | InterfaceError):
                state = getattr(error.__cause__, "sqlstate", None) or ""
                if not state or state.startswith(_AWAY_STATES):
                    return DATABASE
            error = error.__cause__ or error.__context__
    server = _LIBRARIES.get(record.name.partition(".")[0], "")
    if not server or record.levelno < logging.WARNING:
        return ""
    text = record.getMessage().lower()
    return server if any(words in text for words in _TEXTS) else ""


# --- Tasks: the request id on their log lines, and their metrics ------------------------------------------------------

# Header of a task's message with the id of the request that queued it.
_HEADER = "request_id"
_TASKS = CountedMetric("guanwecom_tasks", "Tasks that ended, by outcome", "task", "outcome")
_SECONDS = TimedMetric("guanwecom_task_duration_seconds", "How long tasks took", "task", edges=LONG_SECONDS)


@before_task_publish.connect(weak=False)
def send_request_id(headers: dict[str, Any] | None = None, **_signal: Any) -> None:
    """Add the current request's id to the message of a task that is being queued."""
    request_id = get_contextvars().get("request_id")
    if request_id and headers is not None:
        headers[_HEADER] = request_id


@task_prerun.connect(weak=False)
def begin_task(task_id: str, task: Any, **_signal: Any) -> None:
    """Bind the context of the task's log lines, and note when it began."""
    request_id = getattr(task.request, _HEADER, None) or get_contextvars().get("request_id")
    tokens = bind_contextvars(task=task.name, task_id=task_id, request_id=request_id)
    task.request.begun = (time.perf_counter(), tokens)


@task_postrun.connect(weak=False)
def end_task(task: Any, state: str | None = None, **_signal: Any) -> None:
    """Count the task and its duration, and unbind its context."""
    started, tokens = task.request.begun
    _TASKS.add(task.name, (state or "UNKNOWN").lower())
    _SECONDS.add(time.perf_counter() - started, task.name)
    reset_contextvars(**tokens)
