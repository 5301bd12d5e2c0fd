"""Saves the BI's connection and its key pair."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from integrations.bi.sso import CannotEnter, private_key
from integrations.clients.guandata import keys
from integrations.core.client_factory import forget_bi_token
from integrations.models import BiConnection, DataSource, SourceKind
from integrations.models.bi import THE_ONE

# What the results of a test depend on.
CONNECTION_FIELDS = frozenset(
    {
        *("base_url", "provider", "domain_id", "external_id_source", "private_key", "token_seconds"),
        *("api_domain", "api_login", "api_password", "app_token", "proxy_url", "ca_bundle"),
    }
)


def ensure() -> BiConnection:
    """The one row, made where it is missing."""
    return BiConnection.objects.get_or_create(pk=THE_ONE)[0]


def save(*, connection: BiConnection, changed_fields: Collection[str]) -> None:
    """Store the changed fields. Another connection makes the last test out of date and drops the API's token."""
    if CONNECTION_FIELDS.isdisjoint(changed_fields):
        connection.save(update_fields=[*changed_fields, "changed_at"])
        return
    before = BiConnection.objects.get(pk=connection.pk)
    connection.connection_version = F("connection_version") + 1  # two savers must not lose a step
    connection.save(update_fields=[*changed_fields, "connection_version", "changed_at"])
    connection.refresh_from_db(fields=["connection_version"])
    for saved in (before, connection):
        transaction.on_commit(partial(forget_bi_token, saved))


def ensure_source(connection: BiConnection) -> DataSource | None:
    """The data source of the BI's cards, made once the BI can be asked for them; None where it cannot, or there is one.

    It belongs to no company, as the connection does.
    """
    can_ask = connection.base_url and connection.api_login and connection.api_password and connection.app_token
    if not can_ask or DataSource.objects.filter(kind=SourceKind.GUANDATA).exists():
        return None
    name = str(_("Guandata BI"))
    taken = set(DataSource.objects.filter(name__startswith=name).values_list("name", flat=True))
    names = (name, *(f"{name} ({number})" for number in range(2, len(taken) + 2)))
    return DataSource.objects.create(name=next(one for one in names if one not in taken), kind=SourceKind.GUANDATA)


def generate_key(*, now: datetime, bits: int = keys.DOCUMENTED_BITS) -> None:
    """Make a new pair. The present one ends at once: the BI lets nobody in until it has the new public key."""
    _store(keys.generate(bits), now=now)


def paste_key(*, text: str, now: datetime) -> None:
    """Keep a pair that was made elsewhere. Raises guandata.keys.KeyRefused."""
    _store(keys.pem_of(keys.load(text)), now=now)


def _store(pem: str, *, now: datetime) -> None:
    connection = ensure()
    connection.private_key, connection.key_saved_at = pem, now
    save(connection=connection, changed_fields={"private_key", "key_saved_at"})


def public_key(connection: BiConnection) -> tuple[str, str] | None:
    """The public half as one line and as PEM, to be pasted into the BI; None where there is no key to be read."""
    try:
        key = private_key(connection)
    except CannotEnter:
        return None
    return keys.public_line(key), keys.public_pem(key)
