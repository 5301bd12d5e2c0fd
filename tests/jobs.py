"""Jobs done inside a test, as a worker would do them."""

from collections.abc import Callable
from datetime import datetime

from django.db.models import F
from django.utils import timezone

from integrations import tasks
from integrations.callbacks import EVENTS, process_events
from integrations.jobs.registry import kinds
from integrations.jobs.requests import request_job
from integrations.jobs.runner import JobRun
from integrations.models import CallbackEvent, Corp, Job


def do_jobs(*names: str) -> None:
    """Do due jobs, oldest first, and those that they request, until none is due. `names`: of kinds; none: of all."""
    done: set[tuple[int, int]] = set()
    while True:
        due = Job.objects.due(timezone.now()).order_by("pk")
        found = set((due.filter(kind__in=names) if names else due).values_list("pk", "try_count")) - done
        if not found:
            return
        done |= found
        for pk, _count in sorted(found):
            tasks.run_job(pk)


def take_job(job: Job, clock: Callable[[], datetime]) -> JobRun:
    """Claim the job as a worker with this clock would, so that the test can call its function."""
    Job.objects.filter(pk=job.pk).update(status="running", lease_token="ours", try_count=F("try_count") + 1)
    job.refresh_from_db()
    run = JobRun(job, kinds[job.kind])
    run.clock = clock
    return run


def return_job(run: JobRun, *, is_over: bool) -> None:
    """Finish what `take_job` claimed, or make it due again."""
    status = Job.Status.DONE if is_over else Job.Status.WAITING
    Job.objects.filter(pk=run.job.pk).update(status=status, lease_token="", due_at=timezone.now())


def process_due_events(clock: Callable[[], datetime]) -> None:
    """Process the events that are due by this clock as a worker would, once for each company and consumer."""
    due = CallbackEvent.objects.due(clock()).order_by("corp", "consumer").values_list("corp", "consumer").distinct()
    for corp_id, consumer in due:
        Job.objects.filter(kind=EVENTS).delete()
        now, corp = timezone.now(), Corp.objects.get(pk=corp_id)
        run = take_job(request_job(EVENTS, key=f"{corp_id}:{consumer}", corp=corp, now=now), clock)
        process_events(run)
        return_job(run, is_over=True)


def end_leases() -> None:
    """End the leases of running jobs, as half a minute without a heartbeat would."""
    Job.objects.filter(status=Job.Status.RUNNING).update(due_at=timezone.now())
