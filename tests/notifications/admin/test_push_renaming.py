"""A push whose column or card was renamed or removed in the BI: it says which one, and nothing wrong is sent."""

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from integrations.data.table import Column, Table
from integrations.models import Card, CardData, Corp, DataSource
from integrations.models.datasources import compress_table
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import Delivery, ReportChart, Run, Subscription
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_push_page import LIST, as_browsers_send, change, writer
from tests.notifications.factories import NOW, make_corp, make_manager, make_person, make_run, make_subscription
from tests.notifications.preview_pages import preview_over
from tests.notifications.reports.places import answer, make_card, make_data_report, make_region, split
from tests.notifications.reports.tables import sales

pytestmark = pytest.mark.django_db
PREVIEW, RENAME = f"{LIST}outlook/", f"{LIST}rename/"


@pytest.fixture
def push() -> Subscription:
    """A push that names 销售额 or 区域 in its title, body, figures, own rows and chart."""
    report = make_data_report(
        title="{{ sales.sum('销售额') }}",
        body="{% for row in sales.top(3, '销售额').rows %}{{ row.区域 }} 销售额 {{ row['销售额'] }}{% endfor %}",
        figures="合计: {% if sales.max('销售额') %}{{ sales.avg('销售额') }}{% endif %}",
    )
    split(report, make_region())
    ReportChart.objects.create(report=report, alias="sales", kind="bar", title="销售额", x="区域", y="销售额")
    corp = make_corp()
    return make_subscription(make_person(corp, "lilei"), report=report, owner=make_person(corp, "owner"), name="日报")


def renamed_table(**names: str) -> Table:
    """Return the sales table with some columns renamed."""
    table = sales()
    return replace(table, columns=tuple(Column(names.get(one.name, one.name), one.kind) for one in table.columns))


def page_of(client: Client, subscription: Subscription) -> dict[str, Any]:
    return {**as_browsers_send(client, change(subscription)), "_id": subscription.pk}


def test_the_page_says_which_column_is_gone_and_proposes_the_one_most_like_it(root: Client, push: Subscription) -> None:
    down = {"problem_code": "unreachable", "problem_facts": {"reason": "connection"}}
    for nothing_lost in ({"content": compress_table(sales())}, {"status": CardData.Status.FAILED, **down}):
        assert preview_over(root, PREVIEW, page_of(root, push), **nothing_lost)["missing"].strip() == ""
        CardData.objects.previews().delete()
    state = preview_over(root, PREVIEW, page_of(root, push), content=compress_table(renamed_table(销售额="销售额(元)")))
    assert state["missing"].count("<select") == 1
    assert "“各区域销售”已没有列“销售额”" in state["missing"]
    assert '<option value="销售额(元)" selected>' in state["missing"]


def test_applying_changes_all_that_names_it_and_nothing_else(root: Client, push: Subscription) -> None:
    values = page_of(root, push)
    for nothing in (
        {"_alias": "sales", "_from": "销售额", "_to": ""},
        {"_alias": "sales", "_from": "", "_to": "no key"},
        {"_alias": "other", "_from": "销售额", "_to": "金额"},
        {"_alias": "sales", "_from": "销售额"},
    ):
        assert root.post(RENAME, {**values, **nothing}).json() == {"changes": {}}
    asked = {"_alias": ["sales", "sales"], "_from": ["销售额", "区域"], "_to": ["金额", "大区"]}

    changes = root.post(RENAME, {**values, **asked}).json()["changes"]

    assert changes == {
        "title": "{{ sales.sum('金额') }}",
        "body": "{% for row in sales.top(3, '金额').rows %}{{ row.大区 }} 销售额 {{ row['金额'] }}{% endfor %}",
        "figures": "合计: {% if sales.max('金额') %}{{ sales.avg('金额') }}{% endif %}",
        "charts-0-x": "大区",
        "charts-0-y": "金额",
        "own_rows_rules-0-column": "大区",
    }
    preview_over(root, PREVIEW, values, content=compress_table(renamed_table(销售额="金额", 区域="大区")))
    answered = root.post(change(push), {**values, **changes, "_enable": "1"})
    assert answered.status_code == 302, answered.context["problems"]
    assert push.report.charts.get().y == "金额"
    assert push.report.own_rows_rules.get().column == "大区"


def test_a_card_that_is_gone_is_replaced_by_another_that_the_person_sees(push: Subscription) -> None:
    mine, other = Corp.objects.get(), make_card(name="新卡片")
    DataSource.objects.update(corp=mine)
    type(push.report).objects.update(corp=mine)
    secret = DataSource.objects.create(name="乙的仓库", kind="sql", corp=make_corp(name="乙"))
    Card.objects.create(name="秘密", source=secret, sql="SELECT 1")
    client = client_of(make_manager(mine))
    values = page_of(client, push)
    state = preview_over(client, PREVIEW, values, status=CardData.Status.FAILED, problem_code="not-found")
    assert "数据“各区域销售”已取不到" in state["missing"]
    assert f'<option value="{other.pk}">新卡片</option>' in state["missing"]
    assert "秘密" not in state["missing"]

    changes = client.post(RENAME, {**values, "_alias": "sales", "_from": "", "_to": other.pk}).json()["changes"]

    assert changes == {"report_cards-0-card": str(other.pk)}


def test_who_may_not_write_contents_renames_nothing(push: Subscription) -> None:
    client = writer("view_subscription", "change_subscription", "view_report")
    assert client.post(RENAME, {"_id": push.pk, "title": "{{ sales.sum('a') }}"}).status_code == 403
    assert client.post(RENAME, {}).status_code == 403


@pytest.mark.parametrize("what", ["template", "own rows", "chart"])
def test_nothing_is_sent_the_owner_is_told_and_the_list_shows_it(root: Client, push: Subscription, what: str) -> None:
    report = push.report
    if what != "template":
        type(report).objects.update(title="日报", body="早上好", figures="")
    if what != "own rows":
        report.own_rows_rules.all().delete()
    if what != "chart":
        report.charts.all().delete()
    run = make_run(push, render_after=NOW)
    answer(report, renamed_table(销售额="金额", 区域="大区"))

    assert render_run(run_id=run.pk, now=NOW) == []

    run.refresh_from_db()
    column = "销售额" if what == "template" else "区域"
    assert run.status == Run.Status.FAILED
    assert f"“{column}”" in run.error_text
    assert not Delivery.objects.exists()
    [notice] = request_owner_notices(now=NOW)
    [told] = render_run(run_id=notice, now=NOW)
    assert run.error_text in Delivery.objects.get(pk=told).text
    assert run.error_text in root.get(LIST).content.decode()
