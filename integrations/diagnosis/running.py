"""Asking for checks, and carrying them out: each on its own, in the background, once."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Q

from integrations.clients import token_store
from integrations.diagnosis import obstacles
from integrations.diagnosis.checks import message
from integrations.diagnosis.findings import Check, Finding, Question, Status, storable, wrong
from integrations.diagnosis.registry import ALL_BUT_MESSAGE, CHECKS
from integrations.errors import IntegrationError
from integrations.models import CheckRun, Corp
from integrations.wecom.deadline import total_deadline

if TYPE_CHECKING:
    from typing import Any

logger = logging.getLogger(__name__)

# A second click while a run is under way shows that one, unless it seems lost.
UNDER_WAY = timedelta(seconds=60)
KEPT_RUNS = 20
# Everything that one check does on the network ends after so long.
CHECK_SECONDS = 60
# After so long without a result the worker is taken for dead, and another may run the check.
LEASE = timedelta(seconds=2 * CHECK_SECONDS)
# How often a check is tried again because what stood in its way is out of it.
TRIES_BEHIND_OBSTACLE = 3
AT_ONCE = 200


# --- Asking -----------------------------------------------------------------------------------------------------------


def request_checks(
    *, corp: Corp, checks: Iterable[str] | None, now: datetime, requested_by: str = ""
) -> list[CheckRun]:
    """Runs of the named checks (None: of all that reach nobody) for a worker to carry out, in the diagnosis' order.

    A run that is under way is given instead of a second one: queue those whose `requested_at` is `now`. Raises
    KeyError for a name that is no check, ValueError for the test message, which needs a person.
    """
    names = ALL_BUT_MESSAGE if checks is None else tuple(checks)
    if message.NAME in names:
        raise ValueError("the test message is asked for by request_test_message")
    subjects = {name: CHECKS[name].subject(corp) for name in names}
    return _requested(corp, subjects, now, requested_by)


def request_test_message(*, corp: Corp, userid: str, now: datetime, requested_by: str = "") -> CheckRun:
    """A test message to one person. `userid`: as WeCom knows it; raises MessageError for what cannot be one."""
    message.check_userid(userid)
    return _requested(corp, {message.NAME: userid}, now, requested_by)[0]


@transaction.atomic
def _requested(corp: Corp, subjects: dict[str, str], now: datetime, requested_by: str) -> list[CheckRun]:
    # Why the lock? Two clicks at the same moment must find each other's runs.
    version = Corp.objects.select_for_update().values_list("connection_version", flat=True).get(pk=corp.pk)
    newest = {run.check_name: run for run in CheckRun.objects.newest_of([corp]).filter(check_name__in=subjects)}
    runs: dict[str, CheckRun] = {}
    new: list[CheckRun] = []
    for name, subject in subjects.items():
        run = newest.get(name)
        if run is None or not _is_under_way(run, version, subject, now):
            run = CheckRun(corp=corp, check_name=name, connection_version=version, subject=subject)
            run.requested_at, run.requested_by = now, requested_by[:255]
            new.append(run)
        runs[name] = run
    CheckRun.objects.bulk_create(new)
    _put_away(corp, [run.check_name for run in new])
    return list(runs.values())


def _is_under_way(run: CheckRun, version: int, subject: str, now: datetime) -> bool:
    if not run.is_unfinished or run.connection_version != version or run.subject != subject:
        return False
    return max(filter(None, [run.requested_at, run.started_at, run.finished_at])) > now - UNDER_WAY


def _put_away(corp: Corp, names: Sequence[str]) -> None:
    """Of each check keep the last runs, and let no earlier one be tried again."""
    keys: dict[str, list[int]] = defaultdict(list)
    for key, name in CheckRun.objects.filter(corp=corp, check_name__in=names).values_list("pk", "check_name"):
        keys[name].append(key)
    CheckRun.objects.filter(pk__in=[key for kept in keys.values() for key in kept[KEPT_RUNS:]]).delete()
    earlier = [key for kept in keys.values() for key in kept[1:KEPT_RUNS]]
    CheckRun.objects.filter(pk__in=earlier, next_try_at__isnull=False).update(next_try_at=None)


def give_up_unqueued(*, runs: Iterable[CheckRun], clock: Callable[[], datetime]) -> None:
    """End runs that could not be queued: they were never tried."""
    waiting = CheckRun.objects.filter(pk__in=[run.pk for run in runs], status=Status.WAITING)
    waiting.update(status=Status.SKIPPED, problem="unqueued", finished_at=clock())


def claim_due_again(*, now: datetime) -> list[int]:
    """Runs whose time has come to be tried once more, for the caller to queue. Two callers never get the same one."""
    due = list(CheckRun.objects.due_again(now).order_by("next_try_at")[:AT_ONCE])
    newest = set(CheckRun.objects.newest_of({run.corp_id for run in due}).values_list("pk", flat=True))
    claimed = []
    for run in due:
        ours = CheckRun.objects.filter(pk=run.pk, next_try_at=run.next_try_at)
        if run.pk not in newest:
            ours.update(next_try_at=None)
        elif ours.update(next_try_at=None, status=Status.WAITING):
            claimed.append(run.pk)
    return claimed


# --- Carrying out -----------------------------------------------------------------------------------------------------


def carry_out(*, run_id: int, clock: Callable[[], datetime]) -> list[int]:
    """Run one check and note what it found. Gives the runs that can be tried now because of it, to be queued.

    A run that is finished, or that another worker has, is left as it is.
    """
    run = CheckRun.objects.filter(pk=run_id).first()
    if run is None or run.check_name not in CHECKS:
        logger.info("check run %s is gone: its company was deleted, or newer runs have pushed it out", run_id)
        return []
    check, now = CHECKS[run.check_name], clock()
    if not _claimed(run, check, now):
        return []
    corp, finding = _looked(run, check, now)
    logger.info("check %s corp=%s status=%s errcode=%s", run.check_name, run.corp_id, finding.status, finding.errcode)
    return _settled(run, check, corp, finding, clock())


def _claimed(run: CheckRun, check: Check, now: datetime) -> bool:
    """Take the run. One whose worker died is taken over, unless it may have reached a person."""
    abandoned = Q(status=Status.RUNNING, started_at__lte=now - LEASE)
    if not check.is_repeatable:
        lost = CheckRun.objects.filter(abandoned, pk=run.pk)
        lost.update(status=Status.WARNING, problem="lost", finished_at=now)
    takeable = CheckRun.objects.filter(abandoned | Q(status=Status.WAITING), pk=run.pk)
    run.started_at, run.try_count = now, run.try_count + 1
    return bool(takeable.update(status=Status.RUNNING, started_at=now, try_count=run.try_count, next_try_at=None))


def _looked(run: CheckRun, check: Check, now: datetime) -> tuple[Corp | None, Finding]:
    """The corp as it was tried, and what was found. Nothing that goes wrong leaves the run without an end."""
    corp: Corp | None = None
    try:
        corp = Corp.objects.select_related("site_address").get(pk=run.corp_id)
        # Why? A Secret saved a moment ago in another process must not be judged by the token of the one before.
        token_store().look_again(corp.corpid, corp.agentid)
        subject = check.subject(corp) if check.name != message.NAME else run.subject
        run.connection_version, run.subject = corp.connection_version, subject
        with total_deadline(CHECK_SECONDS):
            return corp, check.look(Question(corp=corp, now=now, run_id=run.pk, subject=subject))
    except Corp.DoesNotExist:
        return None, wrong("crashed", heals=False)
    except IntegrationError as error:
        return corp, obstacles.of_error(error, asked_by=check.name)
    except ImproperlyConfigured as error:  # no key opens what is stored; the text names the setting
        return corp, wrong("wrong_setting", heals=False, detail=str(error))
    except Exception as error:  # noqa: BLE001  # the edge: whatever it is, the page must not wait for ever
        # Why without its text? It may hold an address with a Secret in it.
        logger.error("check %s crashed corp=%s error=%s", check.name, run.corp_id, type(error).__name__)
        return corp, wrong("crashed", heals=False, detail=type(error).__name__)


def _settled(run: CheckRun, check: Check, corp: Corp | None, finding: Finding, now: datetime) -> list[int]:
    again = _way_is_free(run, finding)
    if again and run.try_count >= TRIES_BEHIND_OBSTACLE:
        finding, again = _as_own(finding), False
    columns: dict[str, Any] = {
        "status": finding.status,
        "problem": finding.problem,
        "facts": storable(finding.facts),
        "errcode": finding.errcode,
        "hint": finding.hint,
        "caller_ip": finding.caller_ip,
        "detail": finding.detail,
        "connection_version": run.connection_version,
        "subject": run.subject,
        "finished_at": now,
        "next_try_at": next_try(check, finding, asked_at=run.requested_at, now=now),
    }
    if again:
        columns |= {"status": Status.WAITING, "next_try_at": None}
    # Only as long as the run is still ours.
    held = CheckRun.objects.filter(pk=run.pk, status=Status.RUNNING, started_at=run.started_at)
    if not held.update(**columns) or corp is None:
        return []
    if again:
        return [run.pk]
    return _unblocked(corp, check.name) if finding.status in {Status.OK, Status.WARNING} else []


def next_try(check: Check, finding: Finding, *, asked_at: datetime, now: datetime) -> datetime | None:
    """When a finding that may heal is looked at again; None: not by itself."""
    if not finding.heals:
        return None
    return next((now + step.every for step in check.retries if now - asked_at < step.age), None)


def _way_is_free(run: CheckRun, finding: Finding) -> bool:
    """Whether what blocked this check was found in order after it had begun."""
    if finding.problem != "blocked":
        return False
    obstacle = CheckRun.objects.filter(corp=run.corp_id, check_name=finding.facts["by"]).first()
    if obstacle is None or obstacle.status != Status.OK or obstacle.finished_at is None or run.started_at is None:
        return False
    return obstacle.finished_at > run.started_at


def _as_own(finding: Finding) -> Finding:
    """The same as the check's own trouble: what was said to be in the way is not."""
    problem = "refused" if finding.errcode is not None else "unreachable"
    return Finding(
        Status.WRONG,
        problem,
        errcode=finding.errcode,
        hint=finding.hint,
        caller_ip=finding.caller_ip,
        detail=finding.detail,
        heals=True,
    )


def _unblocked(corp: Corp, name: str) -> list[int]:
    """Have the checks that waited for `name` tried: it is in order now."""
    blocked = CheckRun.objects.newest_of([corp]).filter(status=Status.SKIPPED, problem="blocked", facts__by=name)
    keys = list(blocked.values_list("pk", flat=True))
    return [
        key
        for key in keys
        if CheckRun.objects.filter(pk=key, status=Status.SKIPPED, problem="blocked").update(status=Status.WAITING)
    ]
