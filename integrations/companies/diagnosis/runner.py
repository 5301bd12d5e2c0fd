"""Requests checks and runs them in the background, each on its own."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

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
from integrations.models import CheckRun, Corp

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
# A run that no worker has taken after so long has lost its place in the queue, and is queued again.
UNCLAIMED = timedelta(seconds=60)
# A check whose workers die one after the other is given up so long after it was asked for, or last ended.
GIVEN_UP_AFTER = timedelta(minutes=15)
# A test message that could not be sent within so long of the click would surprise its reader.
MESSAGE_GOOD_FOR = timedelta(minutes=10)
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
    runs: dict[str, CheckRun] = {}
    new: list[CheckRun] = []
    for name, subject in subjects.items():
        run = newest.get(name)
        if run is None or not _is_under_way(run, version, subject, now):
            run = CheckRun(corp=corp, check_name=name, connection_version=version, subject=subject)
            run.requested_at, run.requested_by, run.next_try_at = now, requested_by[:255], now + UNCLAIMED
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


def give_up_unqueued(*, run_ids: Iterable[int], clock: Callable[[], datetime]) -> None:
    """End runs that could not be queued: they were never tried."""
    waiting = CheckRun.objects.filter(pk__in=run_ids, status=Status.WAITING)
    waiting.update(status=Status.SKIPPED, problem="unqueued", finished_at=clock(), next_try_at=None)


def repair_times(*, now: datetime) -> None:
    """After a clock that ran ahead: what was asked then is asked now. A worker that is at one has lost it."""
    early = CheckRun.objects.filter(Q(requested_at__gt=now) | Q(started_at__gt=now) | Q(finished_at__gt=now))
    early.filter(next_try_at__gt=now).update(next_try_at=now)
    for name in ("requested_at", "started_at", "finished_at"):
        CheckRun.objects.filter(**{f"{name}__gt": now}).update(**{name: now})


def claim_due_again(*, now: datetime) -> list[int]:
    """Runs whose time has come, for the caller to queue: to be tried once more, or because no worker has ended them.

    Two callers never get the same one. A run that is queued twice is carried out once.
    """
    due = list(CheckRun.objects.due_again(now).order_by("next_try_at")[:AT_ONCE])
    newest = set(CheckRun.objects.newest_of({run.corp_id for run in due}).values_list("pk", flat=True))
    claimed = []
    for run in due:
        ours = CheckRun.objects.filter(pk=run.pk, status=run.status, next_try_at=run.next_try_at)
        # Not always waiting: the next worker judges whether the worker of a running one is dead.
        status = run.status if run.is_unfinished else Status.WAITING
        if run.pk not in newest:
            ours.update(next_try_at=None)
        elif ours.update(next_try_at=now + UNCLAIMED, status=status):
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
    corp, finding = _tried(run, check, now)
    logger.info("check %s corp=%s status=%s errcode=%s", run.check_name, run.corp_id, finding.status, finding.errcode)
    return _settled(run, check, corp, finding, clock())


def _claimed(run: CheckRun, check: Check, now: datetime) -> bool:
    """Take the run. One whose worker died is taken over."""
    abandoned = Q(status=Status.RUNNING, started_at__lte=now - LEASE)
    end = _end_without_try(run, check, now)
    if end is not None:
        status, problem = end
        left = CheckRun.objects.filter(abandoned | Q(status=Status.WAITING), pk=run.pk, started_at=run.started_at)
        left.update(status=status, problem=problem, finished_at=now, next_try_at=None)
        return False
    claimable = CheckRun.objects.filter(abandoned | Q(status=Status.WAITING), pk=run.pk)
    run.started_at, run.try_count = now, run.try_count + 1
    columns = {"started_at": now, "try_count": run.try_count, "next_try_at": now + LEASE}
    return bool(claimable.update(status=Status.RUNNING, **columns))


def _end_without_try(run: CheckRun, check: Check, now: datetime) -> tuple[Status, str] | None:
    """The end of a run that is not to be tried (any more): its status and problem."""
    is_abandoned = run.status == Status.RUNNING and run.started_at is not None and run.started_at <= now - LEASE
    if not check.is_repeatable:
        if is_abandoned:  # it may have reached a person
            return Status.WARNING, "lost"
        return (Status.SKIPPED, "too_late") if now - run.requested_at > MESSAGE_GOOD_FOR else None
    since = max(filter(None, [run.requested_at, run.finished_at]))
    return (Status.WRONG, "died") if is_abandoned and now - since > GIVEN_UP_AFTER else None


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


def _settled(run: CheckRun, check: Check, corp: Corp | None, finding: Finding, now: datetime) -> list[int]:
    """Write what was found, and give the runs to be tried because of it.

    Both are one transaction per company: a check that ends behind an obstacle, and the obstacle's own check, must not
    miss each other, and no page may see the result without the runs that follow from it.
    """
    with transaction.atomic():
        Corp.objects.select_for_update().filter(pk=run.corp_id).first()
        is_ours, again = _noted(run, check, corp, finding, now)
    is_in_order = is_ours and corp is not None and finding.status in {Status.OK, Status.WARNING}
    if is_in_order and check.name in ESSENTIAL:
        hooks.calls().probe_at_once(run.corp_id, now)
    return again


def _noted(run: CheckRun, check: Check, corp: Corp | None, finding: Finding, now: datetime) -> tuple[bool, list[int]]:
    """Whether the run was still ours to end, and the runs to be tried now."""
    obstacle = _obstacle_in_order(run, finding)
    if obstacle is not None and run.try_count >= TRIES_BEHIND_OBSTACLE:
        finding, obstacle = _as_own(finding), None
    again = obstacle is not None and _ended_since(obstacle, run)
    columns = _columns(run, check, finding, now)
    if again:
        columns |= {"status": Status.WAITING, "next_try_at": now + UNCLAIMED}
    # Only as long as the run is still ours.
    held = CheckRun.objects.filter(pk=run.pk, status=Status.RUNNING, started_at=run.started_at)
    if not held.update(**columns) or corp is None:
        return False, []
    if again:
        return True, [run.pk]
    if obstacle is not None:
        return True, _doubted(obstacle, finding, corp, now)
    if finding.status not in {Status.OK, Status.WARNING}:
        return True, []
    return True, _unblocked(corp, check.name, now)


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


def _ended_since(obstacle: CheckRun, run: CheckRun) -> bool:
    """Whether what was in the way came out of it after this run had begun."""
    if obstacle.finished_at is None or run.started_at is None:
        return False
    return obstacle.finished_at > run.started_at


def _doubted(obstacle: CheckRun, finding: Finding, corp: Corp, now: datetime) -> list[int]:
    """Look again at what is said to be in the way, as its last result, from before, says that it is in order.

    Not at the token: the answer is known, and a wrong Secret must not be tried more often than requested.
    """
    name = obstacle.check_name
    if name == BlockingCheck.TOKEN and not is_passing(finding.errcode):
        _note_refusal(obstacle, finding, corp, now)
        return []
    runs = request_checks(corp=corp, checks=[name], now=now)
    return [run.pk for run in runs if run.requested_at == now]


@transaction.atomic
def _note_refusal(obstacle: CheckRun, finding: Finding, corp: Corp, now: datetime) -> None:
    """A result of the check `obstacle`, learnt by another. Not beside a newer one, which somebody asked for."""
    Corp.objects.select_for_update().get(pk=corp.pk)
    check = CHECKS[obstacle.check_name]
    if CheckRun.objects.filter(corp=corp, check_name=check.name).first() != obstacle:
        return
    own = replace(_as_own(finding), heals=False)
    run = CheckRun(corp=corp, check_name=check.name, requested_at=now, started_at=now, try_count=1)
    run.connection_version, run.subject = obstacle.connection_version, obstacle.subject
    for column, value in _columns(run, check, own, now).items():
        setattr(run, column, value)
    run.save(force_insert=True)
    _put_away(corp, [check.name])


def _as_own(finding: Finding) -> Finding:
    """The same as the check's own error: what was said to be in the way is not.

    A refused Secret is nothing to be tried again, whatever the check of the token found.
    """
    problem = "refused" if finding.errcode is not None else "unreachable"
    heals = finding.facts["by"] != BlockingCheck.TOKEN or is_passing(finding.errcode)
    return replace(finding, status=Status.WRONG, problem=problem, facts=NO_FACTS, heals=heals)


def _unblocked(corp: Corp, name: str, now: datetime) -> list[int]:
    """Have the checks that waited for `name` tried: it is in order now."""
    behind = Q(status=Status.SKIPPED, problem="blocked", facts__by=name)
    if name == BlockingCheck.TOKEN:  # a disabled app gets none
        behind |= Q(status=Status.WRONG, errcode=APP_DISABLED)
    keys = list(CheckRun.objects.newest_of([corp]).filter(behind).values_list("pk", flat=True))
    ours = CheckRun.objects.filter(behind)
    return [key for key in keys if ours.filter(pk=key).update(status=Status.WAITING, next_try_at=now + UNCLAIMED)]
