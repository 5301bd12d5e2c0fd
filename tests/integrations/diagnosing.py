"""Results of the diagnosis as rows, for tests of something else, and checks run at once."""

import base64
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from django.db.models import Q
from django.utils import timezone

from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.checks import CHECKS, list_essential_checks
from integrations.core.redis import valkey
from integrations.models import CheckRun, Corp, Job
from tests.jobs import take_job

NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


def check_run(corp: Corp, name: str, status: str = "ok", **columns: Any) -> CheckRun:
    """Make a finished run for the corp as it is now, in place of an earlier one."""
    finished = {"requested_at": NOW, "finished_at": NOW, "subject": CHECKS[name].subject(corp)}
    version = corp.connection_version
    CheckRun.objects.filter(corp=corp, check_name=name).delete()
    return CheckRun.objects.create(
        corp=corp, check_name=name, connection_version=version, status=status, **{**finished, **columns}
    )


def pass_checks(corp: Corp) -> dict[str, CheckRun]:
    """Make good results, a moment old, of everything that enabling requires."""
    return {name: check_run(corp, name, finished_at=timezone.now()) for name in list_essential_checks(corp)}


def run_one(corp: Corp, name: str, *, now: dt.datetime = NOW) -> CheckRun:
    """Request one check and run it here, a second later."""
    checks.request_checks(corp=corp, checks=[name], now=now)
    run = CheckRun.objects.get(corp=corp, check_name=name)
    carry_out(run, clock=lambda: now + dt.timedelta(seconds=1))
    return run


def carry_out(run: CheckRun, clock: Callable[[], dt.datetime] = timezone.now) -> list[int]:
    """Run the check here. Return the runs that are to be tried now because of it."""
    runs = CheckRun.objects.filter(corp=run.corp_id, status="waiting").order_by("pk")
    before = set(runs.exclude(pk=run.pk).values_list("pk", flat=True))
    run.refresh_from_db()
    job = take_job(Job.objects.filter(kind=checks.DIAGNOSIS, corp=run.corp_id).latest("pk"), clock)
    checks.execute_check(run, job)
    Job.objects.filter(pk=job.job.pk).update(status="waiting", try_count=0)  # as after RunAgain
    run.refresh_from_db()
    return list(runs.exclude(pk__in=before).values_list("pk", flat=True))


def checks_waiting() -> list[int]:
    """Return the runs that a waiting job will try, in the order of their requests."""
    corps = Job.objects.filter(kind=checks.DIAGNOSIS, status="waiting").values("corp")
    runs = CheckRun.objects.filter(Q(status="waiting") | Q(next_try_at__isnull=False), corp__in=corps)
    return list(runs.order_by("pk").values_list("pk", flat=True))


def outcome_of(run: CheckRun) -> tuple[str, str, int | None]:
    """Return status, problem and number of a check."""
    return run.status, run.problem, run.errcode


def queued() -> list[tuple[str, list[Any]]]:
    """Return name and arguments of each task that waits in the broker."""
    tasks = [json.loads(task) for task in valkey().lrange("celery", 0, -1)]
    return [(task["headers"]["task"], json.loads(base64.b64decode(task["body"]))[0]) for task in tasks]
