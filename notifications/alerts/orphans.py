"""Ends what is open of a route or rule that was deleted: nothing else ever would, and cards kept their buttons."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from notifications.alerts import card_updates, incidents
from notifications.models import Incident

AT_ONCE = 500


def due() -> QuerySet[Incident]:
    return Incident.objects.open().filter(route__isnull=True, rule__isnull=True)


@transaction.atomic
def end(*, now: datetime) -> int:
    """Returns how many were ended. Nobody is told: whoever deletes a rule knows."""
    found = list(due().select_for_update().order_by("pk")[:AT_ONCE])
    for incident in found:
        incidents.resolve(incident, ends_at=now, source=None, now=now, why=_("The route or rule was deleted."))
    card_updates.mark_stale(found, now=now)
    return len(found)
