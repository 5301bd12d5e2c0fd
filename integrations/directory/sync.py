"""Runs of the directory: request, execution by a job, confirmation, end and explanation.

If a worker dies, the next one reads everything again: rows that were written before no longer differ.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext, ngettext_lazy

from integrations.clients.errors import (
    ConfigurationError,
    Explanation,
    ForeignAnswerError,
    IntegrationError,
    RateLimitedError,
    RecipientError,
    TransientError,
)
from integrations.clients.wecom.errcodes import NETWORK_ADMIN, NOBODY, SITE_ADMIN, SUPPORT
from integrations.core.sentences import explain_errcode, translate_explanation
from integrations.directory.departments import MissingRootError, find_question
from integrations.directory.diff import Difference, Writer, compare_departments, plan_changes
from integrations.directory.fetch import CallPacer, Reader, Snapshot
from integrations.jobs import requests
from integrations.jobs.runner import JobRun
from integrations.models import Corp, Department, Member, SyncRun

logger = logging.getLogger(__name__)
Status, Phase = SyncRun.Status, SyncRun.Phase

# How many written differences a run keeps for its page.
CHANGES_KEPT = 200
# How many runs of a company are kept with their differences, and how many at all.
KEPT_WITH_CHANGES = 20
KEPT_RUNS = 200


def admit_member(*, member: Member, now: datetime) -> bool:
    """Allow a userid that had been deleted to be used again. Return False if the member does not wait for that."""
    waiting = Member.objects.filter(pk=member.pk, waits_since__isnull=False)
    return bool(waiting.update(waits_since=None, changed_at=now))


def restore_member(*, member_id: int, now: datetime) -> bool:
    """Store that WeCom shows the member in scope and enabled. Return False for a deleted, missing or waiting member."""
    known = Member.objects.filter(pk=member_id, presence__in=_RESTORABLE, waits_since__isnull=True)
    is_disabled = When(status=Member.Status.DISABLED, then=Value(Member.Status.ACTIVE))
    status = Case(is_disabled, default=F("status"))
    return bool(known.update(presence=Member.Presence.IN_SCOPE, left_at=None, status=status, changed_at=now))


# Deleted and missing people are not restored, because their userid may be somebody else's by now.
_RESTORABLE = (Member.Presence.IN_SCOPE, Member.Presence.OUT_OF_SCOPE)


# --- The stored directory of a company, for comparing -----------------------------------------------------------------

_MEMBERS_AT_ONCE = 2000


def read_stored_members(corp: Corp, folded: Collection[str] | None = None) -> Iterator[Member]:
    """Yield all members of a company, or those with these userids, with the numbers of their departments.

    Members are read in batches, so that only their departments' numbers are all in memory.
    """
    members = Member.objects.filter(corp=corp)
    if folded is not None:
        members = members.filter(userid_folded__in=folded)
    departments = find_departments(corp, None if folded is None else members)
    for member in members.order_by("pk").iterator(_MEMBERS_AT_ONCE):
        member.department_numbers = departments.get(member.pk, set())
        yield member


def find_departments(corp: Corp, members: QuerySet[Member] | None = None) -> dict[int, set[int]]:
    """Map the key of each member, or only of each of `members`, to the numbers of their departments."""
    places = Member.departments.through.objects.filter(department__corp=corp)
    if members is not None:
        places = places.filter(member__in=members.values("pk"))
    numbers = dict(Department.objects.filter(corp=corp).values_list("pk", "wecom_department_id"))
    found: dict[int, set[int]] = defaultdict(set)
    rows = places.order_by().values_list("member_id", "department_id")
    for member, department in rows.iterator(_MEMBERS_AT_ONCE):
        found[member].add(numbers[department])
    return found


# Pauses before a run that could not be completed starts again; after the last one it ends as failed.
RETRY_PAUSES = (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=10))
# The kind of jobs that carry out runs; its function is in accounts.
JOB = "directory.run"


# --- Requesting runs, and answering their questions -------------------------------------------------------------------


@transaction.atomic
def request_run(*, corp: Corp, trigger: SyncRun.Trigger, now: datetime, requested_by: str = "") -> SyncRun:
    """Return the company's active run, or a new one, which a job carries out.

    A new run replaces one that waits for an answer. It reads the directory again, and may ask a question of its own.
    """
    corp = Corp.objects.select_for_update().get(pk=corp.pk)
    active = SyncRun.objects.unfinished().filter(corp=corp).first()
    if active is not None:
        job = requests.find_newest_job(JOB, corp.pk)
        if job is None or not job.is_unfinished:  # the job failed, but the run has not ended
            _request_job(corp, now)
        return active
    SyncRun.objects.filter(corp=corp, status=Status.ASKING).update(status=Status.OVERTAKEN, finished_at=now)
    run = SyncRun.objects.create(corp=corp, trigger=trigger, requested_at=now, requested_by=requested_by[:255])
    _request_job(corp, now)
    return run


def _request_job(corp: Corp, now: datetime) -> None:
    """Request a job with the company as its key, so that its runs are carried out one after the other."""
    requests.request_job(JOB, key=corp.pk, subject=corp.name, corp=corp, now=now)


@transaction.atomic
def confirm_run(*, run: SyncRun, now: datetime) -> bool:
    """Confirm a run that asks. It reads the directory again, and disables only people whom the question named.

    Return False if it does not ask any more, or another run is under way.
    """
    corp = Corp.objects.select_for_update().get(pk=run.corp_id)
    if SyncRun.objects.unfinished().filter(corp=run.corp_id).exists():
        return False
    asking = SyncRun.objects.filter(pk=run.pk, status=Status.ASKING)
    if not asking.update(status=Status.WAITING, phase=Phase.WAITING, answered_at=now):
        return False
    _request_job(corp, now)
    return True


def refuse_run(*, run: SyncRun, now: datetime) -> bool:
    """Refuse a run that asks: it ends without a change. Return False if it does not ask any more."""
    asking = SyncRun.objects.filter(pk=run.pk, status=Status.ASKING)
    return bool(asking.update(status=Status.REFUSED, phase=Phase.FINISHED, answered_at=now, finished_at=now))


# --- Carrying out a run -----------------------------------------------------------------------------------------------


def run_sync(
    *, run: SyncRun, job: JobRun, pause: Callable[[float], object] = time.sleep, number_field: str = ""
) -> SyncRun:
    """Carry out one run to its end, its question, or its next try. Raises LeaseLostError.

    `pause` sleeps between tries of one call; `number_field`: as for Reader. Errors of WeCom are stored in the row; an
    error of this program is raised.
    """
    begun = {"status": Status.RUNNING, "phase": Phase.DEPARTMENTS, "next_try_at": None}
    _update_run(run, job, **begun, started_at=run.started_at or job.clock())
    run.refresh_from_db()
    logger.info("directory run=%s corp=%s begins", run.pk, run.corp_id)
    try:
        _RunExecution(run, job, pause, number_field).carry_out()
    except (TransientError, RecipientError) as error:
        _postpone_run(run, job, error)
    except IntegrityError:
        # An event was processed at the same moment and wrote the same rows.
        _postpone_run(run, job, None)
    except IntegrationError as error:
        is_our_setting = error.code is None and isinstance(error, ConfigurationError)
        problem = "wrong_setting" if is_our_setting else "wecom"
        if isinstance(error, ForeignAnswerError):
            problem = "not_wecom"
        _end_run(run, job, problem=problem, **_describe_error(error))
    except MissingRootError as missing:
        _end_run(run, job, problem="root", detail=str(missing))
    run.refresh_from_db()
    logger.info(
        "directory run=%s corp=%s %s calls=%s counts=%s", run.pk, run.corp_id, run.status, run.call_count, run.counts
    )
    return run


def _update_run(run: SyncRun, job: JobRun, **values: Any) -> None:
    """Write these columns if this worker still has the job. Raises LeaseLostError."""
    with transaction.atomic():
        SyncRun.objects.filter(pk=run.pk).update(**values)
        job.lock_job()


class _RunExecution:
    """A worker's work on one run."""

    def __init__(self, run: SyncRun, job: JobRun, pause: Callable[[float], object], number_field: str) -> None:
        self._run, self._job, self._number_field, self._corp = run, job, number_field, run.corp
        self._pacer = CallPacer(pause=pause)
        self._phase = ""
        self._noted: list[list[Any]] = []

    def carry_out(self) -> None:
        """Read the directory, plan the changes, and write them or ask an administrator first."""
        read_since = self._job.clock()
        reader = Reader(corp=self._corp, pacer=self._pacer, progress=self._report, number_field=self._number_field)
        snapshot = reader.read()
        self._report(Phase.COMPARING, 0, 0, seen_count=len(snapshot.people))
        members = read_stored_members(self._corp)
        planned = plan_changes(snapshot=snapshot, members=members, look_up=reader.look_up, turn=self._run.pk)
        stored = Department.objects.filter(corp=self._corp).order_by("pk")
        planned.departments = compare_departments(stored, snapshot.departments)
        if not snapshot.people:
            snapshot.warn("nobody")
        for difference in planned.changed:
            if difference.kind == SyncRun.Change.REAPPEARED:
                snapshot.warn("reappeared", difference.member.userid)
        if self._run.is_confirmed:
            # Disable only people whom the administrator was shown.
            shown = {key for key, *_kind in (*self._run.proposed, *self._run.written)}
            for difference in planned.losing:
                if difference.member.pk not in shown:
                    snapshot.warn("not_shown", difference.member.userid)
            planned.losing = [difference for difference in planned.losing if difference.member.pk in shown]
        elif losing := {difference.member.pk for difference in planned.losing if difference.member.is_eligible}:
            departments = find_departments(self._corp)
            eligible = Member.objects.filter(corp=self._corp).eligible().values_list("pk", flat=True)
            tree = Department.objects.filter(corp=self._corp).present()
            question = find_question(
                losing=losing,
                eligible={key: departments.get(key, ()) for key in eligible},
                parents=dict(tree.values_list("wecom_department_id", "wecom_parent_id")),
                roots=self._corp.department_root_ids,
                percent=settings.DIRECTORY_GUARD_PERCENT,
            )
            if question is not None:
                _update_run(
                    self._run,
                    self._job,
                    status=Status.ASKING,
                    question=question,
                    proposed=[[difference.member.pk, difference.kind.value] for difference in planned.losing],
                    call_count=self._pacer.count,
                    warnings=snapshot.count_warnings(),
                )
                return
        self._report(Phase.WRITING, 0, planned.count)
        Writer(corp=self._corp, open_chunk=self._open_chunk, note=self._note, read_since=read_since).write(planned)
        self._finish(snapshot)

    def _report(self, phase: SyncRun.Phase, done: int, total: int, **more: int) -> None:
        """Report the progress. Raises LeaseLostError."""
        self._job.report_progress(done, total)
        if phase != self._phase:
            self._phase = phase
            SyncRun.objects.filter(pk=self._run.pk).update(phase=phase, call_count=self._pacer.count, **more)

    @contextmanager
    def _open_chunk(self, counts: Mapping[str, int]) -> Iterator[datetime]:
        """Open a transaction, lock the run's row and yield the time. After the block, add to the row `counts` and the
        differences that the block noted."""
        self._noted = []
        with self._job.edit_row(SyncRun.objects.filter(pk=self._run.pk).defer("proposed")) as row:
            yield self._job.clock()
            row.counts = dict(Counter(row.counts) + Counter(counts))
            row.written = [*row.written, *self._noted][:CHANGES_KEPT]
        self._report(Phase.WRITING, self._job.job.done_count + sum(counts.values()), self._job.job.total_count)

    def _note(self, changes: Sequence[Difference], joined: Sequence[Member], now: datetime) -> None:
        written = [(one.member, one.kind) for one in changes] + [(one, SyncRun.Change.JOINED) for one in joined]
        self._noted = [[member.pk, kind.value, now.isoformat()] for member, kind in written[:CHANGES_KEPT]]

    def _finish(self, snapshot: Snapshot) -> None:
        now = self._job.clock()
        with transaction.atomic():
            _update_run(
                self._run,
                self._job,
                status=Status.DONE,
                phase=Phase.FINISHED,
                finished_at=now,
                problem="",
                errcode=None,
                hint="",
                detail="",
                call_count=self._pacer.count,
                seen_count=len(snapshot.people),
                warnings=snapshot.count_warnings(),
            )
            if self._run.is_confirmed:
                SyncRun.objects.filter(pk=self._run.pk).update(proposed=[])
        runs = list(SyncRun.objects.filter(corp=self._corp).order_by("-pk").values_list("pk", flat=True))
        old = SyncRun.objects.filter(pk__in=runs[KEPT_WITH_CHANGES:]).exclude(written=[], proposed=[])
        old.update(written=[], proposed=[])
        SyncRun.objects.filter(pk__in=runs[KEPT_RUNS:]).delete()


