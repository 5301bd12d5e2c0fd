"""Pages that preview a form over data: the requests of a browser, and the work of the workers."""

from collections.abc import Mapping
from typing import Any

from django.test import Client
from django.utils import timezone

from integrations.datasources import fetch as datasources_fetch
from integrations.models import CardData


def fetch() -> None:
    """Fetch what is due, as the workers of the queue `data` do."""
    for row in CardData.objects.due(timezone.now()):
        datasources_fetch.fetch_row(row_id=row.pk, clock=timezone.now)


def preview_over(client: Client, path: str, values: Mapping[str, Any], **data: Any) -> dict[str, Any]:
    """Post the preview, let its data arrive, or fail as `data` says, and return the next answer."""
    token = client.post(path, values).json()["token"]
    times = dict.fromkeys(("finished_at", "notified_at"), timezone.now())
    CardData.objects.previews().update(**{"status": CardData.Status.READY, **times, **data})
    answer: dict[str, Any] = client.post(path, {**values, "_token": token}).json()
    return answer


def preview(client: Client, path: str, values: Mapping[str, Any]) -> str:
    """Post the preview until it is finished and return its HTML."""
    first = client.post(path, values).json()
    if not first["token"]:
        return str(first["message"])
    fetch()
    last = client.post(path, {**values, "_token": first["token"]}).json()
    assert last["token"] == ""
    return str(last["message"])
