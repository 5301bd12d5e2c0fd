"""Requests of checks, and their execution in the background, each as a job."""

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
# The time limit of everything that a check does on the network.
CHECK_SECONDS = 60
# How many workers may die of a check before it is given up.
TRIES = 5
# A test message sent later after the click would surprise its reader.
MESSAGE_GOOD_FOR = timedelta(minutes=10)
# How often a check is repeated because the check that blocked it has passed.
TRIES_BEHIND_OBSTACLE = 3


# --- Requests ---------------------------------------------------------------------------------------------------------


def request_checks(
    *, corp: Corp, checks: Iterable[str] | None, now: datetime, requested_by: str = ""
) -> list[CheckRun]:
    """Request runs of the named checks (None: of all but the test message), in the diagnosis' order.

    A run under way is returned instead of a second one. Raises KeyError for an unknown name, ValueError for the test
    message, which needs a person.
    """
    names = ALL_BUT_MESSAGE if checks is None else tuple(checks)
    if MESSAGE.name in names:
        raise ValueError("the test message is asked for by request_test_message")
    subjects = {name: CHECKS[name].subject(corp) for name in names}
    return _requested(corp, subjects, now, requested_by)


def request_test_message(*, corp: Corp, userid: str, now: datetime, requested_by: str = "") -> CheckRun:
    """Request a test message to one person. `userid`: WeCom's; raises MessageError for an invalid one."""
    check_userid(userid)
    return _requested(corp, {MESSAGE.name: userid}, now, requested_by)[0]


@transaction.atomic
def _requested(corp: Corp, subjects: dict[str, str], now: datetime, requested_by: str) -> list[CheckRun]:
    # Locked, so that simultaneous clicks find each other's runs.
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
    """Keep the last runs of each check, and let no earlier one be repeated."""
    keys: dict[str, list[int]] = defaultdict(list)
    for key, name in CheckRun.objects.filter(corp=corp, check_name__in=names).values_list("pk", "check_name"):
        keys[name].append(key)
    CheckRun.objects.filter(pk__in=[key for kept in keys.values() for key in kept[KEPT_RUNS:]]).delete()
    earlier = [key for kept in keys.values() for key in kept[1:KEPT_RUNS]]
    CheckRun.objects.filter(pk__in=earlier, next_try_at__isnull=False).update(next_try_at=None)


def repair_times(*, now: datetime) -> None:
    """Repair runs after a clock ran ahead: times in the future become now."""
    for name in ("requested_at", "started_at", "finished_at"):
        CheckRun.objects.filter(**{f"{name}__gt": now}).update(**{name: now})


# --- Execution --------------------------------------------------------------------------------------------------------


@job_kind(
    CHECK,
    label=gettext_lazy("Check of a company"),
    explain=lambda _job: "",  # the check itself shows its finding
    seconds=2 * CHECK_SECONDS,
    tries=TRIES + 1,
    keep=timedelta(hours=1),
    see="integrations.change_corp",
    retry="integrations.change_corp",
)
def carry_out(job_run: JobRun) -> dict[str, Any] | Again:
    """Execute one check and store its finding; request the checks that it unblocks."""
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
    """Return status and problem of a run that must not be tried (any more)."""
    if not check.is_repeatable:
        if run.status == Status.RUNNING:  # its worker died, and the message may have been sent
            return Status.WARNING, "lost"
        return (Status.SKIPPED, "too_late") if now - run.requested_at > MESSAGE_GOOD_FOR else None
    return (Status.WRONG, "died") if try_count > TRIES else None


def _tried(run: CheckRun, check: Check, now: datetime) -> tuple[Corp | None, Finding]:
    """Execute the check. Return the corp and the finding; every failure becomes a finding."""
    corp: Corp | None = None
    try:
        corp = Corp.objects.select_related("site_address").get(pk=run.corp_id)
        # A Secret just saved in another process must not be judged by the former token.
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
    """Store the finding, and request the runs that follow from it.

    Both are in one transaction under the company's lock: a check that ends as blocked, and the blocking check, must
    not miss each other, and no page may see the result without the runs that follow.
    """
    with transaction.atomic():
        Corp.objects.select_for_update().filter(pk=run.corp_id).first()
        next_try_at = _note(run, check, corp, finding, job_run.clock())
        job_run.hold()
    if corp is not None and finding.status in {Status.OK, Status.WARNING} and check.name in ESSENTIAL:
        hooks.calls().probe_at_once(run.corp_id, job_run.clock())
    return {} if next_try_at is None else Again(next_try_at)


def _note(run: CheckRun, check: Check, corp: Corp | None, finding: Finding, now: datetime) -> datetime | None:
    """Store the finding. Return when the run is to be repeated, which may be now."""
    obstacle = _obstacle_in_order(run, finding)
    if obstacle is not None and run.try_count >= TRIES_BEHIND_OBSTACLE:
        finding, obstacle = _as_own(finding), None
    ended_at = None if obstacle is None else obstacle.finished_at
    # The blocking check passed after this run had begun.
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
    """Return when a finding that may heal is checked again; None: not automatically."""
    if not finding.heals:
        return None
    return next((now + step.every for step in check.retries if now - requested_at < step.age), None)


def _obstacle_in_order(run: CheckRun, finding: Finding) -> CheckRun | None:
    """Return the last run of the blocking check if it passed for the same connection."""
    if finding.problem != "blocked":
        return None
    obstacle = CheckRun.objects.filter(corp=run.corp_id, check_name=finding.facts["by"]).first()
    if obstacle is None or obstacle.status != Status.OK or obstacle.connection_version != run.connection_version:
        return None
    return obstacle


def _as_own(finding: Finding) -> Finding:
    """Return the finding as the check's own error, because the blocking check has passed.

    A refused Secret is never tried again, whatever the token check found.
    """
    problem = "refused" if finding.errcode is not None else "unreachable"
    heals = finding.facts["by"] != BlockingCheck.TOKEN or is_passing(finding.errcode)
    return replace(finding, status=Status.WRONG, problem=problem, facts=NO_FACTS, heals=heals)


def _unblock(corp: Corp, name: str, now: datetime) -> None:
    """Request the checks that were blocked by `name`, which has passed."""
    behind = Q(status=Status.SKIPPED, problem="blocked", facts__by=name)
    if name == BlockingCheck.TOKEN:  # a disabled app gets no token
        behind |= Q(status=Status.WRONG, errcode=APP_DISABLED)
    for run in CheckRun.objects.newest_of([corp]).filter(behind):
        if CheckRun.objects.filter(behind, pk=run.pk).update(status=Status.WAITING, next_try_at=None):
            _request_job(run, corp, now)
