"""Background jobs for imports and large exports. An import is checked first, and written once confirmed."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import translation
from django.utils.translation import gettext, gettext_lazy

from accounts.audit import services
from accounts.importexport.planner import Decision, ImportContext, RowClaims, decide_rows, write_decisions
from accounts.importexport.sheets import (
    COMPANY,
    EMAIL,
    MOBILE,
    USERNAME,
    FileRefusedError,
    Header,
    HeaderReader,
    Layout,
    PeopleSheet,
    SheetRow,
    make_target,
    read_table,
    write_xlsx,
)
from accounts.models import Attribute, ImportRow, PeopleImport, User
from accounts.users.attributes import ValueTakenError
from integrations.core.background import database_now, repeat_on_conflict
from integrations.jobs import requests
from integrations.jobs.registry import JobFailedError, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import Corp, Job

Status, Mode, Outcome = PeopleImport.Status, PeopleImport.Mode, ImportRow.Outcome
# Outcomes of rows that are written once the import is confirmed.
TO_WRITE = (Outcome.CREATE, Outcome.CHANGE)

# Rows of an import are deleted after this time; the import itself, with its counts, stays.
ROWS_KEPT = timedelta(days=90)


@transaction.atomic
def request_import(
    *,
    editor: User,
    file_name: str,
    content: bytes,
    corp: Corp | None,
    match_by: str,
    clears_empty: bool,
    creates_people: bool = False,
    now: datetime,
) -> PeopleImport:
    """Store an uploaded file, and start a job that checks it."""
    run = PeopleImport.objects.create(
        file_name=file_name[-255:],
        corp=corp,
        match_by=match_by,
        clears_empty=clears_empty,
        creates_people=creates_people,
        requested_by=editor,
        requested_by_name=str(editor)[:255],
        requested_at=now,
    )
    _request_job(run, editor, now, content)
    return run


def _request_job(run: PeopleImport, by: User, now: datetime, content: bytes | None = None) -> None:
    requests.request_job(IMPORT_KIND, key=run.pk, subject=run.file_name, file=content, by=by, now=now)


@transaction.atomic
def confirm_import(*, run: PeopleImport, mode: str, editor: User, ip: str | None, now: datetime) -> bool:
    """Confirm a checked import as `editor`, and start a job that writes it with the rights of `editor`. Returns False
    if the import no longer waits for an answer, or if `mode` is all-or-nothing although rows are refused."""
    if mode not in Mode.values or (mode == Mode.ALL and run.counts.get(Outcome.REFUSED)):
        return False
    unconfirmed = PeopleImport.objects.filter(pk=run.pk, status=Status.UNCONFIRMED)
    confirmed = {"confirmed_by": editor, "confirmed_by_name": str(editor)[:255], "confirmed_from": ip}
    if not unconfirmed.update(status=Status.CONFIRMED, mode=mode, confirmed_at=now, **confirmed):
        return False
    _request_job(run, editor, now)
    return True


def discard_import(*, run: PeopleImport, now: datetime) -> bool:
    """Discard a checked import. Returns False if it no longer waits for an answer."""
    unconfirmed = PeopleImport.objects.filter(pk=run.pk, status=Status.UNCONFIRMED)
    return bool(unconfirmed.update(status=Status.DISCARDED, finished_at=now))


def delete_old_rows(*, now: datetime) -> int:
    """Delete the rows of old imports, which hold personal data. Return how many. The imports with their counts stay."""
    old = PeopleImport.objects.filter(requested_at__lt=now - ROWS_KEPT).values("pk")
    return ImportRow.objects.filter(run__in=old).delete()[0]


# --- Imports in the background --------------------------------------------------------------------------------------

# Kinds of jobs.
IMPORT_KIND, EXPORT_KIND = "people.import", "people.export"
# Rows read or written in one transaction.
STEP = 500
# The permissions that an import needs.
MAY_IMPORT, MAY_CHANGE = "accounts.add_peopleimport", "accounts.change_user"


class _StoppedError(Exception):
    """A row of an all-or-nothing import was refused while writing, so nothing is written."""

    def __init__(self, row: ImportRow, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.row, self.decision = row, decision


def give_up_import(job: Job) -> None:
    """Stop the import whose job was given up, unless it has another unfinished job."""
    others = Job.objects.unfinished().filter(kind=IMPORT_KIND, key=job.key).exclude(pk=job.pk)
    if not others.exists():
        stop_imports(PeopleImport.objects.filter(pk=int(job.key or 0)), "gave_up", database_now())


@transaction.atomic
def stop_imports(runs: QuerySet[PeopleImport], reason: str, now: datetime) -> None:
    """Stop those of `runs` that are being checked or written. `reason`: a key in accounts.explanations."""
    under_way = runs.filter(status__in=[Status.WAITING, Status.CONFIRMED]).select_for_update(of=("self",))
    for run in under_way.order_by("pk"):
        _end_locked_run(run, Status.STOPPED, now, reason)
        run.save()


@job_kind(
    IMPORT_KIND,
    label=gettext_lazy("Import of people"),
    explain=lambda _job: "",  # the page of the import explains why it stopped
    seconds=3600,
    see="accounts.view_peopleimport",
    template="admin/accounts/peopleimport/_link.html",
    repeats_errors=True,
    give_up=give_up_import,
)
def continue_import(run: JobRun) -> dict[str, Any]:
    """Check the uploaded file, or write the confirmed rows. After an interruption the check starts again, and writing
    continues after the last saved step."""
    status = _find_import(run).values_list("status", flat=True).first()
    if status == Status.WAITING:
        _read_file(run)
    elif status == Status.CONFIRMED:
        _apply_import(run)
    return {}


def _find_import(run: JobRun) -> QuerySet[PeopleImport]:
    return PeopleImport.objects.filter(pk=int(run.job.key or 0))


def _end_import(run: JobRun, status: str, reason: str = "", words: dict[str, Any] | None = None) -> None:
    with run.edit_row(_find_import(run)) as locked_run:
        _end_locked_run(locked_run, status, run.clock(), reason, words)


def _end_locked_run(locked_run: PeopleImport, status: str, now: datetime, reason: str = "", words: Any = None) -> None:
    """Set the status and the reason, and delete the uploaded file."""
    locked_run.status, locked_run.finished_at = status, None if status == Status.UNCONFIRMED else now
    locked_run.reason, locked_run.words = reason, words or {}
    _find_files(locked_run).update(file=None)


def _find_files(import_run: PeopleImport) -> QuerySet[Job]:
    return Job.objects.filter(kind=IMPORT_KIND, key=str(import_run.pk), file__isnull=False)


def _find_editor(user_id: int | None) -> User | None:
    """Return the user if still allowed to import people, else None."""
    editor = User.objects.filter(pk=user_id or 0, is_active=True, is_staff=True).first()
    return editor if editor is not None and editor.has_perms((MAY_IMPORT, MAY_CHANGE)) else None


# --- Reading ---------------------------------------------------------------------------------------------------------


def _read_file(run: JobRun) -> None:
    """Read the uploaded file, and store what each row would change."""
    with run.edit_row(_find_import(run)) as import_run:
        ImportRow.objects.filter(run=import_run).delete()
        import_run.counts, import_run.row_count = {}, 0
    editor = _find_editor(import_run.requested_by_id)
    content = _find_files(import_run).values_list("file", flat=True).first()
    if editor is None or content is None:
        _end_import(run, Status.STOPPED, "not_allowed")
        return
    try:
        header, lines = read_table(bytes(content), HeaderReader(Attribute.objects.by_name()))
        # Check that the choices made at the upload fit the file. Our own sheets (OWN) name people by username.
        needed = {
            PeopleImport.Match.EMAIL: {EMAIL},
            PeopleImport.Match.MOBILE: {MOBILE},
            PeopleImport.Match.ATTRIBUTE: {make_target(one) for one in Attribute.objects.employee_numbers()},
        }.get(PeopleImport.Match(import_run.match_by))
        if header.layout == Layout.WECOM and import_run.corp is None and COMPANY not in header.columns:
            raise FileRefusedError("company_missing")
        if header.layout != Layout.OWN and needed is not None and not needed & set(header.columns):
            raise FileRefusedError("match_missing")
        with run.edit_row(_find_import(run)) as import_run:
            import_run.layout, import_run.titles = header.layout.value, [list(pair) for pair in header.titles]
        claims = RowClaims()
        while step := list(islice(lines, STEP)):
            import_run = _read_step(run, import_run, editor, header, step, claims)
        if not import_run.row_count:
            raise FileRefusedError("no_rows")
    except FileRefusedError as refused:
        _end_import(run, Status.REFUSED, refused.reason, refused.words)
    else:
        _end_import(run, Status.UNCONFIRMED)


def _read_step(
    run: JobRun, import_run: PeopleImport, editor: User, header: Header, lines: list[SheetRow], claims: RowClaims
) -> PeopleImport:
    titles = {target: title for title, target in header.titles}
    cells: dict[int, dict[str, str]] = {}
    problems: dict[int, Decision] = {}
    for line in lines:
        texts = dict(enumerate(line.texts))
        cells[line.number] = {target: texts.get(column, "") for target, column in header.columns.items()}
        unusable = [(target, column) for target, column in header.columns.items() if column in line.problems]
        for target, column in unusable[:1]:
            problems[line.number] = Decision(None, [], line.problems[column], {"column": titles[target]})
    usable = [(number, texts) for number, texts in cells.items() if number not in problems]
    context = ImportContext(run=import_run, editor=editor, rows=[texts for _number, texts in usable])
    decisions = decide_rows(run=import_run, context=context, rows=usable, claims=claims)
    rows = [_make_row(import_run, number, texts, one) for (number, texts), one in zip(usable, decisions, strict=True)]
    rows += [_make_row(import_run, number, cells[number], decision) for number, decision in problems.items()]
    with run.edit_row(_find_import(run)) as locked_run:
        ImportRow.objects.bulk_create([row for row in rows if row is not None], batch_size=STEP)
        locked_run.row_count += len(lines)
        _count_rows(locked_run)
    return locked_run


def _make_row(import_run: PeopleImport, number: int, cells: dict[str, str], decision: Decision) -> ImportRow | None:
    """Make the row to store, or return None if it changes nothing."""
    if not decision.reason and not decision.changes:
        return None
    name = str(decision.user) if decision.user else next((text for text in map(cells.get, _NAMING) if text), "")
    return ImportRow(
        run=import_run,
        number=number,
        outcome=Outcome.REFUSED if decision.reason else Outcome.CREATE if decision.creates else Outcome.CHANGE,
        user_id=decision.user.pk if decision.user else None,
        name=name[:255],
        cells={target: text[:300] for target, text in cells.items()} if decision.reason else cells,
        changes=decision.changes,
        reason=decision.reason,
        words=decision.words,
    )


# Columns by which a row is named if its person was not found.
_NAMING = (USERNAME, "userid", "name", EMAIL, MOBILE)


# --- Writing ---------------------------------------------------------------------------------------------------------


def _apply_import(run: JobRun) -> None:
    """Write the confirmed rows: in steps, or all in one transaction if the mode is all-or-nothing."""
    import_run = _find_import(run).get()
    editor = _find_editor(import_run.confirmed_by_id)
    if editor is None:
        _end_import(run, Status.STOPPED, "confirmer_not_allowed")
        return
    done_count = sum(import_run.counts.get(one, 0) for one in (Outcome.APPLIED, Outcome.CREATED))
    run.report_progress(done_count, done_count + sum(import_run.counts.get(one, 0) for one in TO_WRITE))
    with services.set_actor(editor, import_run.confirmed_from):
        claims = RowClaims()
        if import_run.mode != Mode.ALL:
            while rows := _find_next_rows(run):
                repeat_on_conflict(partial(_write_and_count, run, editor, rows, claims), ValueTakenError)
                run.report_progress(run.job.done_count + len(rows), run.job.total_count)
            _end_import(run, Status.DONE)
            return
        try:
            with run.edit_row(_find_import(run)) as locked_run:
                while rows := _find_next_rows(run):
                    repeat_on_conflict(partial(_write_step, locked_run, editor, rows, claims), ValueTakenError)
                    run.report_progress(run.job.done_count + len(rows), run.job.total_count)
                _count_rows(locked_run)
                _end_locked_run(locked_run, Status.DONE, run.clock())
        except _StoppedError as stopped:
            with run.edit_row(_find_import(run)) as locked_run:
                row, decision = stopped.row, stopped.decision
                refusal = {"outcome": Outcome.REFUSED, "reason": decision.reason, "words": decision.words}
                ImportRow.objects.filter(pk=row.pk).update(**refusal)
                _count_rows(locked_run)
                _end_locked_run(locked_run, Status.STOPPED, run.clock(), "row_refused", {"row": row.number})


def _write_and_count(run: JobRun, editor: User, rows: list[ImportRow], claims: RowClaims) -> None:
    with run.edit_row(_find_import(run)) as locked_run:
        _write_step(locked_run, editor, rows, claims)
        _count_rows(locked_run)


def _find_next_rows(run: JobRun) -> list[ImportRow]:
    remaining = ImportRow.objects.filter(run=int(run.job.key or 0), outcome__in=TO_WRITE)
    return list(remaining.order_by("number")[:STEP])


@transaction.atomic
def _write_step(import_run: PeopleImport, editor: User, rows: list[ImportRow], claims: RowClaims) -> None:
    """Write the rows whose changes are still those that were confirmed, and mark the others as refused. In an
    all-or-nothing import, raise _StoppedError and write nothing if a row is refused."""
    people = User.objects.select_for_update().filter(pk__in=[row.user_id for row in rows if row.user_id])
    list(people.order_by("pk").values_list("pk", flat=True))  # locks the rows
    context = ImportContext(run=import_run, editor=editor, rows=[row.cells for row in rows])
    cells = [(row.number, row.cells) for row in rows]
    decisions = decide_rows(run=import_run, context=context, rows=cells, claims=claims)
    pairs, is_created = [], {}
    for row, new in zip(rows, decisions, strict=True):
        is_same = new.user is not None and new.user.pk == row.user_id and new.changes == row.changes
        is_created[row.pk] = new.creates
        pairs.append((row, new if new.reason or is_same else Decision(new.user, [], "changed_meanwhile")))
    write_decisions([decision for _row, decision in pairs if not decision.reason])
    refused = [(row, decision) for row, decision in pairs if decision.reason]
    for row, decision in refused:
        row.outcome, row.reason, row.words = Outcome.REFUSED, decision.reason, decision.words
    ImportRow.objects.bulk_update([row for row, _decision in refused], ["outcome", "reason", "words"])
    for outcome, creates in ((Outcome.APPLIED, False), (Outcome.CREATED, True)):
        done = [row.pk for row, decision in pairs if not decision.reason and is_created[row.pk] is creates]
        ImportRow.objects.filter(pk__in=done).update(outcome=outcome)
    if refused and import_run.mode == Mode.ALL:
        raise _StoppedError(*refused[0])


def _count_rows(locked_run: PeopleImport) -> None:
    """Set the counts of rows by outcome. Rows that are not stored change nothing."""
    rows = ImportRow.objects.filter(run=locked_run).order_by()
    counts = dict(rows.values_list("outcome").annotate(Count("pk")))
    locked_run.counts = {"same": locked_run.row_count - sum(counts.values()), **counts}


# --- Large exports in the background ---------------------------------------------------------------------------------


@job_kind(
    EXPORT_KIND,
    label=gettext_lazy("Sheet of people"),
    explain=lambda _job: gettext("You may not import people any more, so no sheet was made."),
    seconds=1800,
    retry=MAY_IMPORT,
    template="admin/accounts/user/_sheet.html",
)
def make_export(run: JobRun) -> dict[str, Any]:
    """Make the sheet. It contains what the person who asked may see, so nobody else may download it."""
    keys, language = run.job.payload["user_ids"], run.job.payload["language"]
    reader = _find_editor(run.job.asked_by_id)
    if reader is None:
        raise JobFailedError("not_allowed")
    with translation.override(language):
        sheet = PeopleSheet(people=keys, reader=reader, progress=lambda count: run.report_progress(count, len(keys)))
        with write_xlsx(sheet) as file:
            content = file.read()
    with transaction.atomic():
        Job.objects.filter(pk=run.job.pk).update(file=content)
        run.lock_job()
    return {"count": len(keys)}
