"""Requests of checks, and their execution in the background: one job for each company runs one check after another."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Min, Q, QuerySet
from django.utils.translation import gettext_lazy

from integrations.clients.errors import IntegrationError
from integrations.clients.transport import total_deadline
from integrations.companies.diagnosis.app import check_userid
from integrations.companies.diagnosis.findings import (
    MESSAGE,
    Check,
    Finding,
    Question,
    Status,
    judge_error,
    skip,
    warning,
    wrong,
)
from integrations.companies.diagnosis.results import ALL_BUT_MESSAGE, BLOCKED_BY, CHECKS, ESSENTIAL, PASSED
from integrations.core import hooks
from integrations.core.client_factory import token_store
from integrations.jobs import requests
from integrations.jobs.registry import Again, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import CheckRun, Corp

logger = logging.getLogger(__name__)

DIAGNOSIS = "corp.diagnosis"
_UNFINISHED = Q(status__in=[Status.WAITING, Status.RUNNING])
# The time limit of everything that a check does on the network.
CHECK_SECONDS = 60
# How many workers may die of a check before it is given up.
TRIES = 5
# A test message sent later after the click would surprise its reader.
MESSAGE_GOOD_FOR = timedelta(minutes=10)


# --- Requests ---------------------------------------------------------------------------------------------------------


def request_checks(*, corp: Corp, checks: Iterable[str] | None, now: datetime) -> None:
    """Request the named checks (None: all but the test message). One that is under way goes on.

    Raises KeyError for an unknown name, ValueError for the test message, which needs a person.
    """
    names = ALL_BUT_MESSAGE if checks is None else tuple(checks)
    if MESSAGE in names:
        raise ValueError("the test message is asked for by request_test_message")
    _request_runs(corp, {name: CHECKS[name].subject(corp) for name in names}, now)


def request_test_message(*, corp: Corp, userid: str, now: datetime) -> None:
    """Request a test message to one person. `userid`: WeCom's; raises MessageError for an invalid one."""
    check_userid(userid)
    _request_runs(corp, {MESSAGE: userid}, now)


@transaction.atomic
def _request_runs(corp: Corp, subjects: dict[str, str], now: datetime) -> None:
    # Locked, so that simultaneous clicks find each other's runs.
    version = Corp.objects.select_for_update().values_list("connection_version", flat=True).get(pk=corp.pk)
    unfinished = CheckRun.objects.filter(_UNFINISHED, corp=corp, connection_version=version)
    under_way = set(unfinished.values_list("check_name", "subject"))
    asked = {"corp": corp, "connection_version": version, "requested_at": now}
    CheckRun.objects.bulk_create(
        [CheckRun(check_name=one[0], subject=one[1], **asked) for one in subjects.items() if one not in under_way],
        update_conflicts=True,
        unique_fields=["corp", "check_name"],
        update_fields=["connection_version", "subject", "requested_at", "status", "try_count", "next_try_at"],
    )
    if subjects:
        requests.request_job(DIAGNOSIS, key=corp.pk, subject=corp.name, corp=corp, now=now)


def repair_times(*, now: datetime) -> None:
    """Repair runs after a clock ran ahead: times in the future become now."""
    for name in ("requested_at", "finished_at"):
        CheckRun.objects.filter(**{f"{name}__gt": now}).update(**{name: now})


# --- Execution --------------------------------------------------------------------------------------------------------


@job_kind(
    DIAGNOSIS,
    label=gettext_lazy("Check of a company"),
    explain=lambda _job: "",  # the checks themselves show their findings
    seconds=2 * CHECK_SECONDS,
    tries=TRIES + 2,  # after TRIES deaths the check ends as `died`; if workers still die, the job ends
    repeats_errors=True,
    keep=timedelta(hours=1),
    see="integrations.change_corp",
    retry="integrations.change_corp",
)
def run_next_check(job_run: JobRun) -> dict[str, Any] | Again:
    """Execute the first due check of a company, in the diagnosis' order. The job goes on while others follow."""
    runs = CheckRun.objects.filter(corp=job_run.job.corp_id, check_name__in=CHECKS)
    due = runs.filter(_UNFINISHED | Q(next_try_at__lte=job_run.clock())).order_by("pk")
    if first := min(due, key=lambda run: list(CHECKS).index(run.check_name), default=None):
        execute_check(first, job_run)
    if runs.filter(_UNFINISHED).exists():
        return Again(job_run.clock())
    next_try_at = runs.aggregate(Min("next_try_at"))["next_try_at__min"]
    return {} if next_try_at is None else Again(next_try_at)


