"""Requests of jobs, and their messages to the workers. An example:

requests.request_job("source.test", key=source.pk, subject=source.name, by=request.user, now=now)
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from integrations.core.background import repeat_on_conflict
from integrations.jobs.registry import DEFAULT_QUEUE, kinds
from integrations.models import Corp, Job
from integrations.models.fields import Person
from integrations.models.jobs import JobQuerySet, Moment

logger = logging.getLogger(__name__)

TASK = "integrations.run_job"
# A message that no worker took within this time counts as lost, and is sent again.
QUEUED_FOR = timedelta(seconds=60)
SENT_AT_ONCE = 100  # other due jobs wait for the next tick


def request_job(
    kind: str,
    *,
    now: datetime,
    key: object = None,
    subject: object = "",
    payload: dict[str, Any] | None = None,
    secret_payload: str = "",
    file: bytes | None = None,
    corp: Corp | None = None,
    by: Person | None = None,
) -> Job:
    """Request a job. `key`: what the job works on, such as the primary key of a row; `subject`: its name for people.
    If a job of this kind and key waits, it gets the new payload and is returned; if one runs, the new job waits."""
    wanted = {
        "payload": payload or {},
        "secret_payload": secret_payload,
        "file": file,
        "corp": corp,
        "subject": str(subject)[:200],
        "asked_by_id": None if by is None else by.pk,
        "asked_by": "" if by is None else by.get_username()[:255],
        "requested_at": now,
        "due_at": Now(),  # the database's clock, which workers ask; this host's may be ahead
    }
    return _send_job(repeat_on_conflict(partial(_update_or_insert, kind, None if key is None else str(key), wanted)))


@transaction.atomic
def _update_or_insert(kind: str, key: str | None, wanted: dict[str, Any]) -> Job:
    """Update the waiting row or insert one. It stays locked, so that no worker starts before the caller commits."""
    if key is not None:
        same = Job.objects.filter(kind=kind, key=key, status=Job.Status.WAITING)
        if waiting := same.select_for_update(no_key=True, of=("self",)).first():
            for name, value in wanted.items():
                setattr(waiting, name, value)
            waiting.save()
            return waiting
    return Job.objects.create(kind=kind, key=key, **wanted)


def find_newest_job(kind: str, key: object) -> Job | None:
    """Return the last requested job, finished or not."""
    return Job.objects.filter(kind=kind, key=str(key)).order_by("-requested_at", "-pk").first()


def retry_job(job: Job, *, by: Person, now: datetime) -> Job:
    """Repeat a failed job with the rights of `by`. Return it, or a waiting job of the same kind and key."""
    return _send_job(repeat_on_conflict(partial(_reset_failed_job, job, by, now)))


def _send_job(job: Job) -> Job:
    job.refresh_from_db(fields=["due_at"])  # replaces Now() by the time that the database wrote
    send_jobs_on_commit(Job.objects.filter(pk=job.pk))
    return job


@transaction.atomic
def _reset_failed_job(job: Job, by: Person, now: datetime) -> Job:
    job = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=job.pk)
    waiting = job.key and Job.objects.filter(kind=job.kind, key=job.key, status=Job.Status.WAITING).first()
    if waiting or job.status != Job.Status.FAILED:
        return waiting or job
    job.status, job.requested_at, job.due_at = Job.Status.WAITING, now, Now()
    job.asked_by_id, job.asked_by = by.pk, by.get_username()[:255]
    job.started_at = job.finished_at = job.forget_at = job.queued_until = None
    job.problem, job.facts, job.try_count, job.done_count, job.total_count = "", {}, 0, 0, 0
    job.save()
    return job


# --- Messages to the workers: one after the commit, and another if the first one is lost ------------------------------


def send_jobs_on_commit(jobs: JobQuerySet) -> None:
    """Send messages for the due ones among `jobs`, once the transaction is committed."""
    transaction.on_commit(partial(_send_messages, jobs.due(Now())))


def find_unqueued_jobs(now: Moment) -> QuerySet[Job]:
    """Return due jobs without a message under way."""
    return Job.objects.due(now).exclude(queued_until__gt=now)


def sweep_jobs(now: datetime) -> None:
    """Send messages for due jobs that have none, also because a message or a worker was lost. Delete outdated jobs."""
    _send_messages(find_unqueued_jobs(now))
    find_outdated_jobs(now).delete()


def _send_messages(jobs: QuerySet[Job]) -> None:
    """Send messages; without a broker the rows wait for the next tick. Only jobs that are still due are marked as
    queued: a job that a worker has just taken must be sent again at once if that worker dies."""
    found = list(jobs.order_by("due_at").values_list("pk", "kind")[:SENT_AT_ONCE])
    rows = Job.objects.filter(pk__in=[pk for pk, _kind in found])
    if not rows.due(Now()).update(queued_until=Now() + QUEUED_FOR):
        return
    try:
        for pk, kind in found:
            queue = kinds[kind].queue if kind in kinds else DEFAULT_QUEUE
            current_app.send_task(TASK, args=(pk,), queue=queue, expires=QUEUED_FOR.total_seconds(), ignore_result=True)
    except OperationalError as error:
        logger.error("the queue cannot be reached task=%s error=%s", TASK, type(error).__name__)
        rows.update(queued_until=None)


def find_outdated_jobs(now: Moment) -> QuerySet[Job]:
    """Return the finished jobs that are to be deleted."""
    return Job.objects.filter(forget_at__lte=now)


def repair_times(*, now: datetime) -> None:
    """Repair rows after a clock that ran ahead was set back: jobs in the far future start now."""
    jobs = Job.objects.unfinished()
    jobs.filter(status=Job.Status.RUNNING, due_at__gt=now + 2 * QUEUED_FOR).update(due_at=now)
    jobs.filter(status=Job.Status.WAITING, due_at__gt=now + timedelta(days=1)).update(due_at=now)
    jobs.filter(queued_until__gt=now + 2 * QUEUED_FOR).update(queued_until=None)
