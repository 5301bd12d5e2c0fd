"""Two administrators at one form: whoever saves second is told what the first has saved, and overwrites nothing."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import User
from integrations.models import Card, Corp, DataSource
from notifications.inbound import channels
from notifications.models import AlertReceiver, AlertRoute, AlertRule, InboundChannel, Operator, Robot
from notifications.sources import Rule
from notifications.subscriptions.attribute_rules import rules_of, save_rules
from tests.browser_form import untouched
from tests.notifications.factories import make_corp, make_person
from tests.notifications.reports.places import make_data_report, make_region

pytestmark = pytest.mark.django_db
NOTHING = "您的修改尚未保存"


@pytest.fixture
def corp() -> Corp:
    return make_corp()


@pytest.fixture
def second(corp: Corp) -> Client:
    client = Client(HTTP_ACCEPT_LANGUAGE="zh-hans")
    client.force_login(make_person(corp, "second", is_staff=True, is_superuser=True))
    return client


def page(row: models.Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def opened(client: Client, row: models.Model) -> dict[str, Any]:
    return untouched(client.get(page(row)).content.decode(), f"{row._meta.model_name}_form")


def save(client: Client, row: models.Model, values: dict[str, Any], **changed: Any) -> str:
    """What the page says; empty where it was saved."""
    answer = client.post(page(row), {**values, **changed})
    return "" if answer.status_code == 302 else strip_tags(answer.content.decode())


def robot(corp: Corp) -> Robot:
    return Robot.objects.create(name="销售群", corp=corp, key="first-key-1")


def source(corp: Corp) -> DataSource:
    return DataSource.objects.create(name="仓库", kind="sql", sql_url="postgresql://u:p@db.example.com/a")


def card(corp: Corp) -> Card:
    return Card.objects.create(name="销售", source=source(corp), sql="SELECT 1")


def receiver(corp: Corp) -> AlertReceiver:
    found = AlertReceiver.objects.create(name="值班", corp=corp)
    found.users.add(make_person(corp, "lilei", username="lilei"))
    return found


def route(corp: Corp) -> AlertRoute:
    return AlertRoute.objects.create(name="磁盘", receiver=receiver(corp), matchers=[["team", "=", "web"]])


def channel(corp: Corp) -> InboundChannel:
    owner = make_person(corp, "owner", is_staff=True, is_superuser=True)
    found = InboundChannel(name="监控", owner=owner, kind="webhook", scheme="bearer", mapping={"title": "旧标题"})
    channels.renew_secret(found)
    found.save()
    found.users.add(make_person(corp, "lilei", username="lilei"))
    return found


def mail_channel(corp: Corp) -> InboundChannel:
    found = channel(corp)
    InboundChannel.objects.filter(pk=found.pk).update(kind="mail", mapping={"footers": ["--"]}, scheme="password")
    return InboundChannel.objects.get(pk=found.pk)


def group(corp: Corp) -> Group:
    return Group.objects.create(name="值班组")


MADE = [robot, source, card, receiver, route, channel, mail_channel, group]


@pytest.mark.parametrize("make", MADE)
def test_the_second_is_told_and_saves_nothing_and_then_both_stand(make: Any, corp: Corp, second: Client) -> None:
    row = make(corp)
    values = opened(second, row)
    type(row)._base_manager.filter(pk=row.pk).update(name="第一个人改的")

    text = save(second, row, values)

    assert NOTHING in text
    assert "第一个人改的" in text
    assert save(second, row, opened(second, row)) == ""
    row.refresh_from_db()
    assert row.name == "第一个人改的"


@pytest.mark.parametrize("make", MADE)
def test_a_page_that_nobody_else_touched_is_saved(make: Any, corp: Corp, second: Client) -> None:
    row = make(corp)
    assert save(second, row, opened(second, row), name="新名称") == ""
    row.refresh_from_db()
    assert row.name == "新名称"


@pytest.mark.parametrize(
    ("make", "column", "first"),
    [(robot, "key", "another-key-1"), (source, "sql_url", "postgresql://u:q@db.example.com/a")],
)
def test_another_secret_is_told_and_never_shown(make: Any, column: str, first: str, corp: Corp, second: Client) -> None:
    row = make(corp)
    values = opened(second, row)
    setattr(row, column, first)
    row.save(update_fields=[column])

    text = save(second, row, values, name="新名称")

    assert "不显示的值（例如 Secret）" in text
    assert first not in text
    row.refresh_from_db()
    assert (row.name != "新名称", getattr(row, column)) == (True, first)


def test_people_and_rules_of_a_receiver_are_not_overwritten(corp: Corp, second: Client) -> None:
    row, attribute = receiver(corp), make_region()
    values = opened(second, row)
    row.users.add(make_person(corp, "hanmei", username="hanmei"))
    save_rules(row, [Rule(attribute, Operator.IS, ("华东",))])

    text = save(second, row, values, name="新名称")

    assert "hanmei" in text
    assert "华东" in text
    assert [person.username for person in row.users.order_by("pk")] == ["lilei", "hanmei"]
    assert [rule.values for rule in rules_of(row)] == [("华东",)]


@pytest.mark.parametrize(
    ("make", "mapping", "shown"),
    [(channel, {"title": "新标题"}, "新标题"), (mail_channel, {"footers": ["=="], "attachments": ["pdf"]}, "pdf")],
)
def test_what_a_channel_makes_of_a_call_is_not_overwritten(
    make: Any, mapping: dict[str, Any], shown: str, corp: Corp, second: Client
) -> None:
    row = make(corp)
    values = opened(second, row)
    InboundChannel.objects.filter(pk=row.pk).update(mapping=mapping)

    text = save(second, row, values, name="新名称")

    assert NOTHING in text
    assert shown in text
    row.refresh_from_db()
    assert row.mapping == mapping


def test_the_preview_of_a_channel_says_nothing_of_others(corp: Corp, second: Client) -> None:
    row = channel(corp)
    values = opened(second, row)
    InboundChannel.objects.filter(pk=row.pk).update(name="第一个人改的")
    answer = second.post(reverse("admin:notifications_inboundchannel_preview", args=[row.pk]), values)
    assert NOTHING not in answer.json()["trial"]


def test_rows_of_a_report_without_a_push_are_not_overwritten(corp: Corp, second: Client) -> None:
    report = make_data_report()
    values = opened(second, report)
    report.report_cards.update(title="第一个人改的")

    answer: Any = second.post(page(report), {**values, "title": "新标题"})

    assert NOTHING.replace("尚未", "没有") in strip_tags(answer.content.decode())
    rows = next(one.formset for one in answer.context["inline_admin_formsets"] if one.formset.prefix == "report_cards")
    assert rows.forms[0]["title"].value() == "第一个人改的"
    again = {**untouched(answer.content.decode(), "report_form")}
    assert second.post(page(report), again).status_code == 302
    report.refresh_from_db()
    assert (report.title, report.report_cards.get().title) == ("新标题", "第一个人改的")


def rule(corp: Corp) -> AlertRule:
    every = {"aggregate": "count", "column": "", "comparison": "eq", "values": ["0"], "filters": {}}
    found = AlertRule.objects.create(
        name="销售过低", card=card(corp), receiver=receiver(corp), conditions=[every], crontab="*/10 * * * *"
    )
    times = {"weekdays": "6,7", "from_time": time(22), "to_time": time(6)}
    found.silence_windows.create(name="周末", **times)
    noon = datetime(2027, 10, 1, 4, tzinfo=UTC)
    found.silence_windows.create(name="国庆", kind="once", starts_at=noon, ends_at=noon + timedelta(days=1))
    return found


class TestRows:
    """Rows of a page of their own: they are told like fields."""

    def test_silence_windows_are_not_overwritten(self, corp: Corp, second: Client) -> None:
        row = rule(corp)
        values = opened(second, row)
        row.silence_windows.filter(name="周末").update(from_time=time(20), weekdays="5,6")
        row.silence_windows.filter(name="国庆").delete()
        row.silence_windows.create(name="盘点", weekdays="1", from_time=time(1), to_time=time(2))

        answer: Any = second.post(page(row), {**values, "name": "新名称"})

        text = strip_tags(answer.content.decode())
        assert "静默时段: 新增 盘点, 修改 周末, 去掉 国庆" in text
        shown = untouched(answer.content.decode(), "alertrule_form")
        assert shown["silence_windows-0-from_time"] == ["20:00"]
        assert shown["silence_windows-0-weekdays"] == ["5", "6"]
        assert second.post(page(row), shown).status_code == 302
        row.refresh_from_db()
        assert row.name == "新名称"
        assert list(row.silence_windows.values_list("name", "weekdays")) == [("周末", "5,6"), ("盘点", "1")]

    def test_what_one_wrote_in_a_changed_window_stands(self, corp: Corp, second: Client) -> None:
        row = rule(corp)
        values = opened(second, row)
        row.silence_windows.filter(name="周末").update(name="第一个人改的")

        answer: Any = second.post(page(row), {**values, "silence_windows-0-from_time": "21:00"})

        shown = untouched(answer.content.decode(), "alertrule_form")
        assert "修改 第一个人改的" in strip_tags(answer.content.decode())
        assert (shown["silence_windows-0-name"], shown["silence_windows-0-from_time"]) == (["周末"], ["21:00"])
        assert row.silence_windows.filter(name="第一个人改的", from_time=time(22)).exists()

    def test_a_window_is_not_deleted_over_a_change(self, corp: Corp, second: Client) -> None:
        row = rule(corp)
        values = opened(second, row)
        row.silence_windows.filter(name="周末").update(from_time=time(20))

        text = save(second, row, values, **{"silence_windows-0-DELETE": "on"})

        assert "修改 周末" in text
        assert row.silence_windows.count() == 2

    def test_untouched_windows_of_every_kind_count_as_untouched(self, corp: Corp, second: Client) -> None:
        row = rule(corp)
        values = opened(second, row)
        row.silence_windows.update(name="第一个人改的")

        answer: Any = second.post(page(row), values)

        shown = untouched(answer.content.decode(), "alertrule_form")
        assert [shown[f"silence_windows-{number}-name"] for number in range(2)] == [["第一个人改的"]] * 2

    def test_windows_of_a_page_that_says_nothing_of_its_opening_are_kept(self, corp: Corp, second: Client) -> None:
        row = rule(corp)
        values = {**opened(second, row), "silence_windows-seen": ""}

        text = save(second, row, values, **{"silence_windows-0-name": "新名称"})

        assert "此页面打开太久" in text
        assert not row.silence_windows.filter(name="新名称").exists()

    def test_accounts_of_a_person_are_not_overwritten(self, corp: Corp, second: Client) -> None:
        person = make_person(corp, "lilei", username="lilei")
        Corp.objects.update(first_enabled_at=timezone.now())
        values = opened(second, person)
        person.wecom_accounts.update(userid="first")
        person.wecom_accounts.create(corp=make_corp(name="第二家"), userid="more", is_primary=False)

        answer: Any = second.post(page(person), {**values, "name": "新名称"})

        assert "新增 more, 修改 first" in strip_tags(answer.content.decode())
        shown = untouched(answer.content.decode(), "user_form")
        assert "wecom_accounts-1-is_primary" not in shown
        assert second.post(page(person), shown).status_code == 302
        saved = person.wecom_accounts.order_by("pk").values_list("userid", "is_primary")
        assert list(saved) == [("first", True), ("more", False)]
        person.refresh_from_db()
        assert person.name == "新名称"


def test_permissions_of_a_group_and_roles_of_a_person_are_not_overwritten(corp: Corp, second: Client) -> None:
    team, person = group(corp), make_person(corp, "lilei", username="lilei")
    values = {row: opened(second, row) for row in (team, person)}
    permission = Permission.objects.get(codename="view_report")
    team.permissions.add(permission)
    person.groups.add(team)
    person.user_permissions.add(permission)

    assert NOTHING in save(second, team, values[team], name="新名称")
    text = save(second, person, values[person], name="新名称")

    assert NOTHING in text
    assert "值班组" in text
    assert list(team.permissions.all()) == [permission]
    assert list(person.groups.all()) == [team]
    person.refresh_from_db()
    assert person.name != "新名称"


def test_the_page_of_a_person_carries_no_password(corp: Corp, second: Client) -> None:
    person: User = make_person(corp, "lilei", username="lilei")
    answer: Any = second.get(page(person))
    form = answer.context["adminform"].form
    assert "password" not in form._values_of(person)


def test_who_may_only_look_gets_no_values_of_the_form(corp: Corp) -> None:
    row = channel(corp)
    client = Client()
    reader = make_person(corp, "reader", is_staff=True)
    reader.manages_all_corps = True
    reader.save()
    reader.user_permissions.add(Permission.objects.get(codename="view_inboundchannel"))
    client.force_login(reader)
    assert 'name="seen"' not in client.get(page(row)).content.decode()
