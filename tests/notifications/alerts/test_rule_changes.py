"""Changed rules begin anew, whichever way they were changed; owners are told when a rule's data was changed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from accounts.models import User
from integrations.data.table import Column, Kind, Table
from integrations.models import Card, CardData
from integrations.models.datasources import compress_table
from notifications.alerts import evaluation, notify
from notifications.alerts.conditions import write_conditions
from notifications.delivery.rendering.render import render_run
from notifications.models import AlertCheck, AlertRule, Delivery, Incident, Run
from tests.notifications.admin.conftest import client_of
from tests.notifications.alerts.rules import STEP, check, check_each, parse, row, table, watch
from tests.notifications.alerts.test_rule_page import change, send
from tests.notifications.factories import NOW, make_person, make_superuser

pytestmark = pytest.mark.django_db


def on_its_page(rule: AlertRule) -> None:
    answer = send(client_of(make_superuser()), change(rule), **row(0, "sum", "销售额", "lt", "90"))
    assert answer.status_code == 302, answer.context["problems"]


def past_all_pages(rule: AlertRule) -> None:
    watch(rule, "sum 销售额 < 90")


def at_its_card(rule: AlertRule) -> None:
    Card.objects.update(sql="SELECT 2")


@pytest.mark.parametrize("door", [on_its_page, past_all_pages, at_its_card])
def test_what_was_open_ends_and_what_is_found_then_is_another_incident(
    rule: AlertRule, people: list[User], door: Callable[[AlertRule], None]
) -> None:
    """Holds when a new start would otherwise reopen the incident, too. Nobody is notified of an end."""
    watch(rule, "sum 销售额 < 100", hold_checks=2)
    check_each(rule, table(上海=1), table(上海=1))
    Incident.objects.update(acknowledged_at=NOW, acknowledged_by=people[0])
    assert len(notify.request_notices(now=NOW + STEP)) == 1

    door(rule)

    assert check(rule, NOW + 2 * STEP, table(上海=1)) == AlertCheck.Outcome.FIRING
    former = Incident.objects.get()
    assert (former.status, former.notice_kind) == ("resolved", "")
    assert [one.note_text for one in former.events.all()][-1] == "规则监视的内容已更改。"
    check(rule, NOW + 3 * STEP, table(上海=1))
    new = Incident.objects.exclude(pk=former.pk).get()
    assert (new.status, new.starts_at, new.acknowledged_at) == ("open", NOW + 3 * STEP, None)


def test_a_change_is_not_reckoned_from_what_other_conditions_saw(rule: AlertRule) -> None:
    watch(rule, "change 销售额 <= -50")
    check(rule, NOW, table(上海=100))
    watch(rule, "change 销售额 <= -20")
    outcomes = check_each(rule, table(上海=10), table(上海=5), first=1)
    assert outcomes == [AlertCheck.Outcome.FINE, AlertCheck.Outcome.FIRING]


@pytest.mark.parametrize("fields", [{"name": "别名"}, {"severity": "critical"}, {"hold_checks": 1}])
def test_what_changes_nothing_of_it_lets_it_go_on(rule: AlertRule, fields: dict[str, Any]) -> None:
    check(rule, NOW, table(上海=1))
    AlertRule.objects.update(**fields)
    Card.objects.update(name="另一个名称")
    check(rule, NOW + STEP, table(上海=1))
    assert Incident.objects.open().count() == Incident.objects.count() == 1


@pytest.mark.parametrize(("zone", "outcome"), [("Asia/Shanghai", "firing"), ("Asia/Tokyo", "fine")])
def test_the_day_is_that_of_the_slot_whenever_it_is_decided(rule: AlertRule, zone: str, outcome: str) -> None:
    """Decides the slot of 23:55 in Shanghai after midnight; in Tokyo the slot is on the next day."""
    watch(rule, "sum 销售额 < 100 where 日期=今天", time_zone=zone)
    slot_at = datetime(2026, 11, 24, 15, 55, tzinfo=UTC)
    rows = ((date(2026, 11, 24), 50), (date(2026, 11, 25), 500))
    data = Table((Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)), rows, NOW)
    waiting = AlertCheck.objects.create(rule=rule, card=rule.card, slot_at=slot_at, requested_at=slot_at)
    state = CardData(card=rule.card, slot_at=slot_at, status="ready", content=compress_table(data))

    assert evaluation.decide_check(waiting.pk, state, now=slot_at + timedelta(minutes=6)) == outcome


def test_data_of_a_former_card_decides_nothing(rule: AlertRule) -> None:
    waiting = AlertCheck.objects.create(rule=rule, card=rule.card, slot_at=NOW, requested_at=NOW)
    other = Card.objects.create(name="另一张", source=rule.card.source, sql="SELECT 2")
    AlertRule.objects.update(card=other)

    assert evaluation.decide_check(waiting.pk, None, now=NOW) is None

    assert not AlertCheck.objects.exists()
    assert AlertRule.objects.get().failure_count == 0


def test_in_a_row_does_not_count_over_a_time_in_which_it_was_disabled(rule: AlertRule) -> None:
    AlertRule.objects.update(hold_checks=2)
    check(rule, NOW, table(上海=1))
    AlertRule.objects.update(is_enabled=False)
    evaluation.check_due_rules(now=NOW + STEP)
    AlertRule.objects.update(is_enabled=True)

    check(rule, NOW + timedelta(days=7), table(上海=1))

    assert not Incident.objects.exists()
    check(rule, NOW + timedelta(days=7) + STEP, table(上海=1))
    assert Incident.objects.count() == 1


RENAMED = Table((Column("城市", Kind.TEXT), Column("金额", Kind.NUMBER)), (("上海", 20),), NOW)


@pytest.fixture
def owner(corp: Any, rule: AlertRule) -> User:
    found = make_person(corp, "owner")
    AlertRule.objects.update(owner=found, no_data_checks=1)
    return found


def lose_card(rule: AlertRule, slot_at: datetime, code: str = "not-found") -> AlertCheck.Outcome | None:
    row = AlertCheck.objects.create(rule=rule, card=rule.card, slot_at=slot_at, requested_at=slot_at)
    state = CardData(card=rule.card, slot_at=slot_at, status="failed", problem_code=code)
    return evaluation.decide_check(row.pk, state, now=slot_at)


def render_notices() -> list[str]:
    texts = []
    for run_id in evaluation.request_broken_rule_notices(now=NOW):
        [delivery] = render_run(run_id=run_id, now=NOW)
        texts.append(Delivery.objects.get(pk=delivery).text)
    return texts


def test_a_missing_column_raises_nothing_and_the_owner_is_told_once(rule: AlertRule, owner: User) -> None:
    for number in range(3):
        assert check(rule, NOW + number * STEP, RENAMED) == AlertCheck.Outcome.NO_DATA
        [*texts] = render_notices()
        assert len(texts) == (1 if number == 0 else 0)

    assert not Incident.objects.exists()
    run = Run.objects.get()
    assert (run.trigger, run.requested_by, run.corp) == ("notice", owner, rule.corp)
    delivery = Delivery.objects.get()
    assert "销售额过低" in delivery.title
    assert "数据中没有列“销售额”" in delivery.text
    rule.refresh_from_db()
    assert rule.is_broken


def test_a_card_that_its_source_does_not_know_any_more_is_told_alike_where_there_is_an_owner(
    rule: AlertRule, owner: User
) -> None:
    AlertRule.objects.update(owner=None)
    lose_card(rule, NOW)
    assert render_notices() == []
    AlertRule.objects.update(owner=owner)
    [text] = render_notices()
    assert "数据源" in text
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"split_column": "城市"},
        {"split_column": "大区"},
        {"conditions": write_conditions(parse("any 城市 > 3\nsum 销售额 < 100"))},
        {"conditions": write_conditions(parse("sum 金额 < 100 where 品类=酒"))},
    ],
)
def test_a_column_that_is_lost_is_said_before_all_else_and_until_it_is_there_again(
    rule: AlertRule, owner: User, fields: dict[str, Any]
) -> None:
    """Holds for an answer without rows, and while the source is down in between."""
    AlertRule.objects.update(**fields)
    check(rule, NOW, RENAMED.replace_rows([]))
    [text] = render_notices()
    assert "数据中没有列" in text

    lose_card(rule, NOW + STEP, "timeout")
    check(rule, NOW + 2 * STEP, RENAMED)

    assert render_notices() == []
    assert not Incident.objects.exists()
    rule.refresh_from_db()
    assert (rule.is_broken, rule.problem[:6]) == (True, "数据中没有列")

    check(rule, NOW + 3 * STEP, replace(RENAMED, columns=(), rows=()))
    watch(rule, "sum 金额 < 100", split_column="")
    check(rule, NOW + 4 * STEP, RENAMED.replace_rows([]))
    rule.refresh_from_db()
    assert (rule.is_broken, rule.failure_count) == (False, 1)


def test_a_source_that_is_down_or_an_answer_without_any_column_breaks_no_rule(rule: AlertRule, owner: User) -> None:
    lose_card(rule, NOW, "unreachable")
    check(rule, NOW + STEP, replace(RENAMED, columns=(), rows=()))
    assert render_notices() == []
    assert Incident.objects.get().kind == "no_data"
    rule.refresh_from_db()
    assert not rule.is_broken


def test_data_that_fits_again_mends_it_and_another_break_is_told_again(rule: AlertRule, owner: User) -> None:
    check(rule, NOW, RENAMED)
    assert len(render_notices()) == 1
    check(rule, NOW + STEP, table(上海=500))
    rule.refresh_from_db()
    assert (rule.is_broken, rule.problem) == (False, "")

    check(rule, NOW + 2 * STEP, RENAMED)

    assert AlertRule.objects.unnotified().count() == 1
