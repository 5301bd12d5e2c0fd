"""The logging configuration: ids, codes and durations; never a URL of WeCom, a body or a token."""

from __future__ import annotations

from typing import Any

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


def configuration(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig. `level`: the least one of what is written."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        # A server that is away is one line, then one a minute.
        "filters": {"outages": {"()": "guanwecom.operations.log_throttle.OutageFilter"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["outages"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {name: {"level": level} for name, level in _LEVELS.items()},
    }
