"""A rule tried over days for which its card's source is asked, one after another, by a click."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils.timezone import localdate
from pytest_django import Settings

from integrations.data.table import Column, Kind, Table
from integrations.datasources import earlier_queries, past_previews
from integrations.models import Card, CardData, Corp, DataSource
from notifications.alerts import past
from notifications.alerts.conditions import to_rows
from notifications.alerts.past import Past
from notifications.models import AlertRule
from tests.browser_form import untouched
from tests.notifications import preview_pages
from tests.notifications.alerts.lines import parse
from tests.notifications.alerts.test_admin import row
from tests.notifications.alerts.test_rule_page import client_of
from tests.notifications.api.conftest import make_editor
from tests.notifications.factories import NOW, make_corp, make_superuser

ADD = "/admin/notifications/alertrule/add/"
TRY, PAST = "/admin/notifications/alertrule/try/", "/admin/notifications/alertrule/try/past/"
TODAY = date(2026, 11, 24)


# --- Which cards can be asked, and what is asked ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "value", "moved"),
    [
        ("sql", "sql_parameters", {"day": "2026-11-20", "n": 5}, {"day": "2026-11-10", "n": 5}),
        (
            "sql",
            "sql_parameters",
            {"since": "2026-11-14 00:00", "days": ["2026-11-20"]},
            {"since": "2026-11-04 00:00", "days": ["2026-11-10"]},
        ),
        ("json", "http_path", "sales?from=2026-11-19&to=2026-11-20", "sales?from=2026-11-09&to=2026-11-10"),
        ("json", "http_body", {"where": [{"day": "2026-11-20"}]}, {"where": [{"day": "2026-11-10"}]}),
        (
            "guandata",
            "bi_filters",
            [{"name": "日期", "filterType": "EQ", "filterValue": ["2026-11-20"]}],
            [{"name": "日期", "filterType": "EQ", "filterValue": ["2026-11-10"]}],
        ),
    ],
)
def test_the_dates_of_a_card_are_moved_together(kind: str, name: str, value: Any, moved: Any) -> None:
    card = Card(source=DataSource(kind=kind), **{name: value})

    asked = earlier_queries.as_of(card, date(2026, 11, 10))

    assert earlier_queries.can_be_asked(card)
    assert (getattr(asked, name), getattr(card, name)) == (moved, value)


@pytest.mark.parametrize("value", [{}, {"n": 5}, {"code": "12026-11-201"}, {"day": "2026-13-45"}])
def test_a_card_without_a_date_cannot_be_asked(value: dict[str, Any]) -> None:
    card = Card(source=DataSource(kind="sql"), sql="SELECT '2026-11-20'", sql_parameters=value)

    assert not earlier_queries.can_be_asked(card)
    assert earlier_queries.as_of(card, TODAY).sql_parameters == value


def test_each_day_is_judged_by_its_own_answer_and_compared_with_that_of_the_day_before() -> None:
    def of(sales: int, *, is_cut: bool = False) -> Table:
        return Table((Column("销售额", Kind.NUMBER),), ((sales,),), NOW, is_cut)

    tables = {TODAY - timedelta(days=number): of(sales) for number, sales in ((0, 40), (1, 90), (2, 100))}
    tables[TODAY - timedelta(days=3)] = of(1, is_cut=True)

    def tried(line: str) -> Past:
        return past.tried_on(AlertRule(conditions=to_rows(parse(line))), tables)

    assert tried("sum 销售额 < 95") == Past(3, [TODAY - timedelta(days=1), TODAY])
    assert tried("sum 销售额 fell 20 % day") == Past(2, [TODAY])


def test_a_day_without_rows_has_no_answer_and_the_others_are_judged() -> None:
    tables = {
        TODAY: Table((Column("销售额", Kind.TEXT),), (), NOW),
        TODAY - timedelta(days=1): Table((Column("销售额", Kind.NUMBER),), ((40,),), NOW),
    }
    rule = AlertRule(conditions=to_rows(parse("sum 销售额 < 95")))
    assert past.tried_on(rule, tables) == Past(1, [TODAY - timedelta(days=1)])


# --- On the page ------------------------------------------------------------------------------------------------------


@pytest.fixture
def corp(db: None) -> Corp:
    return make_corp()


@pytest.fixture
def card(corp: Corp, tmp_path: Path, settings: Settings) -> Card:
    """Sales of 100 a day, but of 10 yesterday, in a database that is asked for one day."""
    today = localdate()
    with closing(sqlite3.connect(tmp_path / "facts.db")) as opened:
        opened.execute("CREATE TABLE daily (day TEXT, sales REAL)")
        days = [((today - timedelta(days=number)).isoformat(), 10 if number == 1 else 100) for number in range(40)]
        opened.executemany("INSERT INTO daily VALUES (?, ?)", days)
        opened.commit()
    settings.DATA_SQLITE_FOLDERS = [str(tmp_path)]
    source = DataSource.objects.create(name="数仓", kind="sql", corp=corp, sql_url=f"sqlite:///{tmp_path}/facts.db")
    query, parameters = "SELECT sales FROM daily WHERE day = :day", {"day": today.isoformat()}
    return Card.objects.create(source=source, name="日销售额", sql=query, sql_parameters=parameters)


@pytest.fixture(autouse=True)
def three_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_previews, "DAYS", 3)


@pytest.fixture
def root(db: None) -> Client:
    return client_of(make_superuser())


def typed(client: Client, card: Card, value: str) -> dict[str, Any]:
    values = untouched(client.get(ADD).content.decode(), "alertrule_form")
    return {**values, "card": card.pk, **row(0, "sum", "sales", "lt", value)}


def step(client: Client, card: Card, token: str = "", value: str = "50") -> dict[str, Any]:
    return dict(client.post(PAST, {**typed(client, card, value), "_past": token}).json())


def to_the_end(client: Client, card: Card) -> dict[str, Any]:
    found = step(client, card)
    for _ in range(10):
        if found["is_over"]:
            break
        preview_pages.fetch()
        found = step(client, card, found["token"])
    return found


def asked_days() -> list[date | None]:
    return list(CardData.objects.filter(day__isnull=False).order_by("pk").values_list("day", flat=True))


def test_it_is_asked_by_a_click_alone_one_day_after_another(root: Client, card: Card) -> None:
    first = root.post(TRY, typed(root, card, "50")).json()
    preview_pages.fetch()
    offered = root.post(TRY, {**typed(root, card, "50"), "_token": first["token"]}).json()
    assert "data-ask-past" in offered["past"]
    assert asked_days() == []

    found = step(root, card)
    step(root, card, found["token"])
    assert asked_days() == [localdate()]
    assert '<progress max="3" value="1"' in found["html"]

    last = to_the_end(root, card)

    assert "按 3 天分别查询，其中 3 天有数据：会触发 1 天" in last["html"]
    assert f"{localdate() - timedelta(days=1):%m-%d}" in last["html"]


def test_other_conditions_are_tried_on_what_was_asked(root: Client, card: Card) -> None:
    last = to_the_end(root, card)

    again = step(root, card, last["token"], value="1000")

    assert (again["is_over"], "会触发 3 天" in again["html"]) == (True, True)
    assert len(asked_days()) == 3


def test_of_a_source_that_is_down_no_further_day_is_asked_for(root: Client, card: Card) -> None:
    DataSource.objects.update(is_enabled=False)

    last = to_the_end(root, card)

    assert len(asked_days()) == 1
    assert "errornote" in last["html"]


def test_it_gives_up_after_a_time(root: Client, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_previews, "SECONDS_AT_MOST", -1)
    last = step(root, card)
    assert (last["is_over"], asked_days(), "数据源响应太慢" in last["html"]) == (True, [], True)


def test_a_token_of_somebody_else_begins_anew(root: Client, card: Card) -> None:
    theirs = to_the_end(root, card)
    other = client_of(make_superuser())

    mine = step(other, card, theirs["token"])

    assert (mine["is_over"], len(asked_days())) == (False, 4)


def test_what_cannot_be_asked_says_so_and_asks_nothing(root: Client, card: Card) -> None:
    Card.objects.update(sql="SELECT sales FROM daily", sql_parameters={})
    first = root.post(TRY, typed(root, card, "50")).json()
    preview_pages.fetch()

    html = root.post(TRY, {**typed(root, card, "50"), "_token": first["token"]}).json()["past"]

    assert "无法按过去的日子试算" in html
    assert step(root, card) == {"html": "", "token": "", "is_over": True}
    assert asked_days() == []


def test_cards_of_another_company_are_not_asked(card: Card) -> None:
    stranger = client_of(make_editor(make_corp()))
    assert step(stranger, card)["html"] == ""
    assert asked_days() == []
