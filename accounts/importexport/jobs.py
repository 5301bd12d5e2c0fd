"""Imports and large exports in the background. An import is checked first and written once confirmed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext, gettext_lazy

from accounts.audit import services
from accounts.importexport.planner import Decision, Known, Seen, decide, write
from accounts.importexport.readers import (
    COMPANY,
    EMAIL,
    MOBILE,
    USERNAME,
    FileRefusedError,
    Header,
    Layout,
    Line,
    Recogniser,
    table_of,
    target_of,
)
from accounts.importexport.writers import Sheet, write_xlsx
from accounts.models import Attribute, ImportFile, ImportRow, PeopleImport, User
from accounts.users.attributes import ValueTakenError
from integrations.core.background import repeat_on_conflict
from integrations.jobs import requests
from integrations.jobs.registry import JobFailedError, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import Corp, Job, JobFile
from integrations.models.jobs import LeaseLostError

logger = logging.getLogger(__name__)


Clock = Callable[[], datetime]
Status, Mode, Outcome = PeopleImport.Status, PeopleImport.Mode, ImportRow.Outcome

# Rows of an import are kept for so long; the import itself, with its counts, stays.
ROWS_KEPT = timedelta(days=90)


@transaction.atomic
def request_import(
    *,
    editor: User,
    ip: str | None,
    file_name: str,
    content: bytes,
    corp: Corp | None,
    match_by: str,
    clears_empty: bool,
    now: datetime,
) -> PeopleImport:
    """Keep the file for the background. Whoever calls queues accounts.run_people_import."""
    run = PeopleImport.objects.create(
        file_name=file_name[-255:],
        corp=corp,
        match_by=match_by,
        clears_empty=clears_empty,
        requested_by=editor,
        requested_by_name=str(editor)[:255],
        requested_from=ip,
        requested_at=now,
    )
    ImportFile.objects.create(run=run, content=content)
    return run


def confirm_import(*, run: PeopleImport, mode: str, editor: User, ip: str | None, now: datetime) -> bool:
    """Yes to what was shown, by `editor`, with whose rights it is written. False where it does not ask any more, or all
    or nothing could only be nothing.
    """
    if mode not in Mode.values or (mode == Mode.ALL and run.counts.get(Outcome.REFUSED)):
        return False
    unconfirmed = PeopleImport.objects.filter(pk=run.pk, status=Status.UNCONFIRMED)
    by = {"confirmed_by": editor, "confirmed_by_name": str(editor)[:255], "confirmed_from": ip, "confirmed_at": now}
    return bool(unconfirmed.update(status=Status.CONFIRMED, mode=mode, try_count=0, **by))


def discard_import(*, run: PeopleImport, now: datetime) -> bool:
    """No. False where it does not ask any more."""
    unconfirmed = PeopleImport.objects.filter(pk=run.pk, status=Status.UNCONFIRMED)
    return bool(unconfirmed.update(status=Status.DISCARDED, finished_at=now))


def done_count(run: PeopleImport) -> int:
    """How many rows are written so far; of all or nothing the store knows it, since nobody sees the transaction."""
    if run.status == Status.APPLYING and run.mode == Mode.ALL:
        return int(cache.get(progress_key(run), 0))
    return int(run.counts.get(Outcome.APPLIED, 0)) + int(run.counts.get("left", 0))


def progress_key(run: PeopleImport) -> str:
    """Under which the store has it."""
    return f"accounts.people_import.{run.pk}"


def forget_old_rows(*, now: datetime) -> int:
    """Remove the rows of old imports, which hold names and values; counts stay."""
    old = PeopleImport.objects.filter(requested_at__lt=now - ROWS_KEPT).values("pk")
    removed = 0
    while keys := list(ImportRow.objects.filter(run__in=old).values_list("pk", flat=True)[:5000]):
        removed += ImportRow.objects.filter(pk__in=keys).delete()[0]
    return removed


# --- Imports in the background: first everything is read and compared, then, once somebody has said yes, written ---

STEP = 500
# Longer than one step takes. A worker that is silent for longer is taken for dead.
LEASE = timedelta(minutes=3)
CLAIMED_AT_MOST = 5
IMPORT = "accounts.add_peopleimport"
CHANGE = "accounts.change_user"
EXPORT = "people.export"


class _StoppedError(Exception):
    """All or nothing: `row` is refused, so nothing is written."""

    def __init__(self, row: ImportRow, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.row, self.decision = row, decision


# --- The worker ------------------------------------------------------------------------------------------------------


def list_imports_to_queue(*, now: datetime, at_most: int = 100) -> list[int]:
    """Keys of imports to queue. Twice does no harm."""
    return PeopleImport.objects.keys_to_queue(now, at_most=at_most)


def run_import(*, run_id: int, clock: Clock) -> None:
    """The next half of an import; nothing where another worker is at it, or there is nothing to do."""
    run = _claim(run_id, clock())
    if run is None:
        return
    try:
        if run.status == Status.READING:
            _read(run, clock)
        else:
            _apply(run, clock)
    except LeaseLostError:
        logger.warning("import of people=%s was taken over by another worker", run.pk)
        return
    run.refresh_from_db()
    logger.info("import of people=%s status=%s counts=%s", run.pk, run.status, run.counts)


@transaction.atomic
def _claim(run_id: int, now: datetime) -> PeopleImport | None:
    """A row that a transaction holds has a living worker, whatever its lease says."""
    claimable = PeopleImport.objects.claimable(now).filter(pk=run_id)
    run = claimable.select_for_update(skip_locked=True, of=("self",)).first()
    if run is None:
        return None
    if run.try_count >= CLAIMED_AT_MOST:
        run.status, run.reason, run.finished_at = Status.STOPPED, "gave_up", now
        run.save()
        return None
    run.status = Status.READING if run.status in {Status.WAITING, Status.READING} else Status.APPLYING
    run.claim(until=now + LEASE)
    run.save()  # the whole row, which is locked
    return run


def _end(run: PeopleImport, status: str, now: datetime, reason: str = "", words: dict[str, Any] | None = None) -> None:
    with PeopleImport.objects.hold(run, until=now + LEASE) as held:
        _ended(held, status, now, reason, words)


def _ended(held: PeopleImport, status: str, now: datetime, reason: str = "", words: Any = None) -> None:
    held.finish(status, None if status == Status.UNCONFIRMED else now)
    held.reason, held.words, held.try_count = reason, words or {}, 0
    ImportFile.objects.filter(run=held).delete()


def _editor(user_id: int | None) -> User | None:
    """Whose rights count: who has uploaded it, and once somebody has said yes, they. As long as they may import."""
    editor = User.objects.filter(pk=user_id or 0, is_active=True, is_staff=True).first()
    return editor if editor is not None and editor.has_perms((IMPORT, CHANGE)) else None


# --- Reading ---------------------------------------------------------------------------------------------------------


def _read(run: PeopleImport, clock: Clock) -> None:
    with PeopleImport.objects.hold(run, until=clock() + LEASE) as held:
        ImportRow.objects.filter(run=held).delete()
        held.counts, held.row_count = {}, 0
    editor = _editor(run.requested_by_id)
    content = ImportFile.objects.filter(run=run).values_list("content", flat=True).first()
    if editor is None or content is None:
        _end(run, Status.STOPPED, clock(), "not_allowed")
        return
    try:
        table = table_of(bytes(content), Recogniser(Attribute.objects.by_name()))
        _check_header(run, table.header)
        with PeopleImport.objects.hold(run, until=clock() + LEASE) as held:
            held.layout, held.titles = table.header.layout.value, [list(pair) for pair in table.header.titles]
        run.layout = table.header.layout.value
        seen = Seen()
        for lines in _steps(table.lines):
            _read_step(run, editor, table.header, lines, seen, clock())
        run.refresh_from_db()
        if not run.row_count:
            raise FileRefusedError("no_rows")
    except FileRefusedError as refused:
        _end(run, Status.REFUSED, clock(), refused.reason, refused.words)
    else:
        _end(run, Status.UNCONFIRMED, clock())


def _check_header(run: PeopleImport, header: Header) -> None:
    """Raises FileRefusedError where what was chosen on the page does not go with the file."""
    if header.layout == Layout.OWN:
        return
    if header.layout == Layout.WECOM and run.corp is None and COMPANY not in header.columns:
        raise FileRefusedError("company_missing")
    needed = {
        PeopleImport.Match.EMAIL: {EMAIL},
        PeopleImport.Match.MOBILE: {MOBILE},
        PeopleImport.Match.ATTRIBUTE: {target_of(one) for one in Attribute.objects.employee_numbers()},
    }.get(PeopleImport.Match(run.match_by))
    if needed is not None and not needed & set(header.columns):
        raise FileRefusedError("match_missing")


def _steps(lines: Iterator[Line]) -> Iterator[list[Line]]:
    step: list[Line] = []
    for line in lines:
        step.append(line)
        if len(step) == STEP:
            yield step
            step = []
    if step:
        yield step


def _read_step(run: PeopleImport, editor: User, header: Header, lines: list[Line], seen: Seen, now: datetime) -> None:
    cells = {line.number: _cells(line, header) for line in lines}
    problems = {line.number: found for line in lines if (found := _problem(line, header))}
    sound = [(number, texts) for number, texts in cells.items() if number not in problems]
    known = Known(run=run, editor=editor, rows=[texts for _number, texts in sound])
    decisions = decide(run=run, known=known, rows=sound, seen=seen)
    rows = [_row(run, number, texts, made) for (number, texts), made in zip(sound, decisions, strict=True)]
    rows += [_row(run, number, cells[number], made) for number, made in problems.items()]
    kept = [row for row in rows if row is not None]
    with PeopleImport.objects.hold(run, until=now + LEASE) as held:
        ImportRow.objects.bulk_create(kept, batch_size=STEP)
        held.row_count += len(lines)
        counts = {**held.counts, "same": held.counts.get("same", 0) + len(lines) - len(kept)}
        for row in kept:
            counts[row.outcome] = counts.get(row.outcome, 0) + 1
        held.counts = counts


def _cells(line: Line, header: Header) -> dict[str, str]:
    return {target: line.texts[column] if column < len(line.texts) else "" for target, column in header.columns.items()}


def _problem(line: Line, header: Header) -> Decision | None:
    """A cell that cannot be taken, of a column that is used."""
    titles = {target: title for title, target in header.titles}
    for target, column in header.columns.items():
        if column in line.problems:
            return Decision(None, [], line.problems[column], {"column": titles[target]})
    return None


def _row(run: PeopleImport, number: int, cells: dict[str, str], decision: Decision) -> ImportRow | None:
    """None for a row that changes nothing."""
    if not decision.reason and not decision.changes:
        return None
    name = str(decision.user) if decision.user else next((text for text in map(cells.get, _NAMING) if text), "")
    return ImportRow(
        run=run,
        number=number,
        outcome=Outcome.REFUSED if decision.reason else Outcome.CHANGE,
        user_id=decision.user.pk if decision.user else None,
        name=name[:255],
        cells={target: text[:300] for target, text in cells.items()} if decision.reason else cells,
        changes=decision.changes,
        reason=decision.reason,
        words=decision.words,
    )


# What a row is called that is about nobody known.
_NAMING = (USERNAME, "userid", "name", EMAIL, MOBILE)


# --- Writing ---------------------------------------------------------------------------------------------------------


def _apply(run: PeopleImport, clock: Clock) -> None:
    editor = _editor(run.confirmed_by_id)
    if editor is None:
        _end(run, Status.STOPPED, clock(), "confirmer_not_allowed")
        return
    with services.on_behalf(editor, run.confirmed_from):
        if run.mode == Mode.ALL:
            _apply_all(run, editor, clock)
        else:
            _apply_skipping(run, editor, clock)


def _apply_skipping(run: PeopleImport, editor: User, clock: Clock) -> None:
    seen = Seen()
    while rows := _next_rows(run):
        repeat_on_conflict(partial(_skipping_step, run, editor, rows, seen, clock), ValueTakenError)
    _end(run, Status.DONE, clock())


def _skipping_step(run: PeopleImport, editor: User, rows: list[ImportRow], seen: Seen, clock: Clock) -> None:
    with PeopleImport.objects.hold(run, until=clock() + LEASE) as held:
        refused = _write_step(run, editor, rows, seen)
        _count(held, len(rows) - len(refused), len(refused))


def _apply_all(run: PeopleImport, editor: User, clock: Clock) -> None:
    """One transaction. Nobody sees how far it is but through the store."""
    try:
        with PeopleImport.objects.hold(run, until=clock() + LEASE) as held:
            written, seen = 0, Seen()
            while rows := _next_rows(run):
                repeat_on_conflict(partial(_whole_step, run, editor, rows, seen), ValueTakenError)
                written += len(rows)
                cache.set(progress_key(run), written, 3600)
            _count(held, written, 0)
            _ended(held, Status.DONE, clock())
    except _StoppedError as stopped:
        with PeopleImport.objects.hold(run, until=clock() + LEASE) as held:
            row, made = stopped.row, stopped.decision
            ImportRow.objects.filter(pk=row.pk).update(outcome=Outcome.REFUSED, reason=made.reason, words=made.words)
            held.counts = {
                **held.counts,
                Outcome.CHANGE.value: held.counts.get(Outcome.CHANGE, 1) - 1,
                Outcome.REFUSED.value: held.counts.get(Outcome.REFUSED, 0) + 1,
            }
            _ended(held, Status.STOPPED, clock(), "row_refused", {"row": row.number})


def _whole_step(run: PeopleImport, editor: User, rows: list[ImportRow], seen: Seen) -> None:
    with transaction.atomic():
        refused = _write_step(run, editor, rows, seen)
        if refused:
            raise _StoppedError(*refused[0])


def _next_rows(run: PeopleImport) -> list[ImportRow]:
    return list(ImportRow.objects.filter(run=run, outcome=Outcome.CHANGE).order_by("number")[:STEP])


def _write_step(run: PeopleImport, editor: User, rows: list[ImportRow], seen: Seen) -> list[tuple[ImportRow, Decision]]:
    """Write those rows that still mean what was shown; the others with why not. Inside a transaction."""
    people = User.objects.select_for_update().filter(pk__in=[row.user_id for row in rows if row.user_id])
    list(people.order_by("pk").values_list("pk", flat=True))
    known = Known(run=run, editor=editor, rows=[row.cells for row in rows])
    decisions = decide(run=run, known=known, rows=[(row.number, row.cells) for row in rows], seen=seen)
    pairs = [(row, _still(row, made)) for row, made in zip(rows, decisions, strict=True)]
    write([made for _row, made in pairs if not made.reason])
    refused = [(row, made) for row, made in pairs if made.reason]
    for row, made in refused:
        row.outcome, row.reason, row.words = Outcome.REFUSED, made.reason, made.words
    ImportRow.objects.bulk_update([row for row, _made in refused], ["outcome", "reason", "words"])
    done = [row.pk for row, made in pairs if not made.reason]
    ImportRow.objects.filter(pk__in=done).update(outcome=Outcome.APPLIED)
    return refused


def _still(row: ImportRow, decision: Decision) -> Decision:
    """The decision, refused where it is not what somebody has said yes to."""
    is_same = decision.user is not None and decision.user.pk == row.user_id and decision.changes == row.changes
    return decision if decision.reason or is_same else Decision(decision.user, [], "changed_meanwhile")


def _count(held: PeopleImport, written: int, refused: int) -> None:
    counts = held.counts
    held.counts = {
        **counts,
        Outcome.CHANGE.value: counts.get(Outcome.CHANGE, 0) - written - refused,
        Outcome.APPLIED.value: counts.get(Outcome.APPLIED, 0) + written,
        Outcome.REFUSED.value: counts.get(Outcome.REFUSED, 0) + refused,
    }


# --- Sheets of many people ---


def request_export(*, reader: User, user_ids: Sequence[int], language: str, now: datetime) -> Job:
    """Have a sheet of these people made for `reader`, its columns named in `language`."""
    payload = {"user_ids": list(user_ids), "language": language}
    return requests.request_job(EXPORT, payload=payload, subject=len(user_ids), by=reader, now=now)


@job_kind(
    EXPORT,
    label=gettext_lazy("Sheet of people"),
    explain=lambda _job: gettext("You may not import people any more, so no sheet was made."),
    seconds=1800,
    retry=IMPORT,
    template="admin/accounts/user/_sheet.html",
)
def make_export(run: JobRun) -> dict[str, Any]:
    """Make the sheet, for nobody but who asked: it holds what they may see."""
    keys, language = run.job.payload["user_ids"], run.job.payload["language"]
    reader = _editor(run.job.asked_by_id)
    if reader is None:
        raise JobFailedError("not_allowed")
    with translation.override(language):
        sheet = Sheet(people=keys, reader=reader, progress=lambda count: run.report(count, len(keys)))
        with write_xlsx(sheet) as file:
            content = file.read()
    with transaction.atomic():
        JobFile.objects.update_or_create(job=run.job, defaults={"content": content})
        run.hold()
    return {"count": len(keys)}
