"""Pages that preview a form over data: what a browser sends until there is something to show, and the workers' part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.test import Client
from django.utils import timezone

from integrations.datasources import fetch as datasources_fetch
from integrations.models import CardData


def fetch() -> None:
    """What the workers of the queue “data” do."""
    for row in CardData.objects.due(timezone.now()):
        datasources_fetch.carry_out(row_id=row.pk, clock=timezone.now)


def preview(client: Client, path: str, values: Mapping[str, Any]) -> str:
    """What the page shows in the end, as HTML."""
    first = client.post(path, values).json()
    if not first["token"]:
        return str(first["message"])
    fetch()
    last = client.post(path, {**values, "_token": first["token"]}).json()
    assert last["token"] == ""
    return str(last["message"])