def _describe_error(error: IntegrationError) -> dict[str, Any]:
    answered = f" {error.answer}" if isinstance(error, ForeignAnswerError) else ""
    return {"errcode": error.code, "hint": error.hint[:64], "detail": f"{error}{answered}"[:1000]}


def _postpone_run(run: SyncRun, job: JobRun, error: IntegrationError | None) -> None:
    """Postpone the run to its next try. After the last try, end it as failed."""
    problem = "unreachable" if isinstance(error, TransientError) else "changed_meanwhile"
    columns = {} if error is None else _describe_error(error)
    if run.try_count >= len(RETRY_PAUSES):
        _end_run(run, job, problem=problem, **columns)
        return
    wait = RETRY_PAUSES[run.try_count]
    if isinstance(error, RateLimitedError):
        wait = max(wait, timedelta(seconds=error.retry_after_seconds))
    values = {"status": Status.WAITING, "phase": Phase.WAITING, "try_count": run.try_count + 1, "problem": problem}
    _update_run(run, job, **values, **columns, next_try_at=job.clock() + wait)


def _end_run(run: SyncRun, job: JobRun, *, problem: str, **columns: Any) -> None:
    values = {"status": Status.FAILED, "phase": Phase.FINISHED, "problem": problem, "finished_at": job.clock()}
    _update_run(run, job, **values, **columns)


