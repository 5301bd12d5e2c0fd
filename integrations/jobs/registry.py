"""The kinds of jobs. A kind is one function, registered by name in the package that owns the work:

    @job_kind("source.test", label=_("Test of a data source"), queue="data", seconds=120)
    def test_source(run: JobRun) -> dict[str, Any]: ...

It returns the job's result or RunAgain, or raises JobFailedError with a code and plain values, which `explain` turns
into a sentence when shown. It may be called again after its worker died, so it must tolerate its own earlier effects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from integrations.core.background import database_now
from integrations.core.heartbeats import is_served
from integrations.models import Job

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from integrations.jobs.runner import JobRun

DEFAULT_QUEUE = "celery"
# The page of a job that waits longer says why.
LONG_WAIT = timedelta(seconds=20)
# Problems that the runner itself may write.
BROKEN, LOST = "broken", "lost"


class JobFailedError(Exception):
    """The job ends as failed. `problem`: a code of its kind; `facts`: plain values for the sentence."""

    def __init__(self, problem: str, **facts: Any) -> None:
        super().__init__(problem)
        self.problem, self.facts = problem, facts


@dataclass(frozen=True)
class RunAgain:
    """The result of a function whose work must wait: the same job starts again at this time."""

    at: datetime


JobFunction = Callable[["JobRun"], "dict[str, Any] | RunAgain"]


@dataclass(frozen=True)
class JobKind:
    """A kind of jobs. `do`: its function. `explain`: returns the sentence on a failure. `seconds`: the time limit.
    `tries`: a job fails once so many workers died while they ran it. `keep`: how long a finished job stays. `see` and
    `retry`: permissions to see and repeat jobs of one's companies; without `see` only the requester sees a job.
    `template`: shown on a job's page beside its state. `repeats_errors`: after an unexpected error the job is tried
    again; otherwise the error ends it. `give_up`: called, in the same transaction, when the runner fails a job itself.
    """

    name: str
    label: StrOrPromise
    do: JobFunction
    explain: Callable[[Job], str]
    queue: str = DEFAULT_QUEUE
    seconds: int = 120
    tries: int = 5
    keep: timedelta = timedelta(days=1)
    see: str = ""
    retry: str = ""
    template: str = ""
    repeats_errors: bool = False
    give_up: Callable[[Job], None] | None = None


kinds: dict[str, JobKind] = {}


def job_kind(name: str, **options: Any) -> Callable[[JobFunction], JobFunction]:
    """Register the function as the kind `name`, with the fields of JobKind."""

    def register(do: JobFunction) -> JobFunction:
        kinds[name] = JobKind(name=name, do=do, **options)
        return do

    return register


def label_job(job: Job) -> str:
    """Return the kind's label in the reader's language; for a kind that this release does not know, its name."""
    return str(kinds[job.kind].label) if job.kind in kinds else job.kind


def describe_job(job: Job | None) -> dict[str, Any]:
    """Return the values for the templates of a job's progress. `job`: None if nobody requested one."""
    return {
        "job": job,
        "is_unfinished": job is not None and job.is_unfinished,
        "wait": explain_wait(job) if job is not None else "",
        "problem": explain_failure(job) if job is not None else "",
    }


def explain_failure(job: Job) -> str:
    """Return why a job failed; empty if it has not."""
    if job.status != Job.Status.FAILED:
        return ""
    if job.problem == LOST:
        return _("Every worker that did this stopped or was too slow. Try again, and check the log of the workers.")
    if job.problem == BROKEN or job.kind not in kinds:
        return _("This stopped because of an error in this program. See the log of the worker.")
    return kinds[job.kind].explain(job)


def explain_wait(job: Job) -> str:
    """Return why a job has been waiting for long; empty if it has not, or starts by itself at a later time."""
    # Not this host's clock: the database writes `due_at` and the heartbeats.
    if job.status != Job.Status.WAITING or (now := database_now()) - job.due_at < LONG_WAIT:
        return ""
    queue = kinds[job.kind].queue if job.kind in kinds else DEFAULT_QUEUE
    if is_served(queue, now=now):
        return _("The workers of the queue “%(queue)s” are busy: this begins after the earlier jobs.") % {
            "queue": queue
        }
    return _("No worker has answered. Check that a worker serves the queue “%(queue)s”.") % {"queue": queue}
