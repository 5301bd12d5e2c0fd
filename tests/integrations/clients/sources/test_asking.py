"""Reading the data of a source's card for each kind, and the messages about wrong rows."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import translation

from integrations.data import Problem, SourceError
from integrations.data.table import Column, Kind
from integrations.datasources import fetch, query
from integrations.models import Card, DataSource, datasources
from tests.integrations.clients.sources.databases import Database
from tests.integrations.clients.sources.place import NOW, SLOT, Clock, make_card, make_source, row_of
from tests.integrations.clients.sources.web import says, web_service

pytestmark = pytest.mark.django_db
SECRET = "sim-source-secret"


def problem(card: Card) -> Problem:
    with pytest.raises(SourceError) as found:
        query.read_card_data(card, rows_at_most=10, now=NOW)
    for language in ("en", "zh-hans"):
        with translation.override(language):
            assert SECRET not in datasources.explain_problem(found.value.problem, found.value.facts)
    return found.value.problem


def sql_card(url: str, **values: Any) -> Card:
    source = make_source(name="库", kind="sql", sql_url=url, allows_private_addresses=True)
    return make_card(
        source, **{"sql": "SELECT n FROM facts WHERE n = :wanted", "sql_parameters": {"wanted": 2}, **values}
    )


def test_a_query_is_asked_with_the_cards_parameters_kinds_and_units(postgresql: Database) -> None:
    card = sql_card(postgresql.url, units={"n": "件"}, kinds={"n": "text"})

    table = query.read_card_data(card, rows_at_most=10, now=NOW)

    assert (table.rows, table.columns[0].unit) == ((("2",),), "件")


@pytest.mark.parametrize("url", ["oracle+oracledb://u:p@h/db", "sqlite:////data/facts.db"])
def test_an_address_that_is_not_allowed_any_more_is_refused(url: str) -> None:
    assert problem(sql_card(url)) is Problem.ADDRESS_REFUSED


def test_a_service_is_asked_with_its_headers_and_the_cards_path_and_body() -> None:
    with web_service(says(json.dumps({"rows": [{"n": 1}]}).encode())) as service:
        source = make_source(
            name="服务", kind="json", http_url=f"{service.url}/v1", http_headers=f"X-Key: {SECRET}",
            allows_private_addresses=True,
        )  # fmt: skip
        card = make_card(source, http_method="POST", http_path="orders?x=中", http_body={"城": 1}, expression="rows")
        table = query.read_card_data(card, rows_at_most=9, now=NOW)

    assert table.rows == ((1,),)
    assert service.requests[0].startswith(b"POST /v1/orders?x=%E4%B8%AD HTTP/1.1\r\n")
    assert f"X-Key: {SECRET}".encode() in service.requests[0]


def test_an_empty_list_has_the_columns_of_the_last_answer() -> None:
    with web_service(says(b'[{"day": "2026-11-23", "n": 1}]')) as service:
        source = make_source(name="服务", kind="json", http_url=service.url, allows_private_addresses=True)
        card = make_card(source, units={"n": "件"})
        for hours in (0, 1):
            fetch.request_data([card.pk], slot_at=SLOT + timedelta(hours=hours), now=NOW)
            row = card.answers.get(slot_at=SLOT + timedelta(hours=hours))
            fetch.fetch_row(row_id=row.pk, clock=lambda: NOW)
            service.answer = says(b"[]")
    row.refresh_from_db()

    assert row.table.rows == ()
    assert row.table.columns == (Column("day", Kind.DATE), Column("n", Kind.NUMBER, "件"))


@pytest.mark.parametrize(
    ("is_ticked", "is_set", "found"),
    [
        (False, True, Problem.LOOPBACK_FORBIDDEN),
        (True, False, Problem.LOOPBACK_FORBIDDEN),
        (True, True, Problem.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("kind", ["postgresql", "mysql", "http"])
def test_this_machine_is_asked_with_the_tick_and_the_setting_alone(
    kind: str, is_ticked: bool, is_set: bool, found: Problem, settings: LazySettings
) -> None:
    settings.DATA_ALLOW_LOOPBACK = is_set
    url = f"{kind}://127.0.0.1:1/db"
    columns = {"kind": "json", "http_url": url} if kind == "http" else {"kind": "sql", "sql_url": url}
    source = make_source(name="本机", allows_private_addresses=is_ticked, **columns)

    assert problem(make_card(source, sql="SELECT 1")) is found


def test_what_the_account_may_do_is_asked_once_a_day(mariadb: Database) -> None:
    url = mariadb.of_account("filer").url
    source = make_source(name="库", kind="sql", sql_url=url, allows_private_addresses=True)
    card = make_card(source, sql="SELECT n FROM facts WHERE n = 3")

    def powers(now: datetime, **meanwhile: Any) -> str:
        DataSource.objects.update(**meanwhile)
        card.source.refresh_from_db()
        assert query.read_card_data(card, rows_at_most=10, now=now).rows == ((3,),)
        return DataSource.objects.get().account_powers

    assert powers(NOW, account_powers="") == "files"
    assert powers(NOW + timedelta(hours=23), account_powers="superuser") == "superuser"
    assert powers(NOW + timedelta(hours=24)) == "files"
    assert DataSource.objects.get().account_checked_at == NOW + timedelta(hours=24)


def test_rights_are_not_stored_for_a_source_that_was_saved_meanwhile(mariadb: Database) -> None:
    url = mariadb.of_account("filer").url
    source = make_source(name="库", kind="sql", sql_url=url, allows_private_addresses=True)
    DataSource.objects.get().save()  # perhaps with the address of another account

    query.read_card_data(make_card(source, sql="SELECT n FROM facts"), rows_at_most=10, now=NOW)

    saved = DataSource.objects.get()
    assert (saved.account_powers, saved.account_checked_at) == ("", None)


def test_what_is_not_set_up_is_said() -> None:
    assert problem(make_card(make_source(name="空", kind="json"))) is Problem.NOT_SET_UP
    assert problem(make_card(make_source(name="空 BI"), name="b")) is Problem.NOT_SET_UP
    assert problem(sql_card("")) is Problem.ADDRESS_REFUSED


def test_a_lost_key_is_said(settings: LazySettings) -> None:
    card = sql_card(f"postgresql://u:{SECRET}@127.0.0.1:1/db")
    settings.FIELD_ENCRYPTION_KEYS = ["b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXktMTI="]
    row = Card.objects.get(pk=card.pk)
    fetch.request_data([row.pk], slot_at=SLOT, now=NOW)
    fetch.fetch_row(row_id=row_of(row).pk, clock=Clock())

    found = row_of(row)
    assert (found.status, found.problem_code) == ("failed", Problem.KEY_MISSING)
    assert DataSource.objects.count() == 1


@pytest.mark.parametrize("code", [*Problem, "of-another-version"])
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_every_problem_has_a_sentence_even_without_its_facts(code: str, language: str) -> None:
    with translation.override(language):
        assert "%" not in datasources.explain_problem(code, {})


def test_a_cards_column_says_of_when_the_data_of_a_database_is(postgresql: Database) -> None:
    sql = "SELECT '2026-11-23 18:00:00' AS 时间, 7 AS n"

    table = query.read_card_data(
        sql_card(postgresql.url, sql=sql, sql_parameters={}, as_of_column="时间"), rows_at_most=10, now=NOW
    )

    assert table.as_of.isoformat() == "2026-11-23T18:00:00+08:00"
