"""Queries of cards: each asks the card's source, with its credentials, and returns a Table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from integrations import bi
from integrations.clients.errors import UnreadableSecretError
from integrations.clients.late import LazyModule
from integrations.clients.sources.addresses import (
    AllowedNetwork,
    append_path,
    parse_database_url,
    parse_headers,
)
from integrations.clients.sources.guandata_card import read_card
from integrations.clients.sources.http_json import JsonRequest, read_json
from integrations.core.client_factory import find_certificate_path, guandata_client
from integrations.data import Problem, SourceError
from integrations.data.table import Column, Table
from integrations.data.table_builder import ColumnChoices
from integrations.models import BiConnection, Card, CardData, DataSource, SourceKind
from integrations.models.fields import require_readable
from integrations.models.installation import SINGLETON_PK

if TYPE_CHECKING:
    from integrations.clients.sources import sql
else:
    sql = LazyModule("integrations.clients.sources.sql")


def find_allowed_network(*, allows_private_addresses: bool) -> AllowedNetwork:
    """Return the networks that a source may be in. `allows_private_addresses`: a superuser allowed the internal
    network, which includes this machine only if DATA_ALLOW_LOOPBACK is set."""
    if not allows_private_addresses:
        return AllowedNetwork.PUBLIC
    return AllowedNetwork.THIS_MACHINE if settings.DATA_ALLOW_LOOPBACK else AllowedNetwork.PRIVATE


# How often a database is asked for the rights of its account, and the time limit of that query.
ACCOUNT_CHECKED_EVERY = timedelta(days=1)
ACCOUNT_SECONDS = 5.0


def read_card_data(card: Card, *, rows_at_most: int, now: datetime) -> Table:
    """Return a card's data, within its source's time limit. Raises SourceError."""
    if not card.source.is_enabled:
        raise SourceError(Problem.SOURCE_OFF)
    try:
        return _READERS[SourceKind(card.source.kind)](card, rows_at_most, now)
    except UnreadableSecretError:
        failure = SourceError(Problem.KEY_MISSING)
    raise failure


# Problems that show that the service answered: `try_source` requests only its base address, which may give no data.
_ANSWERED = frozenset({Problem.NOT_FOUND, Problem.NO_TABLE, Problem.NOT_UNDERSTOOD, Problem.EXPRESSION})


def try_source(source: DataSource, *, now: datetime) -> None:
    """Make the smallest query that shows whether a database or web service answers. Raises SourceError."""
    try:
        read_card_data(Card(source=source, sql="SELECT 1 AS answer"), rows_at_most=1, now=now)
    except SourceError as error:
        if not (source.kind == SourceKind.JSON and error.problem in _ANSWERED):
            raise


def _read_guandata(card: Card, rows_at_most: int, now: datetime) -> Table:
    connection = BiConnection.objects.defer("private_key").filter(pk=SINGLETON_PK).first() or bi.load_connection()
    if not connection.base_url or not connection.api_login:
        raise SourceError(Problem.NOT_SET_UP, missing="bi")
    filters = [
        {"name": each["name"], "filterType": each["filterType"], "filterValue": list(each.get("filterValue", ()))}
        for each in card.bi_filters
    ]
    charts = guandata_client(connection).card_data(
        card.bi_card_id,
        view="GRAPH" if card.bi_view == "GRAPH" else "GRID",
        filters=filters,
        parameters=card.bi_parameters,
    )
    seconds, choices = card.source.timeout_seconds, _make_column_choices(card)
    return read_card(charts, rows_at_most=rows_at_most, seconds=seconds, now=now, choices=choices)


def _read_sql(card: Card, rows_at_most: int, now: datetime) -> Table:
    source = card.source
    sql_query = sql.SqlQuery(
        url=parse_database_url(require_readable(source.sql_url), settings.DATA_SQL_DRIVERS),
        statement=card.sql,
        parameters=card.sql_parameters,
        allowed_network=find_allowed_network(allows_private_addresses=source.allows_private_addresses),
        ca_bundle=find_certificate_path(source.ca_bundle) or "",
        choices=_make_column_choices(card),
    )
    table = sql.read_query(sql_query, rows_at_most=rows_at_most, seconds=source.timeout_seconds, now=now)
    if source.account_checked_at is None or now - source.account_checked_at >= ACCOUNT_CHECKED_EVERY:
        # Store the account's rights beyond reading tables, so that people who see the source are warned.
        try:
            privileges = sql.find_privileges(sql_query, seconds=ACCOUNT_SECONDS)
        except SourceError:  # some databases do not report rights, but the data was read
            privileges = frozenset()
        # Nothing is stored if somebody saved the source meanwhile, perhaps with another address.
        rows = DataSource.objects.filter(pk=source.pk, changed_at=source.changed_at)
        rows.update(account_powers=",".join(sorted(privileges)), account_checked_at=now)
    return table


def _read_json(card: Card, rows_at_most: int, now: datetime) -> Table:
    source = card.source
    if not source.http_url:
        raise SourceError(Problem.NOT_SET_UP, missing="address")
    request = JsonRequest(
        url=append_path(source.http_url, card.http_path),
        method="POST" if card.http_method == "POST" else "GET",
        body=card.http_body,
        headers=parse_headers(require_readable(source.http_headers)),
        expression=card.expression,
        allowed_network=find_allowed_network(allows_private_addresses=source.allows_private_addresses),
        ca_bundle=find_certificate_path(source.ca_bundle) or "",
        choices=_make_column_choices(card),
    )
    return read_json(request, rows_at_most=rows_at_most, seconds=source.timeout_seconds, now=now)


def _make_column_choices(card: Card) -> ColumnChoices:
    def load_last_columns() -> tuple[Column, ...]:
        """Return the columns of the card's last answer; none if no answer is stored."""
        ready = CardData.objects.filter(card_id=card.pk, status=CardData.Status.READY)
        row = ready.order_by("-finished_at", "-pk").first()
        return () if row is None else row.table.columns

    return ColumnChoices(
        kinds=card.kinds,
        units=card.units,
        as_of_column=card.as_of_column,
        zone=timezone.get_default_timezone(),
        load_last_columns=load_last_columns,
    )


_READERS = {SourceKind.GUANDATA: _read_guandata, SourceKind.SQL: _read_sql, SourceKind.JSON: _read_json}
