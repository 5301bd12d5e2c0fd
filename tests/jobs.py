"""Does jobs inside a test, as a worker would."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db.models import F
from django.utils import timezone

from integrations import tasks
from integrations.jobs.registry import kinds
from integrations.jobs.runner import JobRun
from integrations.models import Job


def do_jobs(*kinds: str) -> None:
    """Do what is due, the oldest first, and what that brings, until nothing is. `kinds`: these alone."""
    done: set[tuple[int, int]] = set()
    while True:
        due = Job.objects.due(timezone.now()).order_by("pk")
        found = set((due.filter(kind__in=kinds) if kinds else due).values_list("pk", "try_count")) - done
        if not found:
            return
        done |= found
        for pk, _count in sorted(found):
            tasks.run_job(pk)


def take_job(job: Job, clock: Callable[[], datetime]) -> JobRun:
    """Return the job as a worker has it whose clock this is, for its function to be called by the test."""
    Job.objects.filter(pk=job.pk).update(status="running", lease_token="ours", try_count=F("try_count") + 1)
    job.refresh_from_db()
    run = JobRun(job, kinds[job.kind])
    run.clock = clock
    return run


def put_back(run: JobRun, *, is_over: bool) -> None:
    """End what `take_job` took, or let it wait for its next time, which has come."""
    status = Job.Status.DONE if is_over else Job.Status.WAITING
    Job.objects.filter(pk=run.job.pk).update(status=status, lease_token="", due_at=timezone.now())


def end_leases() -> None:
    """What half a minute of silence does to the jobs that workers have."""
    Job.objects.filter(status=Job.Status.RUNNING).update(due_at=timezone.now())
