"""What the pages of a run, a delivery and a receipt share."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from integrations.clients.explanations import Explanation
from notifications.delivery.sending import circuit_breaker
from notifications.models import Delivery


def held_up(request: HttpRequest, deliveries: QuerySet[Delivery]) -> list[str]:
    """Of the companies for which some of these deliveries wait."""
    waiting = deliveries.filter(pk__in=Delivery.objects.unsettled()).order_by().values_list("corp", flat=True)
    return circuit_breaker.held_up(set(waiting.distinct()), seen_by=request.user, now=timezone.now())


def failures_shown(failure: Explanation | None) -> list[tuple[Explanation, int]]:
    """As of_run gives them. 0: about one person, or none."""
    return [] if failure is None else [(failure, 0)]


def receipts_url(**lookups: int) -> str:
    """The list of receipts under these filters."""
    query = "&".join(f"{name}={value}" for name, value in lookups.items())
    return f"{reverse('admin:notifications_receipt_changelist')}?{query}"