def execute_check(run: CheckRun, job_run: JobRun) -> None:
    """Execute one check, store its finding, and request the runs that follow from it."""
    check, corp = CHECKS[run.check_name], Corp.objects.select_related("site_address").get(pk=run.corp_id)
    finding = _judge_without_try(run, check, job_run.job.try_count, job_run.clock())
    if finding is None:
        now, run.try_count = job_run.clock(), run.try_count + 1
        columns = {"try_count": run.try_count, "next_try_at": None}
        with transaction.atomic():
            if not _find_same(run).update(status=Status.RUNNING, **columns):
                return  # it was requested anew meanwhile
            job_run.hold()  # before the test message: a worker that slept must not send a second one
        finding = _try_check(run, check, corp, now)
    logger.info("check %s corp=%s status=%s errcode=%s", run.check_name, run.corp_id, finding.status, finding.errcode)
    with transaction.atomic():
        _store_finding(run, check, corp, finding, job_run.clock())
        job_run.hold()
    if finding.status in PASSED and check.name in ESSENTIAL:
        hooks.calls().probe_at_once(run.corp_id, job_run.clock())


def _judge_without_try(run: CheckRun, check: Check, try_count: int, now: datetime) -> Finding | None:
    """Return the finding of a run that must not be tried (any more)."""
    if check.name != MESSAGE:
        return wrong("died", heals=False) if try_count > TRIES else None
    if run.status == Status.RUNNING:  # its worker died, and the message may have been sent
        return warning("lost")
    return skip("too_late") if now - run.requested_at > MESSAGE_GOOD_FOR else None


def _try_check(run: CheckRun, check: Check, corp: Corp, now: datetime) -> Finding:
    """Execute the check. Every failure becomes a finding."""
    run.connection_version = corp.connection_version
    try:
        # A Secret just saved in another process must not be judged by the former token.
        token_store().drop_copies(corp.corpid, corp.agentid)
        run.subject = check.subject(corp) if check.name != MESSAGE else run.subject
        with total_deadline(CHECK_SECONDS):
            return check.run(Question(corp=corp, now=now, subject=run.subject))
    except IntegrationError as error:
        return judge_error(error)
    except Exception as error:  # noqa: BLE001  # the edge: whatever it is, the page must not wait for ever
        # Without its text, which may hold an address with a Secret in it.
        logger.error("check %s crashed corp=%s error=%s", check.name, run.corp_id, type(error).__name__)
        return wrong("crashed", heals=False, detail=type(error).__name__)


def _store_finding(run: CheckRun, check: Check, corp: Corp, finding: Finding, now: datetime) -> None:
    """Store the finding, unless the check was requested anew meanwhile. If it is in the way of others, these wait no
    longer, or are tried again."""
    waits = [wait for age, wait in check.retries if now - run.requested_at < age] if finding.heals else []
    if not _find_same(run).update(
        **finding.columns,
        connection_version=run.connection_version,
        subject=run.subject,
        finished_at=now,
        next_try_at=now + waits[0] if waits else None,
    ):
        return
    behind = CheckRun.objects.filter(corp=corp, check_name__in=BLOCKED_BY.get(check.name, ()))
    if finding.status in PASSED:
        # Also those that met the obstacle themselves, apart from a message, which may have been sent.
        is_refused = Q(status=Status.WRONG, errcode__isnull=False) & ~Q(check_name=MESSAGE)
        is_blocked = Q(status=Status.SKIPPED, problem="blocked", facts__by=check.name)
        behind.filter(is_blocked | is_refused).update(status=Status.WAITING, next_try_at=None)
    elif finding.status == Status.WRONG:
        blocked = {"status": Status.SKIPPED, "problem": "blocked", "facts": {"by": check.name}, "finished_at": now}
        behind.filter(status=Status.WAITING).update(**blocked)


def _find_same(run: CheckRun) -> QuerySet[CheckRun]:
    return CheckRun.objects.filter(pk=run.pk, requested_at=run.requested_at)