# The problems that a run may store. `number` in a sentence: the department root that the run stores as detail.
_PROBLEMS = {
    "unreachable": Explanation(
        gettext_noop("WeCom could not be reached, several times in a row. Nobody was disabled."),
        NETWORK_ADMIN,
        gettext_noop("Open the company's page and run the diagnosis."),
    ),
    "wecom": Explanation(
        gettext_noop("WeCom's answer was not what it should be. Nobody was disabled."),
        SUPPORT,
        gettext_noop("Synchronise again; if it stops again, send the technical detail to support."),
    ),
    "not_wecom": Explanation(
        gettext_noop(
            "What answered is not WeCom: a login page of the network, a proxy or another server. Nobody was disabled."
        ),
        NETWORK_ADMIN,
        gettext_noop(
            "Check the API address and the proxy on the company's page under “Advanced”; the detail below shows what "
            "answered."
        ),
    ),
    "wrong_setting": Explanation(
        gettext_noop("The API address, the proxy, the CA bundle or an encryption key is wrong. Nobody was disabled."),
        SITE_ADMIN,
        gettext_noop("Check the fields under “Advanced” on the company's page, and run the diagnosis there."),
    ),
    "changed_meanwhile": Explanation(
        gettext_noop("The directory or the app's visible scope changed while it was read. Nobody was disabled."),
        NOBODY,
        gettext_noop("Synchronise again in a few minutes."),
    ),
    "root": Explanation(
        gettext_noop(
            "Department %(number)s, one of the department roots, does not exist or is not visible to the app. "
            "Nobody was disabled."
        ),
        SITE_ADMIN,
        gettext_noop(
            "System integration → WeCom configuration → the company: correct the department roots; or add the "
            "department to the app's visible scope in WeCom's console."
        ),
    ),
}
_BROKEN = Explanation(
    gettext_noop("The program made a mistake. Nobody was disabled beyond what the run shows as written."),
    SUPPORT,
    gettext_noop("Send the technical detail and the workers' log to support."),
)
# The sentence for each kind of warning; the number selects its form.
_WARNINGS = {
    "cycle": ngettext_lazy(
        "%(count)d department stands below itself: %(examples)s.",
        "%(count)d departments stand below themselves: %(examples)s.",
        "count",
    ),
    "orphan": ngettext_lazy(
        "%(count)d department has a parent that WeCom did not list: %(examples)s.",
        "%(count)d departments have parents that WeCom did not list: %(examples)s.",
        "count",
    ),
    "spelling": ngettext_lazy(
        "%(count)d userid came in two spellings and was taken for one person: %(examples)s.",
        "%(count)d userids came in two spellings and were taken for one person each: %(examples)s.",
        "count",
    ),
    "userid": ngettext_lazy(
        "%(count)d entry was left out because its userid is not valid: %(examples)s.",
        "%(count)d entries were left out because their userids are not valid: %(examples)s.",
        "count",
    ),
    "tag": ngettext_lazy(
        "%(count)d tag of the app's visible scope could not be read: %(examples)s.",
        "%(count)d tags of the app's visible scope could not be read: %(examples)s.",
        "count",
    ),
    "named_but_gone": ngettext_lazy(
        "The app's visible scope names %(count)d person who does not exist: %(examples)s.",
        "The app's visible scope names %(count)d people who do not exist: %(examples)s.",
        "count",
    ),
    "moved_meanwhile": ngettext_lazy(
        "%(count)d person moved while the lists were read, and was found: %(examples)s.",
        "%(count)d people moved while the lists were read, and were found: %(examples)s.",
        "count",
    ),
    "reappeared": ngettext_lazy(
        "%(count)d userid that had been deleted came back and waits for an administrator: %(examples)s.",
        "%(count)d userids that had been deleted came back and wait for an administrator: %(examples)s.",
        "count",
    ),
    "not_shown": ngettext_lazy(
        "%(count)d more person went missing after the question and was left alone; the next run looks again: "
        "%(examples)s.",
        "%(count)d more people went missing after the question and were left alone; the next run looks again: "
        "%(examples)s.",
        "count",
    ),
    "nobody": gettext_lazy("WeCom named no member at all. Check whether the app's visible scope holds anybody."),
}
_OTHER_WARNING = gettext_lazy("Warnings: %(examples)s.")


