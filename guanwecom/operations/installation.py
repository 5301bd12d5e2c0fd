"""Marking of a database as the real installation or as a copy of it."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.audit import services
from accounts.importexport.jobs import stop_imports
from accounts.models import AuditEntry, PeopleImport
from integrations.core import installation
from integrations.core.background import database_now
from integrations.models import CallbackEvent, Installation, Job
from integrations.models.installation import SINGLETON_PK, Place
from notifications.delivery.maintenance import end_all_waiting

logger = logging.getLogger(__name__)


@transaction.atomic
def mark_as_installation() -> int | None:
    """Mark the database as the real installation, and end waiting runs, so that none is sent late. Return their number;
    None if the database was the real installation already, which changes nothing."""
    installation.load_installation()
    Installation.objects.select_for_update().get(pk=SINGLETON_PK)
    # Checked under the lock: otherwise the second of two simultaneous calls would end runs that began after the first.
    if not installation.belongs_to_copy(installation.load_installation()):
        return None
    now = database_now()
    count = end_all_waiting(now=now)
    # WeCom sent these events to the original, which has handled them; the next sync reads the whole directory.
    CallbackEvent.objects.waiting().update(status=CallbackEvent.Status.DONE)
    stop_imports(PeopleImport.objects.all(), "restored", now)
    Job.objects.unfinished().delete()
    Installation.objects.filter(pk=SINGLETON_PK).update(
        place=Place(), deployment=settings.INSTALLATION_NAME, is_held=False, confirmed_at=timezone.now()
    )
    _record_note("This database is the real installation. %d runs that had waited were ended.", count)
    transaction.on_commit(installation.clear_copy_cache)
    return count


@transaction.atomic
def mark_as_copy() -> bool:
    """Mark the database as a copy, also if it is the real installation. Return False if it was marked already."""
    installation.load_installation()
    if not Installation.objects.filter(pk=SINGLETON_PK, is_held=False).update(is_held=True):
        return False
    _record_note("This database is a copy: nothing is sent from it.")
    transaction.on_commit(installation.clear_copy_cache)
    return True


def _record_note(note: str, *values: object) -> None:
    logger.warning(note, *values)
    services.record(action=AuditEntry.Action.DONE, note=note % values)
