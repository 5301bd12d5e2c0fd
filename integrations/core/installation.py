"""Detection of a database copy, which must not send, by comparing it with the confirmed installation.

No task runs in a copy (`InstallationTask`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from celery import Task
from django.conf import settings
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from integrations.clients.transport import read_boot_clock
from integrations.models import Installation
from integrations.models.installation import SINGLETON_PK, Place

logger = logging.getLogger(__name__)

# How long a cached result is used, by web processes and by workers that draw.
COPY_CACHE_SECONDS = 5.0
_HOUR_SECONDS = 3600.0


@dataclass
class _CachedAnswer:
    is_copy: bool = False
    until: float = float("-inf")  # by the boot clock


_cache = _CachedAnswer()


def is_copy() -> bool:
    """Return whether the database is an unconfirmed copy, from which nothing is sent and nobody signs in with WeCom.
    Makes one query, and stores a new version or timeline. A database without the row is no copy, and gets its row.
    Raises django.db.Error."""
    # Only these columns: this runs before each task, also before a migration has added newer columns.
    row = load_installation("is_held", "place", "deployment", "version", "timeline")
    if parse_version(row.version) < parse_version(settings.VERSION):
        Installation.objects.filter(pk=SINGLETON_PK, version=row.version).update(version=settings.VERSION)
    timeline: int = row.timeline_here  # type: ignore[attr-defined]  # annotated by `load_installation`
    if row.timeline != timeline:
        is_failover = row.timeline is not None and row.place == row.here  # type: ignore[attr-defined]  # annotated, too
        failover = {"failed_over_at": Now()} if is_failover else {}
        Installation.objects.filter(pk=SINGLETON_PK, timeline=row.timeline).update(timeline=timeline, **failover)
    return belongs_to_copy(row)


def is_copy_by_cache() -> bool:
    """Return `is_copy()`, at most COPY_CACHE_SECONDS old."""
    if read_boot_clock() >= _cache.until:
        _cache.is_copy, _cache.until = is_copy(), read_boot_clock() + COPY_CACHE_SECONDS
    return _cache.is_copy


def clear_copy_cache() -> None:
    _cache.until = float("-inf")


def load_installation(*columns: str) -> Installation:
    """Return the row with these columns, or all, and the database's present place and timeline as `here` and
    `timeline_here`. Create the row if it is missing."""
    row = (_query_installation().only(*columns) if columns else _query_installation()).first()
    if row is not None:
        return row
    values = {"deployment": settings.INSTALLATION_NAME, "version": settings.VERSION}
    Installation.objects.bulk_create([Installation(place=Place(), confirmed_at=Now(), **values)], ignore_conflicts=True)
    return _query_installation().get()


def _query_installation() -> QuerySet[Installation]:
    # PostgreSQL's timeline changes when a standby is promoted or a point in time is restored.
    timeline = RawSQL("SELECT timeline_id FROM pg_control_checkpoint()", ())  # nosec B611  # a constant
    return Installation.objects.annotate(here=Place(), timeline_here=timeline).filter(pk=SINGLETON_PK)


def belongs_to_copy(row: Installation) -> bool:
    """Return whether a row from `load_installation` belongs to an unconfirmed copy."""
    here: str = row.here  # type: ignore[attr-defined]  # annotated by `load_installation`
    return row.is_held or (row.place, row.deployment) != (here, settings.INSTALLATION_NAME)


def parse_version(version: str) -> tuple[int, ...]:
    """Return the comparable part of a version, without the commit, which says nothing about the order."""
    return tuple(int(part) for part in version.partition("+")[0].split(".") if part.isdigit())


class InstallationTask(Task[Any, Any]):
    """Base class of all tasks (guanwecom.celery), which do nothing in a copy of the database. Their work stays in rows:
    once the copy is confirmed, it is queued again, unless the confirmation itself ended it."""

    abstract = True
    # True for tasks that only draw: they may notice some seconds late that the database became a copy.
    sends_nothing = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.request.called_directly:
            if is_copy_by_cache() if self.sends_nothing else is_copy():
                copy_warning.log(f"{self.name} and all other tasks are left out")
                return None
            return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)


class CopyWarning:
    """The log line, once an hour, of a process that does nothing because the database is a copy."""

    def __init__(self) -> None:
        self._next_at = float("-inf")

    def log(self, consequence: str) -> None:
        """Log the line if an hour has passed. `consequence`: what the process does not do."""
        now = read_boot_clock()
        if now >= self._next_at:
            self._next_at = now + _HOUR_SECONDS
            logger.warning("this database is a copy (manage.py installation): %s", consequence)


copy_warning = CopyWarning()
