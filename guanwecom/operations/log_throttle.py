"""Limits log lines about a lost Valkey, database or broker to one a minute per process, with a count.

Without it every tick, task and request that needs the lost server writes a traceback: thousands of lines a minute,
which fill disks and hide what else happens.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import redis
from django.db import InterfaceError, OperationalError
from kombu.exceptions import OperationalError as BrokerError

from integrations.clients.clock import read_boot_clock

MINUTE_SECONDS = 60.0
VALKEY, DATABASE = "valkey", "database"
# Who says it as text alone, and how.
_LIBRARIES = {"celery": VALKEY, "kombu": VALKEY, "redis": VALKEY, "psycopg": DATABASE}
_TEXTS = ("connecting", "cannot connect", "could not connect", "connection to broker lost", "connection error")
# PostgreSQL's classes and codes of a server that is away, full or ending; SQLite's IOERR, FULL and CANTOPEN.
_AWAY_STATES = ("08", "53", "57P")
_AWAY_CODES = {10, 13, 14}
_CAUSES_AT_MOST = 20


class OutageFilter(logging.Filter):
    """Of a handler. Lines of one outage: the first as one line without its traceback, then one a minute with a count.

    What tells lines of one outage apart is the kind of error, not who logs it. Everything else passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._said_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = _outage_of(record)
        if not kind:
            return True
        with self._lock:
            now, said_at = read_boot_clock(), self._said_at.get(kind)
            if said_at is not None and now - said_at < MINUTE_SECONDS:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return False
            self._said_at[kind] = now
            count = self._left_out.pop(kind, 0)
        _shorten(record, count)
        return True


def _outage_of(record: logging.LogRecord) -> str:
    """The kind of outage that a line tells of; empty for none."""
    error = record.exc_info[1] if record.exc_info else None
    arguments = record.args if isinstance(record.args, tuple) else ()
    for one in (error, *arguments):
        if isinstance(one, BaseException):
            found = next(filter(None, map(_server_of, _causes(one))), "")
            if found:
                return found
    server = _LIBRARIES.get(record.name.partition(".")[0], "")
    if not server or record.levelno < logging.WARNING:
        return ""
    text = record.getMessage().lower()
    return server if any(words in text for words in _TEXTS) else ""


def _server_of(error: BaseException) -> str:
    """The server that is away, as this error says; empty where it says something else."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | BrokerError):
        return VALKEY
    if not isinstance(error, OperationalError | InterfaceError):
        return ""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return DATABASE if code & 0xFF in _AWAY_CODES else ""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return DATABASE if not state or state.startswith(_AWAY_STATES) else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, inner ones last."""
    one: BaseException | None = error
    for _step in range(_CAUSES_AT_MOST):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _shorten(record: logging.LogRecord, left_out: int) -> None:
    """One line: the traceback's last words instead of the whole, and how many lines like it were left out."""
    error = record.exc_info[1] if record.exc_info else None
    words = record.getMessage().splitlines()
    text = words[0] if words else ""
    if error is not None:
        said = str(error).splitlines()
        text += f" ({type(error).__name__}: {said[0] if said else ''})"
    if left_out:
        text += f" ({left_out} more lines of this outage were left out since the last one)"
    record.msg, record.args = text, ()
    record.exc_info = record.exc_text = record.stack_info = None
