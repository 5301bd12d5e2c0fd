"""Notes when the certificates of the site addresses end: each is looked at once an hour."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.db.models import Q, QuerySet

from integrations.clients import certificates
from integrations.core import queues
from integrations.models import SiteAddress
from integrations.models.jobs import Moment

# The task that calls check, and how long it may wait in its queue: the next hour brings it again.
TASK = "integrations.check_site_certificate"
TASK_SECONDS = 600
CHECKED_EVERY = timedelta(hours=1)
_SECONDS = 10.0


def due(now: Moment) -> QuerySet[SiteAddress]:
    """Addresses with https that were not looked at for CHECKED_EVERY."""
    is_old = Q(certificate_checked_at__isnull=True) | Q(certificate_checked_at__lte=now - CHECKED_EVERY)
    is_ahead = Q(certificate_checked_at__gt=now + CHECKED_EVERY)  # written under a wrong clock
    return SiteAddress.objects.filter(is_old | is_ahead, url__startswith="https://")


def request_due(*, now: datetime) -> None:
    """Queue the addresses that are due; each once, whoever asks how often."""
    addresses = due(now)
    for pk in addresses.order_by("pk").values_list("pk", flat=True):
        if addresses.filter(pk=pk).update(certificate_checked_at=now):
            queues.queue_by_name_on_commit(TASK, [pk], expires_seconds=TASK_SECONDS)


def check(address_id: int) -> None:
    """Look at the certificate of one address. What was seen before goes where nothing answers any more."""
    address = SiteAddress.objects.filter(pk=address_id).first()
    if address is None:
        return
    parts = urlsplit(address.url)
    found = certificates.ends_at(parts.hostname or "", parts.port or 443, seconds=_SECONDS)
    SiteAddress.objects.filter(pk=address_id, url=address.url).update(certificate_ends_at=found)
