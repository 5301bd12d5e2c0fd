"""Work that a worker does in the background, as a row: who has it, until when, and whether it is over."""

from __future__ import annotations

import uuid
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self, TypeAlias, TypeVar

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import Combinable
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.models.companies import Corp

Row = TypeVar("Row", bound="Leased")

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


class JobQuerySet(models.QuerySet["Job"]):
    def unfinished(self) -> Self:
        return self.filter(status__in=[Job.Status.WAITING, Job.Status.RUNNING])

    def due(self, now: Moment) -> Self:
        """What a worker may take: jobs whose time has come, and those whose worker is silent. One that waits behind a
        running one of its key is none."""
        running = Job.objects.filter(kind=OuterRef("kind"), key=OuterRef("key"), status=Job.Status.RUNNING)
        is_free = Q(status=Job.Status.RUNNING) | ~Exists(running)
        return self.unfinished().filter(is_free, due_at__lte=now)


class Job(models.Model):
    """One piece of work in the background. `kind` names the function that does it (integrations.jobs.registry); the row
    says what it is about, who asked, how far it is, and what came of it."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", pgettext_lazy("job", "running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    kind = models.CharField(_("kind"), max_length=32)
    # What it is about, as a source's key: of a kind and key one job waits and one runs. NULL: any number.
    key = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001  # NULL is never the same
    subject = models.CharField(_("about"), max_length=200, blank=True)
    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, null=True, related_name="jobs", verbose_name=_("company"))
    # What its function needs and what it gives, as plain values. Never a secret.
    payload = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    # Waiting: not before then. Running: the end of its lease.
    due_at = models.DateTimeField()
    # A message to the workers is under way.
    queued_until = models.DateTimeField(null=True)
    lease_token = models.CharField(max_length=32, blank=True, editable=False)
    # How many workers took it since it was asked for.
    try_count = models.PositiveSmallIntegerField(default=0, editable=False)
    # Progress: 0 of 0 where it cannot be told.
    done_count = models.PositiveIntegerField(default=0)
    total_count = models.PositiveIntegerField(default=0)
    # Why it failed: a code of its kind, and plain values for the sentence.
    problem = models.CharField(max_length=32, blank=True)
    facts = models.JSONField(default=dict)
    # No foreign key: this app knows no user model.
    asked_by_id = models.BigIntegerField(null=True)
    asked_by = models.CharField(_("requested by"), max_length=255, blank=True)
    requested_at = models.DateTimeField(_("requested"))
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    # Only of a finished one.
    forget_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        verbose_name = _("background job")
        verbose_name_plural = _("background jobs")
        ordering = ["-pk"]
        default_permissions = ()  # each kind says who sees its jobs
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "key"], condition=Q(status="waiting", key__isnull=False), name="one_waiting_job_per_key"
            ),
            models.UniqueConstraint(
                fields=["kind", "key"], condition=Q(status="running", key__isnull=False), name="one_running_job_per_key"
            ),
        ]
        indexes = [
            # The few that a worker may take: JobQuerySet.due.
            models.Index(fields=["due_at"], condition=Q(status__in=["waiting", "running"]), name="unfinished_jobs"),
            # The newest job of a key.
            models.Index(fields=["kind", "key", "-id"], name="newest_jobs"),
            models.Index(fields=["forget_at"], condition=Q(forget_at__isnull=False), name="jobs_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M}".replace("  ", " ")

    @property
    def is_unfinished(self) -> bool:
        return self.status in (self.Status.WAITING, self.Status.RUNNING)


class JobFile(models.Model):
    """What a job reads or makes: the web process that takes it may be on another machine than the worker."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="file")
    content = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.job_id)
