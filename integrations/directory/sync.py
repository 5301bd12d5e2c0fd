"""Directory runs: requested, carried out by one worker at a time, confirmed, ended.

A worker holds a lease on the row, which it moves on as it goes; when it dies, `due_runs` names the run again and the
next worker reads everything anew: what was written already is no difference any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from integrations.clients.errors import (
    ConfigurationError,
    ForeignAnswerError,
    IntegrationError,
    RateLimitedError,
    RecipientError,
    TransientError,
)
from integrations.core import client_factory
from integrations.directory import selectors
from integrations.directory.api import Calling
from integrations.directory.apply import LEASE, Writer
from integrations.directory.diff import department_differences
from integrations.directory.fetch import Reader
from integrations.directory.guards import Question, Stop, question
from integrations.directory.normalize import Snapshot
from integrations.directory.plan import Plan, plan
from integrations.directory.selectors import put_away
from integrations.models import Corp, Department, Member, SyncChange, SyncRun
from integrations.models.jobs import LET_GO, LeaseLostError

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Status, Phase, Source = SyncRun.Status, SyncRun.Phase, SyncRun.Source

# How often the row shows progress while the phase stays the same.
HEARTBEAT = timedelta(seconds=1)
# Pauses before a run that WeCom would not let through begins anew; after the last it ends.
RESTS = (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=10))
# A run that has not ended after so long, because its workers died again and again, is ended.
LONGEST = timedelta(hours=6)


# --- Asking for runs, and answering what they ask ---------------------------------------------------------------------


@transaction.atomic
def request_run(
    *,
    corp: Corp,
    trigger: SyncRun.Trigger,
    now: datetime,
    requested_by: str = "",
    source: SyncRun.Source | None = None,
) -> SyncRun:
    """The corp's active run, or a new one, for a worker to carry out; queue it if `requested_at` is `now`.

    A run that waits for an answer is overtaken: the new one asks again, with what is true then. `source`: None takes
    the best that the corp's secrets allow. Raises ValueError for one that needs a contacts secret that is not there.
    """
    corp = Corp.objects.select_for_update().get(pk=corp.pk)
    active = SyncRun.objects.unfinished().filter(corp=corp).first()
    if active is not None:
        return active
    if source is None:
        source = Source.BOTH if corp.contacts_secret else Source.APP
    elif source != Source.APP and not corp.contacts_secret:
        raise ValueError(f"{source} needs the contacts secret")
    SyncRun.objects.filter(corp=corp, status=Status.ASKING).update(status=Status.OVERTAKEN, finished_at=now)
    return SyncRun.objects.create(
        corp=corp, trigger=trigger, source=source, requested_at=now, requested_by=requested_by[:255]
    )


@transaction.atomic
def confirm_run(*, run: SyncRun, now: datetime, answered_by: str) -> bool:
    """Yes to what a run asks: it goes on (queue it), and disables whom it named, as far as that is still so.

    False where it does not ask any more, or another run is under way.
    """
    Corp.objects.select_for_update().get(pk=run.corp_id)
    if SyncRun.objects.unfinished().filter(corp=run.corp_id).exists():
        return False
    asking = SyncRun.objects.filter(pk=run.pk, status=Status.ASKING)
    return bool(
        asking.update(status=Status.WAITING, phase=Phase.WAITING, answered_at=now, answered_by=answered_by[:255])
    )


def refuse_run(*, run: SyncRun, now: datetime, answered_by: str) -> bool:
    """No to what a run asks: it ends, and nothing was changed. False where it does not ask any more."""
    asking = SyncRun.objects.filter(pk=run.pk, status=Status.ASKING)
    values = {"answered_at": now, "answered_by": answered_by[:255], "finished_at": now}
    return bool(asking.update(status=Status.REFUSED, phase=Phase.FINISHED, **values))


def due_runs(*, now: datetime, at_most: int = 100) -> list[int]:
    """Runs for the caller to queue: new, due again, or left by a worker that died. Queued twice does no harm."""
    return list(SyncRun.objects.claimable(now).order_by("requested_at").values_list("pk", flat=True)[:at_most])


# --- Carrying one out -------------------------------------------------------------------------------------------------


def run_sync(
    *, run_id: int, clock: Clock, pause: Callable[[float], object] = time.sleep, number_field: str = ""
) -> SyncRun | None:
    """Carry out one run to its end, its question, or its next try. None where another worker has it, or it is over.

    `pause` sleeps between tries of one call; `number_field`: as for Reader. What WeCom refuses ends up in the row; only
    our own mistakes raise.
    """
    run = _claim(run_id, clock())
    if run is None:
        return None
    logger.info("directory run=%s corp=%s source=%s begins", run.pk, run.corp_id, run.source)
    try:
        _Carrying(run, clock, pause, number_field).carry_out()
    except LeaseLostError:
        logger.warning("directory run=%s was taken over by another worker", run.pk)
        return None
    except (TransientError, RecipientError) as error:
        _rest(run, clock(), error)
    except IntegrityError:
        # The work on an event of WeCom wrote the same rows at the same moment.
        _rest(run, clock(), None)
    except IntegrationError as error:
        _fail(run, clock(), problem=_problem(error), **_columns_of(error))
    except Stop as stop:
        _fail(run, clock(), problem=stop.problem, detail=stop.detail)
    except Exception as error:  # the row must not stay under way; the error goes on
        _fail(run, clock(), problem="broken", detail=type(error).__name__)
        raise
    run.refresh_from_db()
    logger.info(
        "directory run=%s corp=%s %s calls=%s counts=%s", run.pk, run.corp_id, run.status, run.call_count, run.counts
    )
    return run


class _Carrying:
    """One worker's work on one run."""

    def __init__(self, run: SyncRun, clock: Clock, pause: Callable[[float], object], number_field: str) -> None:
        self._run, self._clock, self._number_field = run, clock, number_field
        self._corp = run.corp
        self._calling = Calling(pause=pause)
        self._shown: tuple[str, datetime] | None = None
        self._writer = Writer(corp=self._corp, run=run, clock=clock)

    def carry_out(self) -> None:
        source = Source(self._run.source)
        self._writer.read_since = self._clock()
        reader = Reader(
            source=source,
            app=client_factory.wecom_client(self._corp),
            contacts=None if source == Source.APP else client_factory.contacts_client(self._corp),
            roots=self._corp.department_root_ids,
            calling=self._calling,
            progress=self._show,
            number_field=self._number_field,
        )
        snapshot = reader.read()
        self._show(Phase.COMPARING, 0, 0, seen_count=len(snapshot.people))
        states = selectors.member_states(self._corp)
        planned = plan(snapshot=snapshot, states=states, source=source, look_up=reader.look_up, turn=self._run.pk)
        planned.departments = department_differences(selectors.department_states(self._corp), snapshot.departments)
        self._warn(snapshot, planned)
        if self._run.is_confirmed:
            self._keep_to_the_answer(planned, snapshot)
        else:
            open_question = self._question(planned)
            if open_question is not None:
                self._request_confirmation(open_question, planned, snapshot)
                return
        self._show(Phase.WRITING, 0, planned.count)
        self._writer.write(planned)
        self._finish(snapshot)

    def _show(self, phase: SyncRun.Phase, done: int, total: int, **more: int) -> None:
        """Write the progress, and move the lease on. Raises LeaseLostError."""
        now = self._clock()
        if self._shown is not None and self._shown[0] == phase and now - self._shown[1] < HEARTBEAT:
            return
        self._shown = phase, now
        progress = {"phase": phase, "done_count": done, "total_count": total, "call_count": self._calling.count}
        SyncRun.objects.change(self._run, lease_until=now + LEASE, **progress, **more)

    def _warn(self, snapshot: Snapshot, planned: Plan) -> None:
        if not snapshot.people:
            snapshot.warnings.add("nobody")
        for one in planned.changed:
            if one.kind == SyncChange.Kind.REAPPEARED:
                snapshot.warnings.add("reappeared", one.state.userid)

    def _question(self, planned: Plan) -> Question | None:
        losing = {one.state.pk for one in planned.losing if one.state.is_able}
        if not losing:
            return None
        departments = selectors.memberships(self._corp)
        able = Member.objects.filter(corp=self._corp).able().values_list("pk", flat=True)
        tree = Department.objects.filter(corp=self._corp).present()
        return question(
            losing=losing,
            able={key: departments.get(key, ()) for key in able},
            parents=dict(tree.values_list("wecom_department_id", "wecom_parent_id")),
            roots=self._corp.department_root_ids,
            percent=settings.DIRECTORY_GUARD_PERCENT,
        )

    def _request_confirmation(self, open_question: Question, planned: Plan, snapshot: Snapshot) -> None:
        self._writer.propose(planned.losing)
        SyncRun.objects.change(
            self._run,
            status=Status.ASKING,
            question=open_question.as_json(),
            call_count=self._calling.count,
            warnings=snapshot.warnings.as_json(),
            **LET_GO,
        )

    def _keep_to_the_answer(self, planned: Plan, snapshot: Snapshot) -> None:
        """Disable only those whom the administrator was shown, as far as it is still true."""
        proposed = SyncChange.objects.proposed().filter(run=self._run)
        shown = set(proposed.values_list("member_id", flat=True)) | set(
            SyncChange.objects.applied().filter(run=self._run).values_list("member_id", flat=True)
        )
        for one in planned.losing:
            if one.state.pk not in shown:
                snapshot.warnings.add("not_shown", one.state.userid)
        planned.losing = [one for one in planned.losing if one.state.pk in shown]

    def _finish(self, snapshot: Snapshot) -> None:
        now = self._clock()
        with transaction.atomic():
            SyncRun.objects.change(
                self._run,
                status=Status.DONE,
                phase=Phase.FINISHED,
                finished_at=now,
                problem="",
                errcode=None,
                hint="",
                detail="",
                call_count=self._calling.count,
                seen_count=len(snapshot.people),
                warnings=snapshot.warnings.as_json(),
                **LET_GO,
            )
            if self._run.is_confirmed:
                SyncChange.objects.proposed().filter(run=self._run).delete()
        put_away(corp=self._corp)


