"""Requests checks and runs them in the background, each on its own."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy

from integrations.clients.errors import IntegrationError
from integrations.clients.transport import total_deadline
from integrations.companies.diagnosis.app import MESSAGE, check_userid
from integrations.companies.diagnosis.findings import (
    APP_DISABLED,
    NO_FACTS,
    BlockingCheck,
    Check,
    Finding,
    Question,
    Status,
    clip_fact,
    is_passing,
    judge_error,
    wrong,
)
from integrations.companies.diagnosis.results import ALL_BUT_MESSAGE, CHECKS, ESSENTIAL
from integrations.core import hooks
from integrations.core.client_factory import token_store
from integrations.jobs import requests
from integrations.jobs.registry import Again, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import CheckRun, Corp

logger = logging.getLogger(__name__)

CHECK = "corp.check"
KEPT_RUNS = 20
# Everything that one check does on the network ends after so long.
CHECK_SECONDS = 60
# After so many workers died of a check it is given up.
TRIES = 5
# A test message that could not be sent within so long of the click would surprise its reader.
MESSAGE_GOOD_FOR = timedelta(minutes=10)
# How often a check is tried again because what stood in its way is out of it.
TRIES_BEHIND_OBSTACLE = 3


# --- Asking -----------------------------------------------------------------------------------------------------------


def request_checks(
    *, corp: Corp, checks: Iterable[str] | None, now: datetime, requested_by: str = ""
) -> list[CheckRun]:
    """Runs of the named checks (None: of all that reach nobody) for a worker to carry out, in the diagnosis' order.

    A run that is under way is given instead of a second one. Raises KeyError for a name that is no check, ValueError
    for the test message, which needs a person.
    """
    names = ALL_BUT_MESSAGE if checks is None else tuple(checks)
    if MESSAGE.name in names:
        raise ValueError("the test message is asked for by request_test_message")
    subjects = {name: CHECKS[name].subject(corp) for name in names}
    return _requested(corp, subjects, now, requested_by)


def request_test_message(*, corp: Corp, userid: str, now: datetime, requested_by: str = "") -> CheckRun:
    """A test message to one person. `userid`: as WeCom knows it; raises MessageError for what cannot be one."""
    check_userid(userid)
    return _requested(corp, {MESSAGE.name: userid}, now, requested_by)[0]


@transaction.atomic
def _requested(corp: Corp, subjects: dict[str, str], now: datetime, requested_by: str) -> list[CheckRun]:
    # Locked, so that two clicks at the same moment find each other's runs.
    version = Corp.objects.select_for_update().values_list("connection_version", flat=True).get(pk=corp.pk)
    newest = {run.check_name: run for run in CheckRun.objects.newest_of([corp]).filter(check_name__in=subjects)}
    jobs = requests.newest_jobs(CHECK, [run.pk for run in newest.values() if run.is_unfinished])
    runs: dict[str, CheckRun] = {}
    new: list[CheckRun] = []
    for name, subject in subjects.items():
        run = newest.get(name)
        job = None if run is None else jobs.get(str(run.pk))
        is_same = run is not None and (run.connection_version, run.subject) == (version, subject)
        if run is None or not is_same or job is None or not job.is_unfinished:
            run = CheckRun(corp=corp, check_name=name, connection_version=version, subject=subject)
            run.requested_at, run.requested_by = now, requested_by[:255]
            new.append(run)
        runs[name] = run
    CheckRun.objects.bulk_create(new)
    _put_away(corp, [run.check_name for run in new])
    for run in new:
        _request_job(run, corp, now)
    return list(runs.values())


def _request_job(run: CheckRun, corp: Corp, now: datetime) -> None:
    requests.request_job(CHECK, key=run.pk, subject=f"{corp.name} · {run.check_name}", corp=corp, now=now)


def _put_away(corp: Corp, names: Sequence[str]) -> None:
    """Of each check keep the last runs, and let no earlier one be tried again."""
    keys: dict[str, list[int]] = defaultdict(list)
    for key, name in CheckRun.objects.filter(corp=corp, check_name__in=names).values_list("pk", "check_name"):
        keys[name].append(key)
    CheckRun.objects.filter(pk__in=[key for kept in keys.values() for key in kept[KEPT_RUNS:]]).delete()
    earlier = [key for kept in keys.values() for key in kept[1:KEPT_RUNS]]
    CheckRun.objects.filter(pk__in=earlier, next_try_at__isnull=False).update(next_try_at=None)


def repair_times(*, now: datetime) -> None:
    """After a clock that ran ahead: what was asked then is asked now."""
    for name in ("requested_at", "started_at", "finished_at"):
        CheckRun.objects.filter(**{f"{name}__gt": now}).update(**{name: now})


# --- Carrying out -----------------------------------------------------------------------------------------------------


@job_kind(
    CHECK,
    label=gettext_lazy("Check of a company"),
    explain=lambda _job: "",  # the check says what it found
    seconds=2 * CHECK_SECONDS,
    tries=TRIES + 1,
    keep=timedelta(hours=1),
    see="integrations.change_corp",
    retry="integrations.change_corp",
)
def carry_out(job_run: JobRun) -> dict[str, Any] | Again:
    """Run one check and note what it found; have checked what can be tried now because of it."""
    run = CheckRun.objects.filter(pk=int(job_run.job.key or 0)).first()
    if run is None or run.check_name not in CHECKS:
        logger.info("check run %s is gone: its company was deleted, or newer runs have pushed it out", job_run.job.key)
        return {}
    if not run.is_unfinished and run.next_try_at is None:  # a newer run has come
        return {}
    check, now = CHECKS[run.check_name], job_run.clock()
    end = _end_without_try(run, check, job_run.job.try_count, now)
    if end is not None:
        with transaction.atomic():
            status, problem = end
            ended = {"status": status, "problem": problem, "finished_at": now, "next_try_at": None}
            CheckRun.objects.filter(pk=run.pk).update(**ended)
            job_run.hold()
        return {}
    run.started_at, run.try_count = now, run.try_count + 1
    columns = {"started_at": now, "try_count": run.try_count, "next_try_at": None}
    with transaction.atomic():
        CheckRun.objects.filter(pk=run.pk).update(status=Status.RUNNING, **columns)
        job_run.hold()  # before the test message: a worker that slept must not send a second one
    corp, finding = _tried(run, check, now)
    logger.info("check %s corp=%s status=%s errcode=%s", run.check_name, run.corp_id, finding.status, finding.errcode)
    return _settle(run, check, corp, finding, job_run)


def _end_without_try(run: CheckRun, check: Check, try_count: int, now: datetime) -> tuple[Status, str] | None:
    """The end of a run that is not to be tried (any more): its status and problem."""
    if not check.is_repeatable:
        if run.status == Status.RUNNING:  # its worker died: it may have reached a person
            return Status.WARNING, "lost"
        return (Status.SKIPPED, "too_late") if now - run.requested_at > MESSAGE_GOOD_FOR else None
    return (Status.WRONG, "died") if try_count > TRIES else None


def _tried(run: CheckRun, check: Check, now: datetime) -> tuple[Corp | None, Finding]:
    """The corp as it was tried, and what was found. Nothing that goes wrong leaves the run without an end."""
    corp: Corp | None = None
    try:
        corp = Corp.objects.select_related("site_address").get(pk=run.corp_id)
        # Why? A Secret saved a moment ago in another process must not be judged by the token of the one before.
        token_store().drop_copies(corp.corpid, corp.agentid)
        subject = check.subject(corp) if check.name != MESSAGE.name else run.subject
        run.connection_version, run.subject = corp.connection_version, subject
        with total_deadline(CHECK_SECONDS):
            return corp, check.run(Question(corp=corp, now=now, run_id=run.pk, subject=subject))
    except Corp.DoesNotExist:
        return None, wrong("crashed", heals=False)
    except IntegrationError as error:
        return corp, judge_error(error, check_name=check.name)
    except Exception as error:  # noqa: BLE001  # the edge: whatever it is, the page must not wait for ever
        # Without its text, which may hold an address with a Secret in it.
        logger.error("check %s crashed corp=%s error=%s", check.name, run.corp_id, type(error).__name__)
        return corp, wrong("crashed", heals=False, detail=type(error).__name__)


def _settle(
    run: CheckRun, check: Check, corp: Corp | None, finding: Finding, job_run: JobRun
) -> dict[str, Any] | Again:
    """Write what was found, and have the runs tried that can be because of it.

    Both are one transaction per company: a check that ends behind an obstacle, and the obstacle's own check, must not
    miss each other, and no page may see the result without the runs that follow from it.
    """
    with transaction.atomic():
        Corp.objects.select_for_update().filter(pk=run.corp_id).first()
        next_try_at = _note(run, check, corp, finding, job_run.clock())
        job_run.hold()
    if corp is not None and finding.status in {Status.OK, Status.WARNING} and check.name in ESSENTIAL:
        hooks.calls().probe_at_once(run.corp_id, job_run.clock())
    return {} if next_try_at is None else Again(next_try_at)


def _note(run: CheckRun, check: Check, corp: Corp | None, finding: Finding, now: datetime) -> datetime | None:
    """Write what was found. Returns when the run is to be tried again, which may be now."""
    obstacle = _obstacle_in_order(run, finding)
    if obstacle is not None and run.try_count >= TRIES_BEHIND_OBSTACLE:
        finding, obstacle = _as_own(finding), None
    ended_at = None if obstacle is None else obstacle.finished_at
    # What was in the way came out of it after this run had begun.
    again = ended_at is not None and run.started_at is not None and ended_at > run.started_at
    columns = _columns(run, check, finding, now)
    if again:
        columns |= {"status": Status.WAITING, "next_try_at": None}
    if not CheckRun.objects.filter(pk=run.pk).update(**columns) or corp is None:
        return None
    if again:
        return now
    if obstacle is not None:
        request_checks(corp=corp, checks=[obstacle.check_name], now=now)
    elif finding.status in {Status.OK, Status.WARNING}:
        _unblock(corp, check.name, now)
    next_try_at: datetime | None = columns["next_try_at"]
    return next_try_at


def _columns(run: CheckRun, check: Check, finding: Finding, now: datetime) -> dict[str, Any]:
    return {
        "status": finding.status,
        "problem": finding.problem,
        "facts": clip_fact(finding.facts),
        "errcode": finding.errcode,
        "hint": finding.hint,
        "caller_ip": finding.caller_ip,
        "detail": finding.detail,
        "connection_version": run.connection_version,
        "subject": run.subject,
        "finished_at": now,
        "next_try_at": next_try(check, finding, requested_at=run.requested_at, now=now),
    }


def next_try(check: Check, finding: Finding, *, requested_at: datetime, now: datetime) -> datetime | None:
    """When a finding that may heal is looked at again; None: not by itself."""
    if not finding.heals:
        return None
    return next((now + step.every for step in check.retries if now - requested_at < step.age), None)


def _obstacle_in_order(run: CheckRun, finding: Finding) -> CheckRun | None:
    """The last run of what is said to be in the way, if that was found in order for this very connection."""
    if finding.problem != "blocked":
        return None
    obstacle = CheckRun.objects.filter(corp=run.corp_id, check_name=finding.facts["by"]).first()
    if obstacle is None or obstacle.status != Status.OK or obstacle.connection_version != run.connection_version:
        return None
    return obstacle


def _as_own(finding: Finding) -> Finding:
    """The same as the check's own error: what was said to be in the way is not.

    A refused Secret is nothing to be tried again, whatever the check of the token found.
    """
    problem = "refused" if finding.errcode is not None else "unreachable"
    heals = finding.facts["by"] != BlockingCheck.TOKEN or is_passing(finding.errcode)
    return replace(finding, status=Status.WRONG, problem=problem, facts=NO_FACTS, heals=heals)


def _unblock(corp: Corp, name: str, now: datetime) -> None:
    """Have the checks that waited for `name` tried: it is in order now."""
    behind = Q(status=Status.SKIPPED, problem="blocked", facts__by=name)
    if name == BlockingCheck.TOKEN:  # a disabled app gets none
        behind |= Q(status=Status.WRONG, errcode=APP_DISABLED)
    for run in CheckRun.objects.newest_of([corp]).filter(behind):
        if CheckRun.objects.filter(behind, pk=run.pk).update(status=Status.WAITING, next_try_at=None):
            _request_job(run, corp, now)
