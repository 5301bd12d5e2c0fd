"""Background exports: a worker makes the sheet and keeps it for a day.

A worker holds a lease while it writes. Who takes over a sheet whose worker died begins it anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import translation

from accounts.importexport.jobs import CHANGE, IMPORT
from accounts.importexport.writers import Sheet
from accounts.models import ExportFile, PeopleExport, User
from integrations.clients.late import Late
from integrations.models.jobs import LET_GO, LeaseLostError

if TYPE_CHECKING:
    from accounts.importexport import xlsx_writer
else:
    xlsx_writer = Late("accounts.importexport.xlsx_writer")

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Status = PeopleExport.Status

KEPT_FOR = timedelta(days=1)
# Longer than a thousand rows take, and saving the whole file after the last one.
LEASE = timedelta(minutes=5)
CLAIMED_AT_MOST = 3


def request_export(*, reader: User, user_ids: Sequence[int], language: str, now: datetime) -> PeopleExport:
    """Note whom the sheet is to hold. Whoever calls queues accounts.make_people_export."""
    return PeopleExport.objects.create(
        requested_by=reader,
        requested_at=now,
        language=language,
        user_ids=list(user_ids),
        row_count=len(user_ids),
        expires_at=now + KEPT_FOR,
    )


def waiting_for_a_worker(*, now: datetime, at_most: int = 100) -> list[int]:
    """Keys of sheets to queue. Twice does no harm."""
    return PeopleExport.objects.keys_to_queue(now, at_most=at_most)


def carry_out(*, export_id: int, clock: Clock) -> None:
    """Make the sheet; nothing where another worker is at it, or there is nothing to do."""
    export = _claim(export_id, clock())
    if export is None:
        return
    try:
        content = _made(export, clock)
        with transaction.atomic():
            PeopleExport.objects.change(export, status=Status.DONE, finished_at=clock(), user_ids=[], **LET_GO)
            ExportFile.objects.create(export=export, content=content)
    except LeaseLostError:
        logger.warning("sheet of people=%s was taken over by another worker", export.pk)
        return
    logger.info("sheet of people=%s rows=%d bytes=%d", export.pk, export.row_count, len(content))


def file_of(*, export: PeopleExport, now: datetime) -> bytes | None:
    """The finished sheet; None where there is none, or its time is over."""
    kept = ExportFile.objects.filter(export=export, export__status=Status.DONE, export__expires_at__gt=now)
    content = kept.values_list("content", flat=True).first()
    return None if content is None else bytes(content)


def forget_expired(*, now: datetime) -> int:
    """Remove sheets whose time is over. Returns how many."""
    return PeopleExport.objects.expired(now).delete()[1].get("accounts.PeopleExport", 0)


def _claim(export_id: int, now: datetime) -> PeopleExport | None:
    with transaction.atomic():
        found = PeopleExport.objects.claimable(now).select_for_update().filter(pk=export_id).first()
        if found is None:
            return None
        reader = found.requested_by
        may = reader.is_active and reader.is_staff and reader.has_perms((IMPORT, CHANGE))
        found.status = Status.RUNNING if may and found.try_count < CLAIMED_AT_MOST else Status.FAILED
        found.done_count = 0
        found.claim(until=now + LEASE)
        found.save()  # the whole row, which is locked
    return found if found.status == Status.RUNNING else None


def _made(export: PeopleExport, clock: Clock) -> bytes:
    def hold(done_count: int) -> None:
        PeopleExport.objects.change(export, lease_until=clock() + LEASE, done_count=done_count)

    with translation.override(export.language):
        sheet = Sheet(people=export.user_ids, reader=export.requested_by, progress=hold)
        with xlsx_writer.write_xlsx(sheet) as file:
            return file.read()