def _claim(run_id: int, now: datetime) -> SyncRun | None:
    """Take a run, if nobody has it. One that has been tried for too long is ended instead."""
    claimable = SyncRun.objects.claimable(now).filter(pk=run_id)
    # A question may have waited for its answer overnight: the time counts from the answer on.
    is_answered_long_ago = Q(answered_at__isnull=True) | Q(answered_at__lte=now - LONGEST)
    too_long = claimable.filter(is_answered_long_ago, started_at__lte=now - LONGEST)
    if too_long.update(status=Status.FAILED, problem="too_long", finished_at=now, phase=Phase.FINISHED, **LET_GO):
        return None
    token = claimable.claim(
        until=now + LEASE,
        status=Status.RUNNING,
        phase=Phase.DEPARTMENTS,
        started_at=Coalesce(F("started_at"), now),
        next_try_at=None,
        done_count=0,
        total_count=0,
    )
    return SyncRun.objects.select_related("corp").get(pk=run_id) if token else None


def _problem(error: IntegrationError) -> str:
    """Why the run ends, a word of `wording`: an answer of WeCom, another server's, or none because of our settings."""
    if isinstance(error, ForeignAnswerError):
        return "not_wecom"
    return "wrong_setting" if error.code is None and isinstance(error, ConfigurationError) else "wecom"


