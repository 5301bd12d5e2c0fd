"""The page of an alert rule: its people, times and draft, and the panel beside the form."""

import json
import re
import zlib
from datetime import date, time
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Attribute
from accounts.users.attributes import set_values
from integrations.data.table import Column, Kind, Table
from integrations.models import Card, CardData, Corp, DataSource, Department
from integrations.models.datasources import compress_table
from notifications.alerts import conditions, trial
from notifications.models import AlertCheck, AlertRule, Draft, Incident, Medium, SilenceWindow
from notifications.subscriptions.recipients import read_audience, resolve_audience
from tests.browser_form import read_unchanged_form
from tests.guandata import GuandataAnswers
from tests.notifications import preview_pages
from tests.notifications.admin.conftest import client_of
from tests.notifications.alerts.rules import make_rule, parse, row
from tests.notifications.factories import NOW, make_corp, make_manager, make_person, make_superuser

pytestmark = pytest.mark.django_db
LIST = "/admin/notifications/alertrule/"
ADD = f"{LIST}add/"


@pytest.fixture
def card(bi_card: Card) -> Card:
    return bi_card


def change(rule: AlertRule) -> str:
    return f"{LIST}{rule.pk}/change/"


def read_form(client: Client, rule: AlertRule | None = None, **changes: Any) -> dict[str, Any]:
    address = ADD if rule is None else change(rule)
    return {**read_unchanged_form(client, address), **changes}


def send(client: Client, address: str, **changes: Any) -> Any:
    return client.post(address, {**read_unchanged_form(client, address), **changes})


def send_new(client: Client, card: Card, **changes: Any) -> Any:
    return send(
        client, ADD, **{"name": "销售额过低", "card": card.pk, **row(0, "sum", "销售额", "lt", "100"), **changes}
    )


def find_notified(rule: AlertRule) -> set[int]:
    return {one.user_id for one in resolve_audience(read_audience(rule))}


@pytest.mark.usefixtures("undrawn")
def test_people_and_times_are_chosen_changed_and_gone_with_the_rule(root: Client, card: Card, corp: Corp) -> None:
    person, other = make_person(corp, "lilei"), make_person(corp, "han")

    answer = send_new(root, card, users=[person.pk], repeat="every_30", _enable="1")

    assert answer.status_code == 302, answer.context["problems"]
    rule = AlertRule.objects.get()
    assert (rule.is_enabled, rule.next_run_at is not None, find_notified(rule)) == (True, True, {person.pk})
    assert (rule.name, rule.repeat, rule.crontab) == ("销售额过低", "crontab", "*/30 * * * *")
    assert root.get(change(rule)).context["adminform"].form.initial["repeat"] == "every_30"

    answer = send(root, change(rule), name="改名", users=[other.pk], repeat="every_60", _enable="1")

    assert answer.status_code == 302, answer.context["problems"]
    rule = AlertRule.objects.get()
    assert (find_notified(rule), rule.name, rule.crontab) == ({other.pk}, "改名", "0 * * * *")

    root.post(f"{LIST}{rule.pk}/delete/", {"post": "yes"})

    assert not AlertRule.objects.exists()


def test_who_deletes_a_rule_reads_its_name_and_not_its_checks(root: Client, card: Card, corp: Corp) -> None:
    send_new(root, card, users=[make_person(corp, "lilei").pk], name="改名")
    rule = AlertRule.objects.get()
    AlertCheck.objects.create(rule=rule, card=card, slot_at=timezone.now(), requested_at=timezone.now())

    question = root.get(f"{LIST}{rule.pk}/delete/").text

    assert "<title>删除“改名” | guanwecom</title>" in question
    assert "预警规则的检查" not in question


@pytest.mark.usefixtures("undrawn")
def test_nobody_is_refused_once_it_is_enabled(root: Client, card: Card) -> None:
    refused = send_new(root, card, _enable="1")
    assert "没有人会收到" in " ".join(text for text, _label, _anchor in refused.context["problems"])
    assert not AlertRule.objects.exists()

    assert send_new(root, card, _save="1").status_code == 302
    assert not AlertRule.objects.get().is_enabled


