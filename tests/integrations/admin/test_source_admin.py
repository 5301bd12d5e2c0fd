"""Data sources and cards in the admin: refusals, secrets that are never shown, and the test of a card."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User
from integrations.admin.datasource_forms import JSON_FIELDS
from integrations.data.table import Column, Kind, Table
from integrations.datasources import fetch
from integrations.models import Card, CardData, Corp, DataSource
from integrations.models.datasources import compress_table
from tests.authority import Authority
from tests.integrations.clients.sources.place import NOW, make_card, make_source
from tests.integrations.conftest import client_of, staff
from tests.integrations.pages import version_on

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"
SECRET = "sim-source-secret"
ALL = tuple(f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("datasource", "card"))
SOURCE = {
    "name": "销售库",
    "kind": "sql",
    "is_enabled": "on",
    "timeout_seconds": 30,
    "row_limit": 100,
    "parallel_limit": 2,
}
CARD = {
    "name": "每日销售", "bi_view": "GRID", "http_method": "GET", "bi_filters": "[]", "bi_parameters": "[]",
    "sql_parameters": "{}", "kinds": "{}", "units": "{}",
}  # fmt: skip


def send(client: Client, page: str, row: Any = None, **values: Any) -> Any:
    """Open the page of `row` and send it with these values; without `row`, the page of a new one."""
    address = reverse(f"admin:integrations_{page}", args=[row.pk] if row else [])
    if row and (version := version_on(client, address)):
        values["page_version"] = version
    return client.post(address, values, headers={"accept-language": "en"})


def test_a_database_is_saved_and_its_password_never_comes_back(root: Client) -> None:
    send(root, "datasource_add", **SOURCE, new_sql_url=f"postgresql://reader:{SECRET}@db.example.com/sales")
    source = DataSource.objects.get()

    pages = [
        root.get(reverse("admin:integrations_datasource_change", args=[source.pk])).text,
        root.get(reverse("admin:integrations_datasource_changelist")).text,
        root.get(reverse("admin:integrations_datasource_history", args=[source.pk])).text,
        str(list(AuditEntry.objects.values())),
    ]

    assert SECRET in source.sql_url
    assert all(SECRET not in page for page in pages)
    assert "postgresql://reader:***@db.example.com/sales" in pages[0]
    send(root, "datasource_change", source, **{**SOURCE, "row_limit": 7})
    source.refresh_from_db()
    assert (source.row_limit, SECRET in source.sql_url) == (7, True)


def test_what_cannot_work_is_refused_with_the_fix(root: Client) -> None:
    for values, sentence in (
        ({}, "Enter the database: its host, name and user, or its whole address."),
        ({"new_sql_url": f"oracle://u:{SECRET}@h/db"}, "not admitted (oracle)"),
        ({"new_sql_url": f"postgresql://u:{SECRET}@h/db?host=/x"}, "The option host is not admitted"),
        ({"kind": "json"}, "Enter the address of the service."),
        ({"kind": "json", "http_url": "ftp://x"}, "Write https://host/path"),
        ({"kind": "json", "http_url": "https://h", "new_http_headers": f"A: b\n{SECRET}"}, "Line 2 is no header"),
    ):
        page = send(root, "datasource_add", **{**SOURCE, **values}).text

        assert sentence in page
        assert not DataSource.objects.exists()


def test_headers_are_written_again_when_the_address_changes(root: Client) -> None:
    source = make_source(kind="json", http_url="https://api.example.com", http_headers=f"X-Key: {SECRET}")
    moved = {**SOURCE, "kind": "json", "http_url": "https://evil.example.com"}

    page = send(root, "datasource_change", source, **moved).text

    assert "Paste it again" in page
    source.refresh_from_db()
    assert source.http_url == "https://api.example.com"
    send(root, "datasource_change", source, **moved, remove_http_headers="on")
    source.refresh_from_db()
    assert (source.http_url, source.http_headers) == ("https://evil.example.com", "")


def test_only_a_superuser_lets_a_source_into_the_internal_network(client: Client, corp: Corp) -> None:
    client.force_login(staff("chief", corp, permissions=ALL), backend=BACKEND)
    values = {
        **SOURCE,
        "kind": "json",
        "corp": corp.pk,
        "http_url": "http://10.0.0.1",
        "allows_private_addresses": "on",
    }

    send(client, "datasource_add", **values)

    source = DataSource.objects.get()
    assert source.allows_private_addresses is False
    DataSource.objects.update(allows_private_addresses=True)
    page = send(client, "datasource_change", source, **{**values, "http_url": "http://10.0.0.2"}).text
    assert "Only a superuser may change the address" in page
    source.refresh_from_db()
    assert source.http_url == "http://10.0.0.1"


@pytest.mark.parametrize(
    ("kind", "name", "written"), [("sql", "sql_parameters", '{"n": %s}'), ("json", "http_body", "%s")]
)
def test_json_that_no_database_keeps_is_refused(root: Client, kind: str, name: str, written: str) -> None:
    source = make_source(kind=kind, sql_url="postgresql://u@h/db", http_url="https://api.example.com")
    card = {**CARD, "sql": "SELECT :n"}
    for typed in ("1e9999", "NaN", "Infinity", r'"\u0000"', r'"\ud800"'):
        page = send(root, "card_add", **{**card, name: written % typed}, source=source.pk)
        assert name in page.context["adminform"].form.errors

    assert not Card.objects.exists()
    every_character = r'"\ud83d\ude00 \\u0000 甲 1e9999"'
    send(root, "card_add", **{**card, name: written % every_character}, source=source.pk)
    assert r"😀 \u0000 甲 1e9999" in str(getattr(Card.objects.get(), name)).replace("\\\\", "\\")


INNER = f"postgresql://reader:{SECRET}@10.0.0.1/sales"


@pytest.mark.parametrize(
    ("typed", "is_saved"),
    [
        ("postgresql://other:new@10.0.0.1/stock?sslmode=require", True),
        ("postgres://other@10.0.0.1/sales", True),
        ("postgresql://reader@10.0.0.2/sales", False),
        ("postgresql://reader@10.0.0.1:6379/sales", False),
        ("mysql://reader@10.0.0.1/sales", False),
    ],
)
def test_the_place_of_a_database_in_the_internal_network_is_the_superusers(
    client: Client, root: Client, corp: Corp, typed: str, is_saved: bool
) -> None:
    chief = client_of(staff("chief", corp, permissions=ALL))
    source = make_source(name="库", kind="sql", corp=corp, sql_url=INNER, allows_private_addresses=True)
    values = {**SOURCE, "corp": corp.pk, "new_sql_url": typed}

    page = send(chief, "datasource_change", source, **values)

    source.refresh_from_db()
    assert (source.sql_url, source.allows_private_addresses) == (typed if is_saved else INNER, True)
    assert ("Only a superuser may change the address" in page.text) is not is_saved
    send(root, "datasource_change", source, **values, allows_private_addresses="on")
    source.refresh_from_db()
    assert source.sql_url == typed


def test_another_authority_of_a_database_wants_its_password_again(root: Client, corp: Corp, tmp_path: Path) -> None:
    chief = client_of(staff("chief", corp, permissions=ALL))
    source = make_source(name="库", kind="sql", corp=corp, sql_url=INNER, allows_private_addresses=True)
    bundle = Authority("authority", tmp_path).file.read_text().strip()
    values = {**SOURCE, "corp": corp.pk, "ca_bundle": bundle, "allows_private_addresses": "on"}
    again = {**values, "new_sql_url": INNER}

    assert "Enter the database again, with its password" in send(root, "datasource_change", source, **values).text
    assert "Only a superuser may change the address" in send(chief, "datasource_change", source, **again).text
    send(root, "datasource_change", source, **again)
    source.refresh_from_db()
    assert source.ca_bundle == bundle


def test_an_account_that_may_do_too_much_is_warned_of_until_another_address_is_entered(root: Client) -> None:
    powers = {"account_powers": "files,superuser", "account_checked_at": NOW}
    source = make_source(name="库", kind="sql", sql_url=INNER, allows_private_addresses=True, **powers)
    pages = (
        reverse("admin:integrations_datasource_change", args=[source.pk]),
        reverse("admin:integrations_datasource_changelist"),
        reverse("admin:index"),
    )

    make_source(name="outer one", kind="sql", sql_url="postgresql://reader@db.example.com/sales")
    inner = root.get(pages[1], {"allows_private_addresses__exact": "1"}).text
    assert ("库" in inner, "outer one" in inner) == (True, False)
    for page in pages:
        assert "reads files, superuser" in root.get(page).text
    typed = {"new_sql_url": "postgresql://reader@10.0.0.1/sales", "allows_private_addresses": "on"}
    send(root, "datasource_change", source, **SOURCE, **typed)

    source.refresh_from_db()
    assert (source.account_powers, source.account_checked_at) == ("", None)
    assert "reads files" not in root.get(pages[2]).text


@pytest.mark.parametrize(("is_superuser", "said"), [(True, "could not be reached"), (False, "gave no answer")])
def test_only_superusers_are_told_what_answers_in_the_network(corp: Corp, is_superuser: bool, said: str) -> None:
    person = staff("chief", corp, permissions=ALL)
    User.objects.filter(pk=person.pk).update(is_superuser=is_superuser)
    browser = client_of(User.objects.get(pk=person.pk))
    card = make_card(make_source(name="库", kind="sql", corp=corp, sql_url=INNER))
    failed = {"problem_code": "unreachable", "problem_facts": {"reason": "connection"}, "status": "failed"}
    CardData.objects.create(card=card, slot_at=NOW, requested_at=NOW, next_try_at=NOW, finished_at=NOW, **failed)

    page = browser.get(reverse("admin:integrations_card_state", args=[card.pk])).json()["html"]

    assert said in page


def test_whoever_manages_one_company_makes_no_source_for_all(client: Client, corp: Corp, other_corp: Corp) -> None:
    client.force_login(staff("chief", corp, permissions=ALL), backend=BACKEND)
    make_source(name="hidden one", corp=other_corp)
    make_source(name="of nobody")

    for chosen in ("", other_corp.pk):
        send(
            client,
            "datasource_add",
            **{**SOURCE, "kind": "json", "http_url": "https://data.example.com", "corp": chosen},
        )
    page = client.get(reverse("admin:integrations_datasource_changelist")).text
    choices = client.get(reverse("admin:integrations_card_add")).text
    choices += client.get(reverse("admin:integrations_card_add"), {"source": make_source(name="m", corp=corp).pk}).text

    assert DataSource.objects.count() == 3
    for hidden in ("hidden one", "of nobody"):
        assert hidden not in page
        assert hidden not in choices


@pytest.mark.parametrize("kind", ["sql", "json", "guandata"])
def test_a_card_that_cannot_work_is_refused(root: Client, kind: str) -> None:
    source = make_source(kind=kind)
    refused: dict[str, list[tuple[dict[str, str], str]]] = {
        "sql": [
            ({"sql": "DELETE FROM facts"}, "Only one query that reads"),
            ({"sql": "SELECT 1 WHERE a = :city"}, "Values are missing for: city."),
            ({"sql": "SELECT 1", "sql_parameters": '{"a": {"b": 1}}'}, "A value is a text, a number"),
        ],
        "json": [
            ({"expression": "rows["}, "not understood from character 6"),
            ({"http_path": "../admin"}, "without a host, .. and #"),
        ],
        "guandata": [
            ({}, "Enter the card in the BI."),
            ({"bi_card_id": "c1", "bi_filters": '[{"x": 1}]'}, "Each filter has name"),
            ({"bi_card_id": "c1", "kinds": '{"a": "money"}'}, "A kind is text, number"),
            ({"bi_card_id": "c1", "units": "[1]"}, "Write an object"),
        ],
    }
    for values, sentence in refused[kind]:
        assert sentence in send(root, "card_add", **{**CARD, **values}, source=source.pk).text

    assert not Card.objects.exists()


@pytest.mark.parametrize(
    ("url", "sql"),
    [("mysql://u@h/db", r"SELECT 'it\'s; ok' AS said"), ("postgresql://u@h/db", r"SELECT E'it\'s; ok :x' AS said")],
)
def test_a_query_is_read_by_the_rules_of_its_database_also_without_a_key_for_its_address(
    root: Client, settings: Any, url: str, sql: str
) -> None:
    source = make_source(kind="sql", sql_url=url)
    send(root, "card_add", **{**CARD, "sql": sql}, source=source.pk)
    assert Card.objects.get().sql == sql
    settings.FIELD_ENCRYPTION_KEYS = ["cnVzdHkta2V5LW9mLWEtdGVzdC0wMTIzNDU2Nzg5MDE="]

    page = send(root, "card_add", **{**CARD, "sql": "DELETE FROM facts"}, source=source.pk).text

    assert "Only one query that reads" in page


def test_a_test_that_no_worker_takes_says_so_and_one_that_failed_why(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    card = Card.objects.create(name="c", source=make_source(), bi_card_id="c1")
    state = reverse("admin:integrations_card_state", args=[card.pk])
    fetch.request_preview([card], now=NOW)  # a preview on another page is no test
    untested = root.get(state).json()
    assert (untested["is_unfinished"], "Not tested yet." in untested["html"]) == (False, True)
    send(root, "card_test", card)

    first = root.get(state).json()
    CardData.objects.update(requested_at=now - timedelta(seconds=12))
    late = root.get(state).json()
    CardData.objects.update(status="failed", problem_code="not-found", finished_at=NOW)
    page = root.get(reverse("admin:integrations_card_change", args=[card.pk])).text

    assert "The data is being fetched…</p>" in first["html"]
    assert "data-elapsed>0 s<" in first["html"]
    assert "No worker has taken it yet. Check that a worker serves the queue “data”" in late["html"]
    assert "data-elapsed>12 s<" in late["html"]
    assert late["is_unfinished"] is True
    assert "it was deleted or renamed" in page


def test_a_test_fetches_what_is_saved_and_shows_the_newest_rows(root: Client) -> None:
    send(root, "card_add", **{**CARD, "bi_card_id": "c1"}, source=make_source().pk)
    card = Card.objects.get()
    address = reverse("admin:integrations_card_change", args=[card.pk])

    assert send(root, "card_test", card).url == f"{address}#test"
    row = CardData.objects.get()
    state = root.get(reverse("admin:integrations_card_state", args=[card.pk])).json()
    assert (row.status, state["is_unfinished"]) == ("waiting", True)

    columns = (Column("城市", Kind.TEXT), Column("金额", Kind.NUMBER, "元"), Column("日期", Kind.DATE))
    rows = tuple((f"<b>city {number}", number, date(2026, 1, 1 + number)) for number in range(30))
    table = Table(columns, rows, NOW, is_cut=True)
    CardData.objects.update(
        status="ready", content=compress_table(table), row_count=30, took_milliseconds=12, finished_at=NOW
    )
    state = root.get(reverse("admin:integrations_card_state", args=[card.pk])).json()

    assert state["is_unfinished"] is False
    assert "30 rows, fetched at" in state["html"]
    assert "金额 (元)<br><small>number" in state["html"]
    assert re.findall(r"&lt;b&gt;city (\d+)", state["html"]) == [str(number) for number in range(29, 9, -1)]
    assert state["html"].strip() in root.get(address).text


CARD_FIELDS = {
    "guandata": {"bi_card_id", "bi_page_id", "bi_view", "bi_filters", "bi_parameters"},
    "sql": {"sql", "sql_parameters"},
    "json": {"http_method", "http_path", "http_body", "expression"},
}


@pytest.mark.parametrize("kind", CARD_FIELDS)
def test_a_card_s_form_has_the_fields_of_its_source_s_kind_alone(root: Client, kind: str) -> None:
    source, other = make_source(kind=kind), make_source(name="other", kind="json" if kind != "json" else "sql")
    card = Card.objects.create(name="c", source=source, bi_card_id="c1", sql="SELECT 1")

    adding = root.get(reverse("admin:integrations_card_add"), {"source": source.pk}).context["adminform"]
    changing = root.get(reverse("admin:integrations_card_change", args=[card.pk])).context["adminform"]

    for shown in (adding, changing):
        form, folded = shown.form, {name for part in shown if part.is_collapsible for name in part.fields}
        fields = set(form.fields) - {"page_version"}
        assert fields == {"name", "source", "kinds", "units", "as_of_column"} | CARD_FIELDS[kind]
        # JSON is folded away, and an empty list or object is no text.
        assert fields & set(JSON_FIELDS) <= folded
        assert {form[name].value() for name in fields & set(JSON_FIELDS)} == {""}
        assert list(form.fields["source"].queryset) == [source]
    assert str(adding.form.initial["source"]) == str(source.pk)
    send(root, "card_change", card, **CARD, source=other.pk)
    send(root, "datasource_delete", source, post="yes")  # a source with cards cannot be deleted
    card.refresh_from_db()
    assert card.source == source


def test_a_new_card_begins_with_its_source_and_a_new_source_with_its_kind(root: Client) -> None:
    cards, sources = reverse("admin:integrations_card_add"), reverse("admin:integrations_datasource_add")
    nothing = root.get(cards).text
    source = make_source(name="<观远>")

    page = root.get(cards, {"_popup": "1", "source": "x"}).text
    kinds = root.get(sources).text

    assert "There is no data source yet" in nothing
    assert sources in nothing
    assert "&lt;观远&gt;" in page
    assert f"source={source.pk}" in page
    assert "_popup=1" in page
    assert all(f"kind={kind}" in kinds for kind in CARD_FIELDS)
    fields = {kind: set(root.get(sources, {"kind": kind}).context["adminform"].form.fields) for kind in CARD_FIELDS}
    assert ("new_sql_url" in fields["sql"], "http_url" in fields["sql"]) == (True, False)
    assert ("new_sql_url" in fields["json"], "http_url" in fields["json"]) == (False, True)
    assert fields["guandata"].isdisjoint({"new_sql_url", "http_url"})