def _columns_of(error: IntegrationError) -> dict[str, Any]:
    answered = f" {error.answer}" if isinstance(error, ForeignAnswerError) else ""
    return {"errcode": error.code, "hint": error.hint[:64], "detail": f"{error}{answered}"[:1000]}


def _rest(run: SyncRun, now: datetime, error: IntegrationError | None) -> None:
    """Begin anew later: nothing was disabled. After the last try the run ends."""
    problem = "unreachable" if isinstance(error, TransientError) else "changed_meanwhile"
    columns = {} if error is None else _columns_of(error)
    if run.try_count >= len(RESTS):
        _fail(run, now, problem=problem, **columns)
        return
    wait = RESTS[run.try_count]
    if isinstance(error, RateLimitedError):
        wait = max(wait, timedelta(seconds=error.retry_after_seconds))
    values = {"status": Status.WAITING, "phase": Phase.WAITING, "try_count": run.try_count + 1, "problem": problem}
    _let_lost(run, **values, **columns, next_try_at=now + wait, **LET_GO)


def _fail(run: SyncRun, now: datetime, *, problem: str, **columns: Any) -> None:
    values = {"status": Status.FAILED, "phase": Phase.FINISHED, "problem": problem, "finished_at": now}
    _let_lost(run, **values, **columns, **LET_GO)


def _let_lost(run: SyncRun, **values: Any) -> None:
    try:
        SyncRun.objects.change(run, **values)
    except LeaseLostError:
        logger.warning("directory run=%s was taken over by another worker", run.pk)
