"""How log lines are written: as JSON, or for a person at a console; always with their time zone.

Every line carries what is bound where it is written: request_id, run_id, delivery_id, task. Lines hold ids, codes and
durations; never an address with its query, a body or a token.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, MutableMapping
from datetime import datetime
from logging import LogRecord
from typing import TYPE_CHECKING, Any

from structlog.contextvars import merge_contextvars
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter

if TYPE_CHECKING:
    from django.http import HttpRequest

_Line = MutableMapping[str, Any]

_LEVELS = {
    # urllib3 logs paths with their query at DEBUG: that is where WeCom puts secrets and tokens.
    "urllib3": "WARNING",
    "requests": "WARNING",
    # A line for every tick, every few seconds for ever, would bury the ones that matter; what fails is an error.
    "celery.beat": "WARNING",
    "celery.worker.strategy": "WARNING",
    "celery.app.trace": "WARNING",
    # aiosmtpd: a line for each command, with people's addresses.
    "mail.log": "ERROR",
    # Three lines for each task.
    "psycopg.pool": "WARNING",
}
# What guanwecom.operations.access says of a request beside its words.
REQUEST_FACTS = ("method", "path", "view", "status", "ms", "user", "client")
# In an address or a header that somebody else wrote into an error.
_CREDENTIALS = re.compile(
    r"(?P<name>[?&](?:[a-z_]*(?:token|secret|ticket|password|sign(?:ature)?)|key|code|state)=)[^&\s'\"]+"
    r"|(?P<scheme>\bbearer )[\w.~+/=-]+"
    r"|(?P<user>://[^\s:/@'\"]*:)[^\s/@'\"]+(?=@)",
    re.IGNORECASE,
)


def configuration(level: str, form: str) -> dict[str, Any]:
    """For logging.config.dictConfig. `level`: the least one of what is written. `form`: json or console."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": ProcessorFormatter, "foreign_pre_chain": [_facts], "processors": _renderers(form)}
        },
        # A server that is away is one line, then one a minute.
        "filters": {"outages": {"()": "guanwecom.operations.log_throttle.OutageFilter"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["outages"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            **{name: {"level": least} for name, least in _LEVELS.items()},
            # gunicorn gives its logger a handler of its own.
            "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
        },
    }


def _renderers(form: str) -> list[Callable[[Any, str, _Line], Any]]:
    if form == "json":
        return [_finished, format_exc_info, _scrubbed, JSONRenderer(ensure_ascii=False)]
    renderer = ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plain_traceback)
    return [_finished, _scrubbed, renderer]


_add_extra = ExtraAdder(allow=REQUEST_FACTS)


def _facts(logger: Any, method: str, line: _Line) -> _Line:
    """What a line says beside its words, in an order for reading."""
    record: LogRecord = line["_record"]
    facts = {
        "timestamp": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        **line,
    }
    return merge_contextvars(logger, method, _add_extra(logger, method, facts))


def _finished(_logger: Any, _method: str, line: _Line) -> _Line:
    """Without what only this module needs, and what is not known."""
    record: LogRecord = line.pop("_record")
    line.pop("_from_structlog")
    request = getattr(record, "request", None)
    if request is not None and hasattr(request, "path"):  # Django's own lines about a request
        for path in (request.path, request.path.encode("unicode_escape").decode()):  # the second one as Django logs it
            line["event"] = line["event"].replace(path, shown_path(request))
        if getattr(record, "status_code", 500) < 500:
            line.pop("exc_info", None)  # refused or not found: nothing is wrong with the product
    return {name: value for name, value in line.items() if value is not None}


def _scrubbed(_logger: Any, _method: str, line: _Line) -> _Line:
    for name in ("event", "exception"):
        text = line.get(name)
        if isinstance(text, str):
            line[name] = scrubbed(text)
    return line


def scrubbed(text: str) -> str:
    """`text` without what looks like a credential. A net below the rule that none is logged."""
    if "=" not in text and "@" not in text and "earer" not in text:
        return text
    return _CREDENTIALS.sub(lambda found: f"{found['name'] or found['scheme'] or found['user']}***", text)


def shown_path(request: HttpRequest) -> str:
    """The path of a request as logs may hold it: of what stands in a view's place for values only numbers are shown,
    because links of pictures and callbacks carry secrets there. Of an unknown address only the first part is."""
    match, path = request.resolver_match, request.path
    if match is None:
        head, slash, rest = path.lstrip("/").partition("/")
        return f"/{head[:40]}{slash}{'…' if rest else ''}"
    values = {str(value) for value in (*match.args, *match.kwargs.values())}
    for value in sorted((value for value in values if value and not value.isdigit()), key=len, reverse=True):
        path = path.replace(value, "…")
    return path