def explain_run(run: SyncRun) -> Explanation:
    """Explain why a run stopped or waits for its next try; empty if it did neither."""
    if not run.problem:
        return Explanation("")
    if run.problem in {"wecom", "unreachable"} and run.errcode is not None:
        return explain_errcode(run.errcode)
    return translate_explanation(_PROBLEMS.get(run.problem, _BROKEN), {"number": run.detail})


def describe_question(run: SyncRun) -> list[str]:
    """Return sentences on why a run asks before it goes on; none if it does not ask."""
    facts = run.question
    if not facts:
        return []
    sentences = [
        ngettext(
            "%(leaving)d of %(of)d person who can sign in now would lose access.",
            "%(leaving)d of %(of)d people who can sign in now would lose access.",
            facts["of"],
        )
        % facts
    ]
    if facts["reason"] == "share":
        sentences.append(_("That is more than the %(percent)d %% that may be disabled without asking.") % facts)
    if facts["roots"]:
        roots = _("Of these departments nobody would be left: %(roots)s.")
        sentences.append(roots % {"roots": _(", ").join(facts["roots"])})
    sentences.append(
        _("Nothing is changed yet. Usual causes: the app's visible scope was changed, or WeCom answered in part.")
    )
    return sentences


def describe_warnings(run: SyncRun) -> list[str]:
    """Return a sentence for each kind of warning."""
    return [
        _WARNINGS.get(one["code"], _OTHER_WARNING) % {"count": one["count"], "examples": _(", ").join(one["examples"])}
        for one in run.warnings
    ]