@pytest.mark.parametrize(
    ("condition", "is_refused"),
    [
        (row(0, "any", "日期", "eq", "华东"), True),
        (row(0, "count", "", "eq", "0", filters="日期=20261324"), True),
        (row(0, "sum", "销售额", "lt", "5", filters="日期=最近 7 天"), False),
    ],
)
def test_what_is_no_date_is_refused_on_a_column_of_dates(
    root: Client, card: Card, condition: dict[str, str], is_refused: bool
) -> None:
    table = Table((Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)), (), NOW)
    times = dict.fromkeys(("finished_at", "requested_at", "next_try_at"), NOW)
    CardData.objects.create(card=card, status="ready", content=compress_table(table), **times)

    answer = send_new(root, card, **condition, _save="1")

    assert AlertRule.objects.exists() is not is_refused
    if is_refused:
        assert "不是日期" in answer.content.decode()


def make_fall(day: str, unit: str, value: str) -> dict[str, str]:
    return {**row(0, "sum", "销售额", "fell", value), "conditions-0-against": day, "conditions-0-unit": unit}


@pytest.mark.parametrize(("unit", "value", "kept"), [("percent", "20 %", "20"), ("amount", "1,000", "1,000")])
def test_a_fall_against_an_earlier_day_is_kept_as_chosen(
    root: Client, card: Card, unit: str, value: str, kept: str
) -> None:
    answer = send_new(root, card, **make_fall("week", unit, value), _save="1")

    assert answer.status_code == 302, answer.context["problems"]
    rule = AlertRule.objects.get()
    [condition] = rule.conditions
    assert (condition["against"], condition["unit"], condition["values"]) == ("week", unit, [kept])
    assert send(root, change(rule), _save="1").status_code == 302
    rule.refresh_from_db()
    assert rule.conditions == [condition]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("day", "value"), [("", "20"), ("month", "20"), ("week", "-20"), ("week", "20 元")])
def test_a_fall_without_its_day_or_with_a_sign_is_refused(root: Client, card: Card, day: str, value: str) -> None:
    assert send_new(root, card, **make_fall(day, "percent", value), _save="1").status_code == 200
    assert not AlertRule.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_what_was_typed_is_kept_and_offered(root: Client, card: Card, corp: Corp) -> None:
    person = make_person(corp, "lilei")
    typed = read_form(root, name="没写完", users=[person.pk])
    assert root.post(f"{LIST}draft/", typed).json() == {"is_kept": True}

    assert root.get(ADD).context["draft"] is not None
    form = root.get(f"{ADD}?draft=1").context["adminform"].form

    assert (form["name"].value(), form["users"].value()) == ("没写完", [str(person.pk)])
    assert not form.errors
    send_new(root, card, users=[person.pk], _enable="1")
    assert not Draft.objects.exists()


def read_panel(client: Client, **values: Any) -> dict[str, Any]:
    """Return the panel beside the form once the workers have fetched the data."""
    values = read_form(client, **values)
    first: dict[str, Any] = client.post(f"{LIST}try/", values).json()
    if not first["token"]:
        return first
    preview_pages.fetch()
    last: dict[str, Any] = client.post(f"{LIST}try/", {**values, "_token": first["token"]}).json()
    assert last["token"] == ""
    return last


def test_before_a_condition_is_written_rows_people_and_times_stand_there(
    root: Client, card: Card, corp: Corp, bi: GuandataAnswers
) -> None:
    """People who cannot be notified are shown, too. Notes on crowded times are not, as they do not concern checks."""
    reached, unlinked = make_person(corp, "lilei"), make_superuser()

    empty = read_panel(root)
    state = read_panel(root, card=card.pk, users=[reached.pk, unlinked.pk], repeat="every_30")

    assert "请选择数据" in empty["message"]
    assert (empty["rows"].strip(), empty["columns"]) == ("", [])
    assert "128.5" in state["rows"]
    assert ["销售额", "number"] in state["columns"]
    assert "写一个条件" in state["message"]
    assert "errorlist" not in state["message"]
    assert "1 人</span>" in state["outlook"]
    assert str(unlinked) in state["outlook"]
    assert "接下来的检查时间" in state["outlook"]
    assert "错峰" not in state["outlook"]


