"""A rule whose data lost a column or a card: it raises nothing, its owner is told once, and its page offers the fix."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from accounts.models import User
from integrations.data.table import Column, Kind, Table
from integrations.models import CardData
from integrations.models.datasources import packed
from notifications.alerts import evaluation
from notifications.alerts.conditions import to_rows
from notifications.delivery.rendering.render import render_run
from notifications.models import AlertCheck, AlertRule, Delivery, Incident, Run
from tests.notifications.alerts.rules import STEP, check, parse, table
from tests.notifications.factories import NOW, make_person

pytestmark = pytest.mark.django_db
RENAMED = Table((Column("城市", Kind.TEXT), Column("金额", Kind.NUMBER)), (("上海", 20),), NOW)


@pytest.fixture
def owner(corp: Any, rule: AlertRule) -> User:
    found = make_person(corp, "owner")
    AlertRule.objects.update(owner=found, no_data_checks=1)
    return found


def lose_card(rule: AlertRule, slot_at: datetime, code: str = "not-found") -> AlertCheck.Outcome | None:
    row = AlertCheck.objects.create(rule=rule, card=rule.card, slot_at=slot_at, requested_at=slot_at)
    state = CardData(card=rule.card, slot_at=slot_at, status="failed", problem_code=code)
    return evaluation.decide(row.pk, state, now=slot_at)


def told() -> list[str]:
    """The texts that the owner gets of what is untold."""
    texts = []
    for run_id in evaluation.request_broken_rule_notices(now=NOW):
        [delivery] = render_run(run_id=run_id, now=NOW)
        texts.append(Delivery.objects.get(pk=delivery).text)
    return texts


def test_a_missing_column_raises_nothing_and_the_owner_is_told_once(rule: AlertRule, owner: User) -> None:
    for number in range(3):
        assert check(rule, NOW + number * STEP, RENAMED) == AlertCheck.Outcome.NO_DATA
        [*texts] = told()
        assert len(texts) == (1 if number == 0 else 0)

    assert not Incident.objects.exists()
    run = Run.objects.get()
    assert (run.trigger, run.requested_by, run.corp) == ("notice", owner, rule.receiver.corp)
    delivery = Delivery.objects.get()
    assert "销售额过低" in delivery.title
    assert "数据中没有列“销售额”" in delivery.text
    rule.refresh_from_db()
    assert (rule.is_broken, rule.owner_notice) == (True, run)


def test_a_card_that_its_source_does_not_know_any_more_is_told_alike(rule: AlertRule, owner: User) -> None:
    lose_card(rule, NOW)
    [text] = told()
    assert "数据源" in text
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"split_column": "城市"},
        {"split_column": "大区"},
        {"conditions": to_rows(parse("any 城市 > 3\nsum 销售额 < 100"))},
        {"conditions": to_rows(parse("sum 金额 < 100 where 品类=酒"))},
    ],
)
def test_a_column_that_is_lost_is_said_before_all_else_and_until_it_is_there_again(
    rule: AlertRule,
    owner: User,
    fields: dict[str, Any],
) -> None:
    """Also where the answer has no rows; and while the source is down meanwhile."""
    AlertRule.objects.update(**fields)
    check(rule, NOW, RENAMED.with_rows([]))
    [text] = told()
    assert "数据中没有列" in text

    lose_card(rule, NOW + STEP, "timeout")
    check(rule, NOW + 2 * STEP, RENAMED)

    assert told() == []
    assert not Incident.objects.exists()
    rule.refresh_from_db()
    assert (rule.is_broken, rule.problem[:6]) == (True, "数据中没有列")

    check(rule, NOW + 3 * STEP, replace(RENAMED, columns=(), rows=()))
    AlertRule.objects.update(split_column="", conditions=to_rows(parse("sum 金额 < 100")))
    check(rule, NOW + 4 * STEP, RENAMED.with_rows([]))
    rule.refresh_from_db()
    assert (rule.is_broken, rule.failure_count) == (False, 1)


def test_a_source_that_is_down_breaks_no_rule(rule: AlertRule, owner: User) -> None:
    lose_card(rule, NOW, "unreachable")
    assert told() == []
    assert Incident.objects.get().kind == "no_data"


def test_an_answer_without_any_column_breaks_no_rule(rule: AlertRule, owner: User) -> None:
    check(rule, NOW, replace(RENAMED, columns=(), rows=()))
    rule.refresh_from_db()
    assert not rule.is_broken


def test_data_that_fits_again_mends_it_and_another_break_is_told_again(
    rule: AlertRule,
    owner: User,
) -> None:
    check(rule, NOW, RENAMED)
    assert len(told()) == 1
    check(rule, NOW + STEP, table(上海=500))
    rule.refresh_from_db()
    assert (rule.is_broken, rule.problem) == (False, "")

    check(rule, NOW + 2 * STEP, RENAMED)

    AlertRule.objects.filter(pk=rule.pk).update(owner_notice=None)
    assert AlertRule.objects.untold().count() == 1


def test_without_an_owner_nobody_is_told(rule: AlertRule) -> None:
    check(rule, NOW, RENAMED)
    assert told() == []


def test_a_column_that_is_missing_of_the_split_breaks_the_rule_too(rule: AlertRule, owner: User) -> None:
    AlertRule.objects.update(split_column="大区")
    check(rule, NOW, table(上海=20))
    assert len(told()) == 1


def test_what_the_data_cannot_answer_is_no_break(rule: AlertRule, owner: User) -> None:
    data = CardData(card=rule.card, slot_at=NOW, status="ready", content=packed(table()))
    row = AlertCheck.objects.create(rule=rule, card=rule.card, slot_at=NOW, requested_at=NOW)
    evaluation.decide(row.pk, data, now=NOW)
    rule.refresh_from_db()
    assert (rule.is_broken, rule.failure_count) == (False, 1)
