"""Own rows on the page of a push: which pairs are proposed, and what can be chosen besides attributes."""

import pytest
from django.test import Client

from accounts.models import User
from integrations.data.table import Column, Kind, Table
from integrations.models import Corp, Department
from integrations.models.datasources import compress_table
from notifications.admin.push.data_choice import propose_own_rows
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, OwnRowsRule, Receipt
from tests.notifications.admin.test_person_panel import stand_in
from tests.notifications.admin.test_push_limits import with_card
from tests.notifications.admin.test_push_page import ADD, LIST, make_card
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.preview_pages import preview_over
from tests.notifications.reports.places import answer, make_data_report, make_region, place, split

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(corp: Corp) -> list[User]:
    """LiLei in department 销售部 and hanmei in department 市场部."""
    people = [make_person(corp, userid) for userid in ("LiLei", "hanmei")]
    for number, name in enumerate(("销售部", "市场部")):
        department = Department.objects.create(corp=corp, wecom_department_id=number + 1, name=name)
        stand_in(corp, ("lilei", "hanmei")[number], department)
    return people


def table(*columns: str, rows: list[tuple[str, ...]]) -> Table:
    return Table(tuple(Column(name, Kind.TEXT) for name in columns), tuple(rows), NOW)


def test_the_pair_is_proposed_whose_values_match_whatever_it_is_called(root: Client, people: list[User]) -> None:
    region = make_region()
    place(people[0], region, "华东")
    place(people[1], region, "华南")
    data = table("日期", "大区", rows=[("2026-11-23", " 华东"), ("2026-11-24", "华南"), ("2026-11-24", "华北")])

    sent = with_card(root, make_card(), is_template="on")
    shown = preview_over(root, f"{LIST}outlook/", sent, content=compress_table(data))
    assert shown["pair"] == ["大区", str(region.pk)]
    # Rows can be matched by account, too.
    row = {"alias": "s", "column": "归属", "attribute": "", "value": "@userid"}
    rules = {f"own_rows_rules-0-{name}": value for name, value in row.items()}
    saved = root.post(ADD, {**sent, "_save": "1", "own_rows_rules-TOTAL_FORMS": "1", **rules})
    assert saved.status_code == 302, saved.context["problems"]
    assert str(OwnRowsRule.objects.get()).endswith(": 归属 = 企业微信账号")


@pytest.mark.parametrize(
    ("values", "key"), [(["LILEI", "hanmei"], "@userid"), (["销售部", "市场部", "客服部"], "@department")]
)
def test_accounts_and_departments_are_proposed_too(people: list[User], values: list[str], key: str) -> None:
    data = table("商品", "归属", rows=[("茶", value) for value in values])

    assert propose_own_rows(data, by=make_superuser()) == ("归属", key)


def test_nothing_is_proposed_where_less_than_half_of_the_values_match(people: list[User]) -> None:
    place(people[0], make_region(), "华东")
    data = table("日期", "大区", rows=[("2026-11-23", "华东"), ("2026-11-24", "华南"), ("2026-11-24", "华北")])

    assert propose_own_rows(data, by=make_superuser()) is None
    assert propose_own_rows(Table((Column("日期", Kind.DATE),), ((NOW.date(),),), NOW), by=make_superuser()) is None


def test_people_whom_one_does_not_see_are_no_reason_to_propose(people: list[User], corp: Corp) -> None:
    region = make_region()
    place(people[0], region, "华东")
    data = table("大区", rows=[("华东",)])

    assert propose_own_rows(data, by=make_manager(corp)) == ("大区", str(region.pk))
    assert propose_own_rows(data, by=make_manager(make_corp())) is None


@pytest.mark.parametrize(
    ("key", "cells"), [("@userid", ["lilei", "HanMei", "wei"]), ("@department", ["销售部", "市场部", "客服部"])]
)
def test_each_gets_the_rows_of_their_account_or_department(people: list[User], key: str, cells: list[str]) -> None:
    report = make_data_report(title="日报", body="{{ sales.value('归属') }}，{{ sales.count }} 行")
    split(report, None, column="归属", value=key)
    answer(report, table("归属", rows=[(cell,) for cell in cells]))
    mailed = make_person(username="wei", email="wei@example.com")
    run = make_run(make_subscription(*people, mailed, report=report, fallback_channel="email"))

    render_run(run_id=run.pk, now=NOW)

    received = Delivery.objects.order_by("pk").values_list("receipts__user", "text")
    assert list(received) == [(one.pk, f"{cell}，1 行") for one, cell in zip(people, cells, strict=False)]
    left_out = Receipt.objects.get(status=Receipt.Status.SKIPPED)
    said = {"@userid": "企业微信账号", "@department": "企业微信部门"}[key]
    assert (left_out.user, left_out.reason_text) == (mailed, f"此人的属性为空：{said}")


@pytest.mark.parametrize(("key", "cell"), [("@userid", "boss"), ("@department", "财务部")])
def test_nobody_sees_rows_by_an_account_in_another_company(corp: Corp, people: list[User], key: str, cell: str) -> None:
    """Administrators of another company choose the names of its accounts and departments."""
    other = make_corp(name="别处")
    people[0].wecom_accounts.create(corp=other, userid="boss", userid_folded="boss", is_primary=False)
    stand_in(other, "boss", Department.objects.create(corp=other, wecom_department_id=9, name="财务部"))
    report = make_data_report(body="{{ sales.count }} 行")
    split(report, None, column="归属", value=key)
    answer(report, table("归属", rows=[(cell,)]))

    render_run(run_id=make_run(make_subscription(people[0], report=report)).pk, now=NOW)

    assert Receipt.objects.get().reason == Receipt.Reason.NO_ROWS