def test_a_fall_is_tried_on_the_rows_and_what_they_cannot_answer_is_said(
    root: Client, card: Card, bi: GuandataAnswers
) -> None:
    """Uses data without a column of days, and without data fetched a week before."""
    html = read_panel(root, card=card.pk, **make_fall("week", "percent", "20"))["message"]
    assert "销售额 合计 比上周同日 下降超过 20%：无法判断。" in html
    assert "也没有保留当天取过的数据" in html
    assert "列“区域”不是数值" in read_panel(root, card=card.pk, **row(0, "sum", "区域", "lt", "0"))["message"]


@pytest.mark.usefixtures("undrawn")
def test_what_is_set_in_a_folded_part_stands_in_its_line(root: Client, card: Card) -> None:
    rule = make_rule(card, severity="critical", notifies_recovery=False)
    parts = root.get(f"{LIST}{rule.pk}/change/").context["collapsible_parts"]
    assert {key: (part["summary"], part["is_open"]) for key, part in parts.items()} == {
        "conditions": ("级别：严重", False),
        "people": ("恢复时通知：否", False),
        "exceptions": ("", False),
    }


def test_a_page_that_is_sent_twice_makes_one_rule(root: Client, card: Card, corp: Corp) -> None:
    person = make_person(corp, "lilei")
    for _twice in range(2):
        answer = send_new(root, card, users=[person.pk], token="a" * 32, _enable="1")
        assert answer.status_code == 302, answer.context["problems"]
    assert answer["Location"] == change(AlertRule.objects.get())


@pytest.mark.usefixtures("undrawn")
def test_people_whom_somebody_else_chose_meanwhile_stand_and_a_deleted_rule_is_not_made_again(
    root: Client, card: Card, corp: Corp
) -> None:
    send_new(root, card, users=[make_person(corp, "lilei").pk], _enable="1")
    rule, other = AlertRule.objects.get(), make_person(corp, "han", name="韩梅梅")
    mine = read_form(root, rule, name="我的名字", _enable="1")
    rule.users.set([other])

    answer = root.post(change(rule), mine)

    said = " ".join(text for text, _label, _anchor in answer.context["problems"])
    assert "再次保存将以此覆盖已保存的内容" in said
    assert (AlertRule.objects.get().name, find_notified(rule)) == ("销售额过低", {other.pk})
    mine = read_form(root, rule, name="别的名字", _enable="1")
    rule.delete()
    assert root.post(change(rule), mine).status_code == 302
    assert not AlertRule.objects.exists()


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_the_relative_dates_to_choose_from_are_understood(root: Client, language: str) -> None:
    root.cookies["django_language"] = language
    dates = read_panel(root)["dates"]
    assert ("yesterday" in dates) is (language == "en")
    assert all(conditions.read_span(name, NOW.date()) for name in dates)


def test_with_a_source_that_is_down_the_page_says_so_and_saves(root: Client, card: Card, corp: Corp) -> None:
    DataSource.objects.update(is_enabled=False)
    person = make_person(corp, "lilei")

    state = read_panel(root, card=card.pk, users=[person.pk], **row(0, "sum", "销售额", "lt", "100"))

    assert "数据源已停用" in state["message"]
    assert (state["columns"], "1 人</span>" in state["outlook"]) == ([], True)
    assert send_new(root, card, users=[person.pk], _enable="1").status_code == 302
    assert AlertRule.objects.get().is_enabled


def test_what_cannot_be_known_is_said_with_its_reason_and_days_without_data_too(root: Client, card: Card) -> None:
    table = Table((Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)), ((date(2015, 12, 31), 5),), NOW)
    values = {"card": card.pk, **row(0, "sum", "销售额", "lt", "100", filters="日期=昨天")}

    html = preview_pages.preview_over(root, f"{LIST}try/", values, content=compress_table(table))["message"]

    assert "没有符合条件范围的数据行，或这些行中没有值。" in html
    assert "数据中没有过去 30 天的内容" in html


