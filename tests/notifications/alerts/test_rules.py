"""Alert rules: checked when due or on request, decided once, quiet where there is no answer."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Attribute, AuditEntry, User
from accounts.users.attributes import set_values
from integrations.data.table import Table
from integrations.datasources import fetch
from integrations.models import Card, CardData, Corp
from integrations.models.datasources import compress_table
from notifications import tasks
from notifications.alerts import actions, evaluation, incidents, notify, verdicts
from notifications.alerts.actions import Action
from notifications.alerts.notices import find_audience
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import AlertCard, AlertCheck, AlertRule, Incident, Run
from notifications.subscriptions.recipients import resolve_audience
from tests.bi import make_bi
from tests.notifications.alerts.rules import COLUMNS, STEP, check, check_each, make_rule, table, watch
from tests.notifications.api.conftest import make_editor, make_token
from tests.notifications.factories import NOW, make_corp, make_person

pytestmark = pytest.mark.django_db


class TestChecks:
    def test_fire_tell_and_end(self, rule: AlertRule) -> None:
        assert check(rule, NOW, table(上海=20, 北京=30)) == AlertCheck.Outcome.FIRING
        incident = Incident.objects.get()
        assert (incident.title, incident.summary) == ("销售额过低", "销售额 合计 小于 100：当前 50")
        [run_id] = notify.request_notices(now=NOW)
        assert len(render_run(run_id=run_id, now=NOW)) == 1

        assert check(rule, NOW + STEP, table(上海=200)) == AlertCheck.Outcome.FINE

        assert Incident.objects.get().ends_at == NOW + STEP
        assert AlertCard.objects.get().is_stale

    def test_say_what_they_found_last(self, rule: AlertRule) -> None:
        AlertRule.objects.update(severity="warning")
        check_each(rule, table(上海=50), table(上海=3), table(上海=-900))
        AlertRule.objects.update(severity="critical", name="销售额")
        assert Incident.objects.get().summary == "销售额 合计 小于 100：当前 -900"

        check_each(rule, table(上海=200), first=3)

        incident = Incident.objects.get()
        assert (incident.status, incident.summary) == ("resolved", "销售额 合计 小于 100：当前 200")
        assert (incident.title, incident.severity) == ("销售额", "critical")

    def test_are_forgotten_after_a_month(self, rule: AlertRule) -> None:
        for days in (0, 2):
            check(rule, NOW + timedelta(days=days), table(上海=1))

        tasks._purge(NOW + evaluation.CHECKS_KEPT)
        assert AlertCheck.objects.count() == 2
        tasks._purge(NOW + evaluation.CHECKS_KEPT + timedelta(days=1))
        assert AlertCheck.objects.get().slot_at == NOW + timedelta(days=2)

    def test_write_nothing_into_the_audit_trail(self, rule: AlertRule) -> None:
        """Values that come and go, missing data and a missing column change the rule, but no person did."""
        watch(rule, "any 销售额 < 100", split_column="城市", absent_checks=2)
        before_count, without_sales = AuditEntry.objects.count(), Table(COLUMNS[:1], (("上海",),), NOW)

        check_each(rule, table(上海=1, 北京=1), table(北京=1), None, without_sales, table(上海=1))

        assert list(AuditEntry.objects.order_by("pk").values_list("changes", flat=True))[before_count:] == []

    def test_hold_for_several_in_a_row(self, rule: AlertRule) -> None:
        AlertRule.objects.update(hold_checks=3)
        check_each(rule, *(table(上海=value) for value in (1, 1, 500, 1, 1)))
        assert not Incident.objects.exists()

        check_each(rule, table(上海=1), first=5)

        assert Incident.objects.get().starts_at == NOW + 5 * STEP

    def test_what_somebody_closed_stays_closed_until_it_was_fine(self, rule: AlertRule, people: list[User]) -> None:
        """Holds for a lack of data, too."""
        check(rule, NOW, table(上海=1))
        actions.act_on_incidents(Action.CLOSE, [Incident.objects.get().pk], person=people[0], now=NOW)
        check_each(rule, *[table(上海=1)] * 3, first=1)
        assert not Incident.objects.open().exists()
        check_each(rule, table(上海=500), table(上海=1), first=4)
        assert Incident.objects.open().count() == 1

        check_each(rule, None, None, None, first=6)
        missing = Incident.objects.open().get(kind="no_data")
        actions.act_on_incidents(Action.CLOSE, [missing.pk], person=people[0], now=NOW + 8 * STEP)
        check_each(rule, None, first=9)
        assert not Incident.objects.open().filter(kind="no_data").exists()

    def test_are_decided_once_and_a_late_one_changes_nothing(self, rule: AlertRule) -> None:
        check(rule, NOW + STEP, table(上海=1))

        assert evaluation.decide_check(AlertCheck.objects.get().pk, None, now=NOW) is None
        assert check(rule, NOW, table(上海=500)) == AlertCheck.Outcome.LATE
        assert Incident.objects.open().count() == Incident.objects.count() == 1

    def test_are_claimed_when_due_ask_for_data_once_and_follow_it(self, rule: AlertRule, card: Card) -> None:
        other = make_rule(card, rule.users.all(), corp=rule.corp, name="另一条")

        assert [evaluation.check_due_rules(now=NOW) for _twice in range(2)] == [(2, 0), (0, 0)]

        assert CardData.objects.get().slot_at == NOW
        other.refresh_from_db()
        assert other.next_run_at is not None
        assert other.next_run_at > NOW
        CardData.objects.update(status="ready", content=compress_table(table(上海=1)), finished_at=NOW)
        evaluation.decide_checks_of_card(card.pk, NOW)
        assert list(AlertCheck.objects.values_list("outcome", flat=True)) == [AlertCheck.Outcome.FIRING] * 2


class TestOddData:
    """Data that breaks one rule does not delay the others."""

    @pytest.mark.parametrize(
        ("limit", "value", "words"),
        [
            (5, Decimal("1e25"), "10" + ",000" * 8),
            (5, 1e30, "1" + "0" * 30),
            (5, -1e-9, "0"),
            (100, Decimal("99.999"), "99.999"),
            (100, Decimal("1234.565"), "1,234.57"),
        ],
    )
    def test_a_number_is_written_as_in_pushes_unless_it_would_look_equal(
        self, rule: AlertRule, limit: int, value: Any, words: str
    ) -> None:
        watch(rule, f"sum 销售额 != {limit}")
        assert check(rule, NOW, table(上海=value)) == AlertCheck.Outcome.FIRING
        assert Incident.objects.get().summary == f"销售额 合计 不等于 {limit}：当前 {words}"

    @pytest.mark.parametrize("value", [1e300, 10**400])
    def test_numbers_beyond_all_measure_are_no_data(self, rule: AlertRule, value: Any) -> None:
        watch(rule, "sum 销售额 > 1")
        assert check(rule, NOW, table(上海=value, 北京=value)) == AlertCheck.Outcome.NO_DATA
        rule.refresh_from_db()
        assert rule.problem == "列“销售额”有过大的数，无法比较。"

    def test_content_or_memory_that_cannot_be_read_holds_up_no_other_rule(self, rule: AlertRule, card: Card) -> None:
        AlertRule.objects.update(memory={"": "torn"})
        make_rule(card, rule.users.all(), corp=rule.corp, name="同一张")
        torn = Card.objects.create(name="另一张", source=card.source, sql="SELECT 2")
        make_rule(torn, rule.users.all(), corp=rule.corp, name="另一条")
        evaluation.check_due_rules(now=NOW)
        AlertRule.objects.update(next_run_at=None)
        for one, content in ((torn, b"torn"), (card, compress_table(table(上海=1)))):
            CardData.objects.filter(card=one).update(status="ready", content=content, finished_at=NOW)

        evaluation.decide_checks_of_card(card.pk, NOW)

        outcomes = AlertCheck.objects.values_list("rule__name", "outcome")
        assert dict(outcomes) == {"销售额过低": "waiting", "同一张": "firing", "另一条": "waiting"}
        assert evaluation.check_due_rules(now=NOW + timedelta(minutes=1)) == (0, 0)
        assert evaluation.check_due_rules(now=NOW + timedelta(minutes=16)) == (0, 2)
        assert dict(outcomes.all()) == {"销售额过低": "no_data", "同一张": "firing", "另一条": "no_data"}


class TestNoData:
    def test_is_not_told_before_its_time_and_ends_with_data(self, rule: AlertRule) -> None:
        check_each(rule, None, None)
        assert not Incident.objects.exists()

        check_each(rule, None, table(上海=500), first=2)

        assert Incident.objects.get().status == "resolved"

    @pytest.mark.parametrize("gap", [None, table(), table(上海=None)])
    def test_breaks_a_row_of_checks_that_hold(self, rule: AlertRule, gap: Table | None) -> None:
        AlertRule.objects.update(hold_checks=2)
        check_each(rule, table(上海=1), gap, table(上海=1))
        assert not Incident.objects.exists()
        check_each(rule, table(上海=1), first=3)
        assert Incident.objects.count() == 1

    @pytest.mark.parametrize("answer", [table(), table(上海=None, 北京=None)])
    def test_is_what_has_nothing_to_compare(self, rule: AlertRule, answer: Table) -> None:
        outcomes = check_each(rule, table(上海=1), answer, answer, answer)

        assert outcomes[1:] == [AlertCheck.Outcome.NO_DATA] * 3
        assert list(Incident.objects.open().order_by("pk").values_list("kind", "title", "summary")) == [
            ("firing", "销售额过低", "销售额 合计 小于 100：当前 1"),
            ("no_data", "无数据：销售额过低", "数据中没有可供条件比较的内容。"),
        ]
        assert len(notify.request_notices(now=NOW + 4 * STEP)) == 2

    def test_is_what_was_cut_unless_a_row_is_enough(self, rule: AlertRule) -> None:
        cut = replace(table(上海=1), is_cut=True)
        assert check(rule, NOW, cut) == AlertCheck.Outcome.NO_DATA
        rule.refresh_from_db()
        assert rule.problem == "数据在数据源的行数上限处被截断：未读取的部分可能改变结论。"

        watch(rule, "any 销售额 < 100")
        assert check(rule, NOW + STEP, cut) == AlertCheck.Outcome.FIRING

    def test_of_one_part_leaves_that_part_as_it_is(self, rule: AlertRule) -> None:
        AlertRule.objects.update(split_column="城市")
        outcomes = check_each(rule, table(上海=1, 北京=1), table(上海=None, 北京=500))
        assert outcomes[1] == AlertCheck.Outcome.FINE
        assert dict(Incident.objects.values_list("part", "status")) == {"上海": "open", "北京": "resolved"}

    def test_between_two_checks_does_not_hide_a_change(self, rule: AlertRule) -> None:
        watch(rule, "change 销售额 <= -50", split_column="城市", hold_checks=1)
        check_each(rule, table(上海=100), table(), None, table(上海=None), table(上海=10))

        incident = Incident.objects.get(kind="firing")
        assert (incident.starts_at, incident.summary) == (NOW + 4 * STEP, "销售额 变化 % 小于等于 -50：当前 -90")


def test_an_alert_that_reaches_nobody_is_told_to_the_owner_of_its_rule(
    rule: AlertRule, people: list[User], corp: Corp
) -> None:
    owner = make_person(corp, "owner", is_staff=True)
    AlertRule.objects.update(owner=owner)
    for person in people:
        person.wecom_accounts.update(userid="", userid_folded="")
    check(rule, NOW, table(上海=1))
    [run_id] = notify.request_notices(now=NOW)
    render_run(run_id=run_id, now=NOW)

    [notice_id] = request_owner_notices(now=NOW)

    assert Run.objects.get(pk=notice_id).requested_by == owner
    assert len(render_run(run_id=notice_id, now=NOW)) == 1


def find_told() -> dict[str, list[int]]:
    found = {one.part: resolve_audience(find_audience(one)) for one in Incident.objects.all()}
    return {part: sorted(person.user_id for person in people) for part, people in found.items()}


class TestSplit:
    @pytest.fixture
    def city(self, people: list[User]) -> Attribute:
        city = Attribute.objects.create(key="city", name="城市", is_many_valued=True)
        set_values(attribute=city, values={people[0].pk: ["上海"], people[1].pk: ["北京"]})
        return city

    def test_each_value_has_its_own_incident(self, rule: AlertRule) -> None:
        AlertRule.objects.update(split_column="城市")
        check(rule, NOW, table(上海=1, 北京=500, 广州=2))
        assert sorted(Incident.objects.values_list("part", flat=True)) == ["上海", "广州"]
        assert len(notify.request_notices(now=NOW)) == 1

        check(rule, NOW + STEP, table(上海=500, 北京=1))

        status = dict(Incident.objects.values_list("part", "status"))
        # 广州 is missing from the data, so its state is unknown.
        assert status == {"上海": "resolved", "北京": "open", "广州": "open"}

    def test_a_value_that_is_gone_is_over_after_so_many_checks_in_a_row(self, rule: AlertRule) -> None:
        """Cards may list only what is wrong. Checks without data or with cut data are not counted."""
        watch(rule, "any 销售额 < 100", split_column="城市", absent_checks=2)
        both, gone = table(上海=1, 北京=1), table(北京=1)
        check_each(rule, both, gone, both, gone, None, replace(gone, is_cut=True))
        assert Incident.objects.open().count() == 2

        check_each(rule, gone, first=6)
        assert dict(Incident.objects.values_list("part", "status")) == {"上海": "resolved", "北京": "open"}
        assert Incident.objects.get(part="上海").ends_at == NOW + 6 * STEP

        check_each(rule, table(), table(), first=7)
        assert not Incident.objects.open().exists()

    @pytest.mark.parametrize("line", ["sum 销售额 < 100", "any 销售额 < 100", "count < 3"])
    def test_an_answer_without_any_value_is_no_data(self, rule: AlertRule, line: str) -> None:
        watch(rule, line, split_column="城市", no_data_checks=2)
        outcomes = check_each(rule, table(上海=1), table(), table())
        assert outcomes[1:] == [AlertCheck.Outcome.NO_DATA] * 2
        assert dict(Incident.objects.values_list("kind", "status")) == {"firing": "open", "no_data": "open"}

    def test_values_that_are_written_in_another_way_are_the_same(self, rule: AlertRule) -> None:
        AlertRule.objects.update(split_column="城市")
        check(rule, NOW, table(ABC=1, 上海=1))
        assert check(rule, NOW + STEP, Table(COLUMNS, (("abc ", 1), ("上海　", 1)), NOW)) == "firing"
        assert sorted(Incident.objects.values_list("part", flat=True)) == ["ABC", "上海"]

        check(rule, NOW + 2 * STEP, Table(COLUMNS, (("ＡＢＣ", 300), (" Abc", -10), ("上海", 500)), NOW))

        assert set(Incident.objects.values_list("status", flat=True)) == {"resolved"}

    @pytest.mark.parametrize(("count", "outcome", "opened"), [(10, "firing", 10), (11, "no_data", 0)])
    def test_a_column_of_too_many_values_is_no_split(
        self, rule: AlertRule, count: int, outcome: str, opened: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verdicts, "PARTS_AT_MOST", 10)
        AlertRule.objects.update(split_column="城市")
        assert check(rule, NOW, Table(COLUMNS, tuple((f"城市{n}", 1) for n in range(count)), NOW)) == outcome
        assert Incident.objects.count() == opened

    def test_people_are_told_of_their_own_values_only(
        self, rule: AlertRule, city: Attribute, people: list[User]
    ) -> None:
        """Case and spaces are ignored; an empty cell belongs to nobody; one matching value of several is enough."""
        AlertRule.objects.update(split_column="城市", split_attribute=city)
        check(rule, NOW, table(上海=1, 北京=2))
        assert len(notify.request_notices(now=NOW)) == 2
        assert find_told() == {"上海": [people[0].pk], "北京": [people[1].pk]}

        Incident.objects.all().delete()
        set_values(attribute=city, values={people[0].pk: ["Shanghai", "Beijing"], people[1].pk: ["beijing"]})
        rows = (("SHANGHAI", 1), ("shanghai ", 2), ("Beijing", 3), (None, 4))
        check(rule, NOW + STEP, Table(COLUMNS, rows, NOW))
        assert find_told() == {"SHANGHAI": [people[0].pk], "Beijing": sorted(one.pk for one in people)}


class TestEnds:
    """The end of an incident that is no longer reported: no recovery is sent, as nothing recovered."""

    @pytest.fixture
    def incident(self, rule: AlertRule) -> Incident:
        AlertRule.objects.update(repeat_minutes=30)
        check(rule, NOW, table(上海=1))
        [run_id] = notify.request_notices(now=NOW)
        Run.objects.filter(pk=run_id).update(status="finished", finished_at=NOW)
        return Incident.objects.get()

    def test_come_when_the_rule_is_disabled_without_reminders(self, rule: AlertRule, incident: Incident) -> None:
        assert incidents.end_orphaned_incidents(now=NOW) == 0
        AlertRule.objects.update(is_enabled=False)
        assert notify.request_notices(now=NOW + timedelta(hours=2)) == []
        incident.refresh_from_db()
        assert (incident.status, incident.notice_due_at) == ("open", None)

        assert incidents.end_orphaned_incidents(now=NOW + STEP) == 1

        incident.refresh_from_db()
        assert (incident.status, incident.ends_at, incident.is_closed_by_hand) == ("resolved", NOW + STEP, False)
        last = incident.events.order_by("pk").last()
        assert last is not None
        assert (last.kind, last.note_text) == ("resolved", "规则已停用。")
        assert notify.request_notices(now=NOW + timedelta(days=1)) == []

    def test_of_a_disabled_rule_no_check_opens_anything_until_it_is_enabled_again(
        self, rule: AlertRule, incident: Incident
    ) -> None:
        AlertRule.objects.update(is_enabled=False)
        incidents.end_orphaned_incidents(now=NOW)
        assert check(rule, NOW + STEP, table(上海=1)) is None
        assert not Incident.objects.open().exists()
        assert not AlertCheck.objects.filter(outcome="waiting").exists()

        AlertRule.objects.update(is_enabled=True)
        check(rule, NOW + 20 * STEP, table(上海=1))
        assert incidents.end_orphaned_incidents(now=NOW + 20 * STEP) == 0
        assert Incident.objects.open().count() == 1


class TestApi:
    def test_checks_a_rule_after_a_data_update(self, corp: Corp, rule: AlertRule) -> None:
        client = make_token(make_editor(corp), may_alert=True)[1]

        answer = client.post(f"/api/v1/alert-rules/{rule.pk}/check")

        assert (answer.status_code, answer.json()["rule_id"]) == (202, rule.pk)
        assert fetch.find_card_data([rule.card_id], slot_at=AlertCheck.objects.get().slot_at)

    def test_knows_no_rule_of_another_company_and_no_disabled_one(self, corp: Corp, rule: AlertRule) -> None:
        stranger = make_token(make_editor(make_corp()), may_alert=True)[1]
        assert stranger.post(f"/api/v1/alert-rules/{rule.pk}/check").status_code == 404
        AlertRule.objects.update(is_enabled=False)
        client = make_token(make_editor(corp), may_alert=True)[1]

        assert client.post(f"/api/v1/alert-rules/{rule.pk}/check").json()["code"] == "rule_disabled"
        elsewhere = make_token(make_editor(), may_alert=True, reach="corps", corps=[make_corp()])[1]
        assert elsewhere.post(f"/api/v1/alert-rules/{rule.pk}/check").status_code == 404
        assert not AlertCheck.objects.exists()


@pytest.mark.parametrize(("page", "link"), [("p1", "/bi/page/p1"), ("", "")])
def test_an_incident_leads_into_the_bi_where_its_card_is(rule: AlertRule, page: str, link: str) -> None:
    """Links to our own address, where people are signed in on the way."""
    make_bi()
    Card.objects.update(bi_page_id=page)

    check(rule, NOW, table(上海=1))

    assert Incident.objects.get().link == link
