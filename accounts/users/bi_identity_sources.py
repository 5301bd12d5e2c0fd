"""Which field of a person is their identity in the BI; limited administrators must not set it."""

from __future__ import annotations

from django.db import transaction

from integrations.models import BiConnection
from integrations.models.datasources import THE_ONE

# Values of BiConnection.external_id_source.
USERNAME, EMAIL, LOGIN_ID = "username", "email", "bi_login_id"


def is_identity(*sources: str) -> bool:
    """Whether people enter the BI by one of `sources`. Holds the connection until the transaction of the caller ends,
    so that nobody chooses it meanwhile."""
    rows = BiConnection.objects.select_for_update().filter(pk=THE_ONE, is_enabled=True)
    with transaction.atomic():
        return rows.values_list("external_id_source", flat=True).first() in sources