def errors_of(answer: Any) -> dict[str, Any]:
    return dict(answer.context["adminform"].form.errors)


def try_out(client: Client, rule: AlertRule, *rows: dict[str, str]) -> str:
    values = read_form(client, rule, _id=rule.pk)
    for condition in rows:
        values |= condition
    return preview_pages.preview(client, f"{LIST}try/", values)


class TestRule:
    def test_says_beside_a_row_what_is_wrong_with_it(self, root: Client, rule: AlertRule) -> None:
        rows = {
            **row(0, "sum", "销售额", "lt", "100"),
            **row(1, "sum", "销售额", "lt", "viel"),
            **row(2, "avg", "", "between", "1", "2"),
            **row(3, "any", "销售额", "gt", "1", filters="城市"),
            **row(4, "", "销售额", "lt", "1"),
            **row(5, "sum", "销售额", "", "1"),
            **row(6, "any", "销售额", "changed", ""),
            **row(7, "sum", "销售额", "lt", "1", filters="城市=" + "|".join(map(str, range(101)))),
        }

        answer = send(root, change(rule), **rows)

        page = answer.content.decode()
        assert page.count("data-row-problem") == 7
        assert "“viel”不是数字" in page
        assert page.index('name="conditions-1-aggregate"') < page.index('id="id_conditions-1-problem"')
        assert len(errors_of(answer)["conditions"]) == 7
        rule.refresh_from_db()
        assert len(rule.conditions) == 1

    def test_keeps_every_part_of_its_rows_and_begins_anew(self, root: Client, rule: AlertRule) -> None:
        AlertRule.objects.update(join="any", holding={"": 2}, next_run_at=None, watched="something else")
        first = row(0, "avg", "销售额", "outside", "10", "20", "区域=华东|华南; 品类=酒")
        times = {"repeat": "crontab", "crontab": "*/5 * * * *"}

        saved = send(
            root, change(rule), **first, **row(4, "sum", "销售额", "changed", "left over"), **times, _enable="1"
        )

        assert saved.status_code == 302, errors_of(saved)
        rule.refresh_from_db()
        assert conditions.read_conditions(rule.conditions) == parse(
            "avg 销售额 outside 10 and 20 where 区域=华东|华南; 品类=酒\nsum 销售额 changed"
        )
        assert (rule.holding, rule.next_run_at is not None) == ({}, True)
        assert 'value="区域=华东|华南; 品类=酒"' in root.get(change(rule)).content.decode()
        AlertRule.objects.update(holding={"": 3})
        assert send(root, change(rule), _enable="1").status_code == 302
        rule.refresh_from_db()
        assert rule.holding == {"": 3}  # nothing was changed

    def test_has_silence_windows_that_can_be(self, root: Client, rule: AlertRule) -> None:
        window = {
            "silence_windows-TOTAL_FORMS": "1",
            "silence_windows-0-name": "夜间",
            "silence_windows-0-kind": "weekly",
            "silence_windows-0-from_time": "22:00",
            "silence_windows-0-to_time": "06:00",
        }

        refused = send(root, change(rule), **window)
        saved = send(root, change(rule), **window, **{"silence_windows-0-weekdays": ["6", "7"]})

        assert "请选择星期" in refused.content.decode()
        assert saved.status_code == 302, errors_of(saved)
        known = SilenceWindow.objects.get(rule=rule)
        assert (known.name, known.weekdays, known.from_time) == ("夜间", "6,7", time(22))

    def test_is_tried_on_the_data_as_it_is_now_with_the_message_that_would_be_sent(
        self, root: Client, rule: AlertRule, bi: GuandataAnswers
    ) -> None:
        html = try_out(root, rule, row(0, "any", "销售额", "lt", "100"))

        assert "会触发" in html
        assert "无法按过去的日子试算：数据中没有日期列，或行数过多。" in html
        assert html.count("trial-marked") == 1
        assert html.index("华南") < html.index("华东")
        message = html.partition('class="phone-message phone-text_notice"')[2]
        assert "销售额过低" in message
        assert "phone-message" not in try_out(root, rule, row(0, "any", "销售额", "lt", "90"))
        assert not Incident.objects.exists()
        rule.refresh_from_db()
        assert rule.conditions[0]["aggregate"] == "sum"

    def test_tried_shows_pictures_that_workers_draw_for_this_person_only(
        self, root: Client, rule: AlertRule, bi: GuandataAnswers
    ) -> None:
        html = try_out(root, rule, row(0, "any", "销售额", "lt", "100"))

        medium = Medium.objects.get(run=None, status="waiting")
        recipe = json.loads(zlib.decompress(medium.recipe))
        assert (recipe["chart"]["thresholds"], recipe["language"]) == ([100.0], "zh-hans")
        assert re.findall("<figcaption>(.*?)</figcaption>", html) == ["至少一行 销售额 小于 100"]
        [address] = re.findall('data-making="([^"]+)"', html)
        assert root.get(address).json()["problem"] == ""
        Medium.objects.update(status="failed", error="数据中没有列“x”。")
        assert root.get(address).json()["problem"] == "数据中没有列“x”。"
        svg = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
        Medium.objects.update(status="ready", svg=zlib.compress(svg), width=390, height=300)
        found = root.get(address).json()
        assert (found["kind"], found["width"], found["height"]) == ("picture", 390, 300)
        picture = root.get(found["address"])
        assert (picture.content, picture["Content-Type"]) == (svg, "image/svg+xml")
        for person, status in ((make_superuser(), 404), (make_person(make_corp(), "li"), 302)):
            other = client_of(person)
            assert [other.get(path).status_code for path in (address, found["address"])] == [status, status]

    def test_tried_draws_few_of_many_parts(
        self, root: Client, rule: AlertRule, bi: GuandataAnswers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trial, "PICTURES_SHOWN", 2)
        html = try_out(root, rule, *(row(n, "any", "销售额", "lt", str(100 + n)) for n in range(3)))
        assert html.count("data-making=") == Medium.objects.count() == 2

    def test_is_not_tried_on_a_card_of_another_company(self, rule: AlertRule, card: Card, bi: GuandataAnswers) -> None:
        """Fetches nothing even if somebody sends the id of such a card in the request."""
        stranger = client_of(make_manager(make_corp()))

        html = stranger.post(f"{LIST}try/", {"card": card.pk, **row(0, "any", "销售额", "gt", "0")}).json()["message"]

        assert "该选择不在可用的选项中" in html
        assert "华东" not in html
        assert bi.calls("card_data") == 0
        assert stranger.post(f"{LIST}try/", {"_id": rule.pk}).status_code == 404


