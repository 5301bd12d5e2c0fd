"""Says of a copy of the database that it is the installation now, or of an installation that it is a copy."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.audit import services
from accounts.importexport.jobs import stop_restored_imports
from accounts.models import AuditEntry
from integrations.core import installation
from integrations.core.background import database_clock
from integrations.models import ConsoleWrite, EventWork, Installation, Job
from integrations.models.installation import THE_ONE, Place
from notifications.delivery.maintenance import end_waiting

logger = logging.getLogger(__name__)


@transaction.atomic
def confirm() -> int | None:
    """The database is the real one from now on. Returns how many runs that had waited were ended, so that none of them
    is sent late; None where it was the real one already, and nothing was done."""
    installation.present()
    Installation.objects.select_for_update().get(pk=THE_ONE)
    # As it is under the lock: of two who confirm at once, the second would end what has begun since.
    if not installation.is_copied(installation.present()):
        return None
    now = database_clock()()
    count = end_waiting(now=now)
    # WeCom told the original, which has acted on it; the next synchronisation reads the directory whole.
    EventWork.objects.waiting().delete()
    stop_restored_imports(now=now)
    Job.objects.unfinished().delete()
    unfinished = ConsoleWrite.objects.unfinished()
    unfinished.update(status=ConsoleWrite.Status.FAILED, problem=ConsoleWrite.Problem.OUTDATED)
    Installation.objects.filter(pk=THE_ONE).update(
        place=Place(), deployment=settings.INSTALLATION_NAME, is_held=False, confirmed_at=timezone.now()
    )
    _record("This database is the real installation. %d runs that had waited were ended.", count)
    transaction.on_commit(installation.forget)
    return count


@transaction.atomic
def hold() -> bool:
    """The database is a copy from now on, whatever its place. False where it was one already."""
    installation.present()
    if not Installation.objects.filter(pk=THE_ONE, is_held=False).update(is_held=True):
        return False
    _record("This database is a copy: nothing is sent from it.")
    transaction.on_commit(installation.forget)
    return True


def _record(note: str, *values: object) -> None:
    logger.warning(note, *values)
    services.record(action=AuditEntry.Action.DONE, note=note % values)
