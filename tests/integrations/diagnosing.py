"""Results of the diagnosis as rows, for tests that are about something else, and runs carried out at once."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

from django.utils import timezone

from integrations.companies.diagnosis import runner
from integrations.companies.diagnosis.results import CHECKS, essential_checks
from integrations.core.redis import valkey
from integrations.models import CheckRun, Corp

NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


def check_run(corp: Corp, name: str, status: str = "ok", **columns: Any) -> CheckRun:
    """A finished run that saw the corp as it is now."""
    finished = {"requested_at": NOW, "started_at": NOW, "finished_at": NOW, "subject": CHECKS[name].subject(corp)}
    version = corp.connection_version
    return CheckRun.objects.create(
        corp=corp, check_name=name, connection_version=version, status=status, **{**finished, **columns}
    )


def passed(corp: Corp) -> dict[str, CheckRun]:
    """Everything that enabling asks for was found in order a moment ago."""
    return {name: check_run(corp, name, finished_at=timezone.now()) for name in essential_checks(corp)}


def run_one(corp: Corp, name: str, *, now: dt.datetime = NOW) -> CheckRun:
    """Ask for one check and carry it out here, a second later."""
    (run,) = runner.request_checks(corp=corp, checks=[name], now=now)
    runner.carry_out(run_id=run.pk, clock=lambda: now + dt.timedelta(seconds=1))
    run.refresh_from_db()
    return run


def outcome_of(run: CheckRun) -> tuple[str, str, int | None]:
    """What a check found: status, problem, number."""
    return run.status, run.problem, run.errcode


def queued() -> list[tuple[str, list[Any]]]:
    """Name and arguments of each task that waits in the broker."""
    tasks = [json.loads(task) for task in valkey().lrange("celery", 0, -1)]
    return [(task["headers"]["task"], json.loads(base64.b64decode(task["body"]))[0]) for task in tasks]
