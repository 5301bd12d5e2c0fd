"""The page of a rule whose data has a renamed column or lost its card: it asks for today's name."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from integrations.data.table import Column, Kind, Table
from integrations.models import Card
from integrations.models.datasources import compress_table
from notifications.models import AlertRule
from tests.notifications.alerts.rules import make_rule
from tests.notifications.alerts.test_rule_page import LIST, change, read_form
from tests.notifications.factories import NOW
from tests.notifications.preview_pages import preview_over

pytestmark = pytest.mark.django_db
PREVIEW, RENAME = f"{LIST}try/", f"{LIST}rename/"
RENAMED = Table((Column("大区", Kind.TEXT), Column("销售额(元)", Kind.NUMBER)), (("华东", 20),), NOW)


@pytest.fixture
def rule(card: Card, people: list[User]) -> AlertRule:
    return make_rule(card, people, "sum 销售额 < 100 where 区域=华东", split_column="区域", name="销售额过低")


def state_over(client: Client, rule: AlertRule, **data: Any) -> dict[str, Any]:
    return preview_over(client, PREVIEW, read_form(client, rule, _id=rule.pk), **data)


def test_the_page_asks_for_each_missing_column_and_proposes_the_one_most_like_it(root: Client, rule: AlertRule) -> None:
    state = state_over(root, rule, content=compress_table(RENAMED))
    assert state["missing"].count("<select") == 2
    assert "“各城市销售额”已没有列“区域”" in state["missing"]
    assert '<option value="销售额(元)" selected>' in state["missing"]
    assert "这条规则不会触发预警" in state["missing"]
    # The message is shown once, and none about a missing column of days.
    assert state["message"].strip() == ""


def test_applying_changes_conditions_filters_and_the_split_and_mends_the_rule(root: Client, rule: AlertRule) -> None:
    AlertRule.objects.update(
        is_broken=True, watched="the former columns", problem="数据中没有列“销售额”。", owner_notified_at=NOW
    )
    values = read_form(root, rule, _id=rule.pk)
    asked = {"_alias": ["", ""], "_from": ["销售额", "区域"], "_to": ["销售额(元)", "大区"]}

    changes = root.post(RENAME, {**values, **asked}).json()["changes"]

    assert changes == {"conditions-0-column": "销售额(元)", "conditions-0-filters": "大区=华东", "split_column": "大区"}
    answer = root.post(change(rule), {**values, **changes, "_enable": "1"})
    assert answer.status_code == 302, answer.context["problems"]
    rule.refresh_from_db()
    assert (rule.is_broken, rule.problem, rule.split_column) == (False, "", "大区")
    assert rule.conditions[0]["filters"] == {"大区": ["华东"]}
    assert state_over(root, rule, content=compress_table(RENAMED))["missing"].strip() == ""


def test_a_card_that_is_gone_is_replaced_by_another(root: Client, rule: AlertRule, card: Card) -> None:
    other = Card.objects.create(name="新卡片", source=card.source, sql="SELECT 1")
    down = state_over(root, rule, status="failed", problem_code="unreachable")
    empty = state_over(root, rule, content=compress_table(Table((), (), NOW)))
    assert (down["missing"].strip(), empty["missing"].strip()) == ("", "")
    state = state_over(root, rule, status="failed", problem_code="not-found")
    assert f'<option value="{other.pk}">新卡片</option>' in state["missing"]

    asked = read_form(root, rule, _id=rule.pk, _alias="", _from="", _to=other.pk)
    assert root.post(RENAME, asked).json()["changes"] == {"card": str(other.pk)}


def test_the_list_shows_a_broken_rule_with_its_reason_and_finds_it(root: Client, rule: AlertRule) -> None:
    AlertRule.objects.update(is_broken=True, watched="the former columns", problem="数据中没有列“销售额”。")
    text = root.get(LIST, {"state": "broken"}).content.decode()
    assert "已失效" in text
    assert "数据中没有列“销售额”。" in text
    assert list(root.get(LIST, {"state": "no_data"}).context["cl"].result_list) == []
