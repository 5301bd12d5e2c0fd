"""Background jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Self, TypeAlias

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import Combinable
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.models.companies import Corp
from integrations.models.fields import EncryptedTextField

# A time, or a database expression for one, such as Now().
Moment: TypeAlias = datetime | Combinable


class LeaseLostError(Exception):
    """The worker lost the lease of its row: another worker has the row, or it is finished or deleted. The worker must
    not write any more."""


class JobQuerySet(models.QuerySet["Job"]):
    def unfinished(self) -> Self:
        return self.filter(status__in=[Job.Status.WAITING, Job.Status.RUNNING])

    def due(self, now: Moment) -> Self:
        """Filter jobs that a worker may take: waiting jobs whose time has come, and running jobs whose lease has
        expired. A job that waits behind a running one of the same key is not due."""
        running = Job.objects.filter(kind=OuterRef("kind"), key=OuterRef("key"), status=Job.Status.RUNNING)
        is_free = Q(status=Job.Status.RUNNING) | ~Exists(running)
        return self.unfinished().filter(is_free, due_at__lte=now)


AllJobs = models.Manager.from_queryset(JobQuerySet)


class JobManager(AllJobs["Job"]):
    def get_queryset(self) -> JobQuerySet:
        """Return the jobs without their secrets and files, each of which is read where it is used."""
        return JobQuerySet(self.model, using=self._db).defer("secret_payload", "file")


class Job(models.Model):
    """A background job. `kind` names its function (integrations.jobs.registry); the row holds its subject, requester,
    progress and result."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", pgettext_lazy("job", "running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    kind = models.CharField(_("kind"), max_length=32)
    # What the job is about, such as a source's primary key. Of each kind and key, one job may wait and one may run; of
    # those with NULL, any number.
    key = models.CharField(max_length=64, null=True, editable=False)
    subject = models.CharField(_("about"), max_length=200, blank=True)
    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, null=True, related_name="jobs", verbose_name=_("company"))
    # Input and output of the job's function, as plain values; never a secret.
    payload = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    # Further input, encrypted. It is emptied when the job ends, unless the job can be retried.
    secret_payload = EncryptedTextField(blank=True, editable=False)
    # A file that was uploaded or that the job made. It is stored here because web process and worker may be on
    # different machines.
    file = models.BinaryField(null=True)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    # Waiting: the earliest start. Running: the end of its lease.
    due_at = models.DateTimeField()
    # Until then a task for the job may be in the queue, so no other is queued.
    queued_until = models.DateTimeField(null=True)
    lease_token = models.CharField(max_length=32, blank=True, editable=False)
    # How often a worker has taken the job since the request.
    try_count = models.PositiveSmallIntegerField(default=0, editable=False)
    # The progress; both are 0 if it is unknown.
    done_count = models.PositiveIntegerField(default=0)
    total_count = models.PositiveIntegerField(default=0)
    # Why the job failed: a code that its kind defines, and values for the sentence.
    problem = models.CharField(max_length=32, blank=True)
    facts = models.JSONField(default=dict)
    # Not a foreign key, because this app has no user model.
    asked_by_id = models.BigIntegerField(null=True)
    asked_by = models.CharField(_("requested by"), max_length=255, blank=True)
    requested_at = models.DateTimeField(_("requested"))
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    # When the job is deleted. Set only for a finished job.
    forget_at = models.DateTimeField(null=True)

    objects = JobManager()

    class Meta:
        verbose_name = _("background job")
        verbose_name_plural = _("background jobs")
        ordering = ["-pk"]
        default_permissions = ()  # each kind defines who sees its jobs
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "key"], condition=Q(status="waiting", key__isnull=False), name="one_waiting_job_per_key"
            ),
            models.UniqueConstraint(
                fields=["kind", "key"], condition=Q(status="running", key__isnull=False), name="one_running_job_per_key"
            ),
        ]
        indexes = [
            # For JobQuerySet.due, which finds few rows.
            models.Index(fields=["due_at"], condition=Q(status__in=["waiting", "running"]), name="unfinished_jobs"),
            # For the newest job of a key.
            models.Index(fields=["kind", "key", "-id"], name="newest_jobs"),
            models.Index(fields=["forget_at"], condition=Q(forget_at__isnull=False), name="jobs_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M}".replace("  ", " ")

    @property
    def is_unfinished(self) -> bool:
        return self.status in (self.Status.WAITING, self.Status.RUNNING)