class TestPeople:
    def test_are_named_as_subscriptions_do(self, root: Client, corp: Corp, rule: AlertRule) -> None:
        """Departments with subdepartments and attribute rules work; who leaves a rule is notified no more."""
        north, south = (make_person(corp, name) for name in ("north", "south"))
        region = Attribute.objects.create(key="region", name="区域")
        set_values(attribute=region, values={north.pk: ["华北"], south.pk: ["华南"]})
        whole = Department.objects.create(corp=corp, wecom_department_id=1, name="北山制造")
        path = change(rule)
        people = {"rules-0-attribute": region.pk, "rules-0-operator": "is", "rules-0-values": "华北", "users": []}
        people |= {"departments": [whole.pk], "with_subdepartments": "on"}

        answer = send(root, path, **row(0, "any", "销售额", "lt", "0"), **people)

        assert answer.status_code == 302, errors_of(answer)
        audience = read_audience(AlertRule.objects.get())
        assert (audience.department_ids, audience.with_subdepartments) == ((whole.pk,), True)
        assert [one.user_id for one in resolve_audience(audience)] == [north.pk]
        assert 'value="华北"' in root.get(path).content.decode()

    @pytest.mark.usefixtures("undrawn")
    def test_with_a_robot_of_no_group_and_a_rule_without_a_condition_are_refused(
        self, root: Client, rule: AlertRule
    ) -> None:
        answer = send(root, change(rule), **row(0, "", "", "gt", ""), channel="robot")

        assert {"conditions", "robot"} <= errors_of(answer).keys()
