"""Work that a worker does in the background, as a row: who has it, until when, and whether it is over."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar

from django.db import models, transaction
from django.db.models import Q
from django.db.models.expressions import Combinable
from django.utils.translation import pgettext_lazy

Row = TypeVar("Row", bound="Leased")
Job = TypeVar("Job", bound="BackgroundJob")

# A time, or an expression for one, as the database's own Now().
Moment: TypeAlias = datetime | Combinable

LET_GO = MappingProxyType({"lease_token": "", "lease_until": None})


class LeaseLostError(Exception):
    """Another worker has the row now, or it is over or gone: this one must not write any more."""


class LeasedQuerySet(models.QuerySet[Row]):
    def free(self, now: Moment) -> Self:
        """Rows that no worker holds."""
        return self.filter(Q(lease_until__isnull=True) | Q(lease_until__lte=now))

    def held_by(self, pk: int, token: str) -> Self:
        """The row, as long as the worker with this token has it. An ended lease counts until somebody takes the row."""
        return self.filter(pk=pk, lease_token=token)

    def claim(self, *, until: datetime, **changes: Any) -> str:
        """Lease the rows found here in one statement. Returns the token, or "" where there are none any more."""
        token = uuid.uuid4().hex
        return token if self.update(lease_token=token, lease_until=until, **changes) else ""


class Leased(models.Model):
    """A row that one worker at a time has: it writes only while its token stands here, and moves the end on."""

    lease_token = models.CharField(max_length=32, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


class BackgroundJobQuerySet(LeasedQuerySet[Job]):
    def unfinished(self) -> Self:
        return self.filter(status__in=[*self.model.WAITING, *self.model.RUNNING])

    def claimable(self, now: datetime) -> Self:
        """Those that wait for a worker, and those whose worker has been silent for longer than its lease."""
        dead = Q(status__in=self.model.RUNNING, lease_until__lte=now)
        return self.filter(Q(status__in=self.model.WAITING) | dead)

    def keys_to_queue(self, now: datetime, *, at_most: int = 100) -> list[int]:
        """Keys of claimable jobs, the oldest first. Queued twice does no harm."""
        return list(self.claimable(now).order_by("pk").values_list("pk", flat=True)[:at_most])

    def held_by(self, pk: int, token: str) -> Self:
        return super().held_by(pk, token).filter(status__in=self.model.RUNNING)

    def change(self, job: Job, **changes: Any) -> None:
        """Write these columns of a job that is ours. Raises LeaseLostError."""
        if not self.held_by(job.pk, job.lease_token).update(**changes):
            raise LeaseLostError

    @contextmanager
    def hold(self, job: Job, *, until: datetime) -> Iterator[Job]:
        """A transaction that holds the row of a job that is ours, moves its lease on, and saves what is changed of it.

        Raises LeaseLostError.
        """
        with transaction.atomic():
            held = self.held_by(job.pk, job.lease_token).select_for_update(of=("self",)).first()
            if held is None:
                raise LeaseLostError
            held.lease_until = until
            yield held
            held.save()  # the whole row, which is locked


class BackgroundJob(Leased):
    """A job with a beginning and an end. Each has a `status` of its own: `WAITING` and `RUNNING` name what of it means
    that a worker should take the job, or has it."""

    WAITING: ClassVar[tuple[str, ...]] = ("waiting",)
    RUNNING: ClassVar[tuple[str, ...]] = ("running",)

    # How often a worker took it without getting on; each kind says when it is given up.
    try_count = models.PositiveSmallIntegerField(default=0, editable=False)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    if TYPE_CHECKING:
        status: models.CharField[str, str]

    class Meta:
        abstract = True

    @property
    def is_unfinished(self) -> bool:
        return self.status in (*self.WAITING, *self.RUNNING)

    def claim(self, *, until: datetime) -> None:
        """Lease a row that is locked. Whoever calls saves it."""
        self.lease_token, self.lease_until, self.try_count = uuid.uuid4().hex, until, self.try_count + 1

    def finish(self, status: str, at: datetime | None) -> None:
        """End a row that is locked; for good, or, without `at`, until somebody answers. Whoever calls saves it."""
        self.status, self.finished_at = status, at
        self.lease_token, self.lease_until = "", None
