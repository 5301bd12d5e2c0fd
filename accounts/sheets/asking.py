"""What administrators ask of imports: that a file is read, that what was shown is written, and how far it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.cache import cache
from django.db import transaction

from accounts.models import ImportFile, ImportRow, PeopleImport, User
from integrations.models import Corp

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
    asking = PeopleImport.objects.filter(pk=run.pk, status=Status.ASKING)
    by = {"confirmed_by": editor, "confirmed_by_name": str(editor)[:255], "confirmed_from": ip, "confirmed_at": now}
    return bool(asking.update(status=Status.CONFIRMED, mode=mode, try_count=0, **by))


def discard_import(*, run: PeopleImport, now: datetime) -> bool:
    """No. False where it does not ask any more."""
    asking = PeopleImport.objects.filter(pk=run.pk, status=Status.ASKING)
    return bool(asking.update(status=Status.DISCARDED, finished_at=now))


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
