"""Execution of one job: claim its row, call the function of its kind, and write the result.

Only the row says whether a job runs. A second message, or a worker that goes on after its lease ended, does no harm,
because every write needs the token of the claim.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet

from integrations.core.background import database_clock, database_now, is_database_away, keep_lease, log_errors
from integrations.core.metrics import LONG_SECONDS, TimedMetric
from integrations.jobs.registry import BROKEN, LOST, JobFailedError, JobKind, RunAgain, kinds
from integrations.jobs.requests import send_jobs_on_commit
from integrations.models import Job
from integrations.models.jobs import LeaseLostError

logger = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Model)

# A worker that does not renew its lease for so long counts as dead, and another one takes its job.
LEASE_SECONDS = 30
# How often the lease is renewed and the reported progress is saved.
RENEW_SECONDS = 2.0
# A failed job that people may repeat is kept at least so long.
FAILED_FOR = timedelta(days=7)

_JOB_SECONDS = TimedMetric(
    "guanwecom_job_duration_seconds", "How long jobs took, by outcome", "kind", "outcome", edges=LONG_SECONDS
)


class JobRun:
    """A job that this worker has claimed: the argument of its function. `clock`: the database's."""

    def __init__(self, job: Job, kind: JobKind) -> None:
        self.job, self.kind, self.clock = job, kind, database_clock()
        self._ends_at = self.clock() + timedelta(seconds=kind.seconds)
        self._is_lost = False

    def report_progress(self, done: int, total: int) -> None:
        """Report the progress. Raises LeaseLostError if another worker has the job, or its time is over."""
        self.job.done_count, self.job.total_count = done, total
        if self._is_lost:
            raise LeaseLostError

    def lock_job(self) -> None:
        """Lock the job until the caller's transaction commits, so that no other worker takes it. Its lease is not
        renewed meanwhile: keep the transaction short. Raises LeaseLostError."""
        if self._find_own_row().select_for_update(no_key=True, of=("self",)).first() is None:
            raise LeaseLostError

    @contextmanager
    def edit_row(self, rows: QuerySet[Row]) -> Iterator[Row]:
        """Yield the one row of `rows`, locked in a transaction, then save it if the job is still ours. Raises
        LeaseLostError."""
        with transaction.atomic():
            row = rows.select_for_update(of=("self",)).get()
            yield row
            row.save()
            self.lock_job()

    def renew_lease(self) -> None:
        """Extend the lease and save the progress, on another connection, unless the job takes too long."""
        now = self.clock()
        if now >= self._ends_at:
            self._is_lost = True
            return
        counts = {"done_count": self.job.done_count, "total_count": self.job.total_count}
        if not self._find_own_row().update(due_at=now + timedelta(seconds=LEASE_SECONDS), **counts):
            # In a test, an open transaction may hide the row from this connection: only a visible row can be lost.
            self._is_lost = Job.objects.filter(pk=self.job.pk).exists()

    def write_outcome(self, **columns: Any) -> None:
        """Write the outcome of a job that is still ours, and release it. Raises LeaseLostError."""
        columns |= {"done_count": self.job.done_count, "total_count": self.job.total_count}
        if not self._find_own_row().update(lease_token="", **columns):
            raise LeaseLostError

    def _find_own_row(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, lease_token=self.job.lease_token, status=Job.Status.RUNNING)


def run_job(job_id: int) -> None:
    """Execute a job that is due; do nothing if another worker has it, or if it has finished."""
    job = _claim_job(job_id)
    if job is not None:
        try:
            _execute_job(job)
        except LeaseLostError:
            logger.warning("job %s of the kind %s went to another worker, or was too slow", job.pk, job.kind)


def _execute_job(job: Job) -> None:
    kind = kinds[job.kind]
    run = JobRun(job, kind)
    started_at = run.clock()
    with log_errors(logger, "job %s of the kind %s broke", job.pk, job.kind, unless=(LeaseLostError,)) as block:
        outcome: dict[str, Any] = {"status": Job.Status.DONE}
        try:
            with keep_lease(run.renew_lease, seconds=RENEW_SECONDS):
                result = kind.do(run)
        except JobFailedError as failure:
            outcome = {"status": Job.Status.FAILED, "problem": failure.problem, "facts": failure.facts}
        else:
            if isinstance(result, RunAgain):
                outcome = {"status": Job.Status.WAITING, "due_at": result.at, "try_count": 0}
            else:
                outcome["result"] = result
    if is_database_away(block.error) or (block.error and kind.repeats_errors and job.try_count < kind.tries):
        return  # its lease ends, and another worker takes over
    if block.error is not None:
        outcome = {"status": Job.Status.FAILED, "problem": BROKEN}
    now = run.clock()
    try:
        with transaction.atomic():
            if block.error is not None and kind.give_up is not None:
                kind.give_up(job)
            run.write_outcome(**outcome, **_end_columns(kind, outcome["status"], now))
    except IntegrityError:  # the same job was requested meanwhile: that one continues instead of this one
        run.write_outcome(status=Job.Status.DONE, **_end_columns(kind, Job.Status.DONE, now))
    _JOB_SECONDS.add((now - started_at).total_seconds(), job.kind, outcome["status"])
    _send_waiting_job(job)


@transaction.atomic
def _claim_job(job_id: int) -> Job | None:
    """Claim the job for this worker. Let it fail instead if too many workers died while they ran it."""
    now = database_now()
    due = Job.objects.due(now).filter(pk=job_id)
    job = due.select_for_update(no_key=True, skip_locked=True, of=("self",)).first()
    if job is None or job.kind not in kinds:  # a kind of a newer release
        return None
    kind = kinds[job.kind]
    job.queued_until = None
    if job.try_count >= kind.tries:
        ended = {"status": Job.Status.FAILED, "problem": LOST, "lease_token": ""}
        Job.objects.filter(pk=job.pk).update(**ended, **_end_columns(kind, Job.Status.FAILED, now))
        if kind.give_up is not None:
            kind.give_up(job)
        logger.error("job %s of the kind %s is given up: its workers died", job.pk, job.kind)
        _send_waiting_job(job)
        return None
    job.status, job.lease_token, job.try_count = Job.Status.RUNNING, uuid.uuid4().hex, job.try_count + 1
    job.started_at, job.due_at = now, now + timedelta(seconds=LEASE_SECONDS)
    job.save(update_fields=["status", "lease_token", "due_at", "queued_until", "started_at", "try_count"])
    return job


def _end_columns(kind: JobKind, status: str, now: datetime) -> dict[str, Any]:
    """Return columns of a job that ended: times, and an empty secret unless people may repeat it. {} if it waits."""
    if status == Job.Status.WAITING:
        return {}
    if status == Job.Status.FAILED and kind.retry:
        return {"finished_at": now, "forget_at": now + max(kind.keep, FAILED_FOR)}
    return {"finished_at": now, "forget_at": now + kind.keep, "secret_payload": ""}


def _send_waiting_job(job: Job) -> None:
    """Send a message for the job with the same key that waited for the end of this one."""
    if job.key is not None:
        send_jobs_on_commit(Job.objects.filter(kind=job.kind, key=job.key))
