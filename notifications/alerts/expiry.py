"""Closes incidents that nobody will report any more: their route or rule was deleted, disabled or changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from notifications.alerts import card_updates, incidents
from notifications.models import AlertRule, Incident
from notifications.sentences import Sentence

AT_ONCE = 500


def due() -> QuerySet[Incident]:
    """Of a disabled route the sender may still tell the end; a disabled rule is not checked any more."""
    is_without_source = Q(route__isnull=True, rule__isnull=True)
    return Incident.objects.open().filter(is_without_source | Q(rule__is_enabled=False))


@transaction.atomic
def end(*, now: datetime) -> int:
    """Returns how many were ended. Nobody is told: whoever deletes or disables a rule knows, and nothing recovered."""
    found = list(due().select_for_update(of=("self",)).order_by("pk")[:AT_ONCE])
    disabled = [incident for incident in found if incident.rule_id is not None]
    deleted = [incident for incident in found if incident.rule_id is None]
    _end(disabled, Sentence("The rule was disabled."), now)
    _end(deleted, Sentence("The route or rule was deleted."), now)
    return len(found)


@transaction.atomic
def end_parts(rule: AlertRule, *, now: datetime) -> int:
    """What is open of a rule that is split in another way from now on. Returns how many were ended."""
    # Locked first, in the same order as where incidents are opened.
    AlertRule.objects.select_for_update(of=("self",)).get(pk=rule.pk)
    found = list(Incident.objects.open().filter(rule=rule).select_for_update(of=("self",)).order_by("pk"))
    _end(found, Sentence("The rule watches other parts now."), now)
    return len(found)


def _end(found: Sequence[Incident], why: Sentence, now: datetime) -> None:
    for incident in found:
        incidents.resolve(incident, ends_at=now, source=None, now=now, why=why)
    card_updates.mark_stale(found, now=now)
