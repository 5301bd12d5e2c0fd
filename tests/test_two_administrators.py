"""Simultaneous edits by administrators: the second to save is told what the first saved, and overwrites nothing."""

import re
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
from accounts.users.attributes import set_values
from integrations.models import Card, Corp, DataSource
from notifications.inbound import channels
from notifications.models import AlertRule, InboundChannel, Operator, Report, Robot, Subscription
from notifications.sources import Rule
from notifications.subscriptions.recipients import save_rules
from tests.browser_form import parse_form
from tests.notifications.factories import make_corp, make_person, make_report, make_subscription
from tests.notifications.reports.places import make_data_report, make_region

pytestmark = pytest.mark.django_db
KEPT = "您填写的内容保留在下方，尚未保存。再次保存将以此覆盖已保存的内容。"


@pytest.fixture
def corp() -> Corp:
    return make_corp()


@pytest.fixture
def second(corp: Corp) -> Client:
    client = Client(HTTP_ACCEPT_LANGUAGE="zh-hans")
    client.force_login(make_person(corp, "second", is_staff=True, is_superuser=True))
    return client


def find_path(row: models.Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def open_form(client: Client, row: models.Model) -> dict[str, Any]:
    return parse_form(client.get(find_path(row)).content.decode(), f"{row._meta.model_name}_form")


def save(client: Client, row: models.Model, values: dict[str, Any], **changed: Any) -> str:
    """Send the form. Return the page's text, or "" if it was saved."""
    answer = client.post(find_path(row), {**values, **changed})
    return "" if answer.status_code == 302 else strip_tags(answer.content.decode())


def robot(corp: Corp) -> Robot:
    return Robot.objects.create(name="销售群", corp=corp, key="first-key-1")


def source(corp: Corp) -> DataSource:
    return DataSource.objects.create(name="仓库", kind="sql", sql_url="postgresql://u:p@db.example.com/a")


def card(corp: Corp) -> Card:
    return Card.objects.create(name="销售", source=source(corp), sql="SELECT 1")


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


def push(corp: Corp) -> Subscription:
    return make_subscription(make_person(corp, "lilei", username="lilei"), report=make_report(corp=corp))


def report(corp: Corp) -> Report:
    return make_data_report()


def person(corp: Corp) -> User:
    Corp.objects.update(first_enabled_at=timezone.now())
    return make_person(corp, "lilei", username="lilei")


def rule(corp: Corp) -> AlertRule:
    every = {"aggregate": "count", "column": "", "comparison": "eq", "values": ["0"], "filters": {}}
    found = AlertRule.objects.create(
        name="销售过低", card=card(corp), corp=corp, conditions=[every], crontab="*/10 * * * *"
    )
    found.users.add(make_person(corp, "lilei", username="lilei"))
    times = {"weekdays": "6,7", "from_time": time(22), "to_time": time(6)}
    found.silence_windows.create(name="周末", **times)
    noon = datetime(2027, 10, 1, 4, tzinfo=UTC)
    found.silence_windows.create(name="国庆", kind="once", starts_at=noon, ends_at=noon + timedelta(days=1))
    return found


def rename(row: models.Model, name: str) -> None:
    """Rename the row as the first administrator does."""
    rows = type(row)._base_manager.filter(pk=row.pk)
    rows.update(**{"title" if isinstance(row, Report) else "name": name})


def read_name(row: Any) -> str:
    row.refresh_from_db()
    return str(row.title if isinstance(row, Report) else row.name)


MAKERS = [robot, source, card, rule, push, report, person, channel, mail_channel, group]


@pytest.mark.parametrize("make", MAKERS)
def test_the_second_is_told_keeps_what_they_typed_and_may_save_over_it(make: Any, corp: Corp, second: Client) -> None:
    row = make(corp)
    name = "title" if isinstance(row, Report) else "name"
    values = open_form(second, row)
    rename(row, "第一个人改的")

    answer = second.post(find_path(row), {**values, name: "第二个人改的"})

    assert KEPT in strip_tags(answer.content.decode())
    assert read_name(row) == "第一个人改的"
    kept = parse_form(answer.content.decode(), f"{row._meta.model_name}_form")
    assert kept[name] == ["第二个人改的"]
    assert save(second, row, kept) == ""
    assert read_name(row) == "第二个人改的"


def test_the_page_says_who_saved_first(corp: Corp, second: Client) -> None:
    row = rule(corp)
    colleague = make_person(corp, "first", is_staff=True, is_superuser=True)
    first = Client()
    first.force_login(colleague)
    values = open_form(second, row)
    assert save(first, row, open_form(first, row), **{"silence_windows-0-name": "第一个人改的"}) == ""

    text = save(second, row, values, name="新名称")

    assert re.search(f"您打开此页面之后，{colleague} 于 .* 保存了此内容。", text)
    assert KEPT in text


@pytest.mark.parametrize(
    ("make", "column", "first"),
    [(robot, "key", "another-key-1"), (source, "sql_url", "postgresql://u:q@db.example.com/a")],
)
def test_another_secret_is_told_and_never_shown(make: Any, column: str, first: str, corp: Corp, second: Client) -> None:
    row = make(corp)
    values = open_form(second, row)
    setattr(row, column, first)
    row.save(update_fields=[column])

    text = save(second, row, values, name="新名称")

    assert KEPT in text
    assert first not in text
    row.refresh_from_db()
    assert (row.name != "新名称", getattr(row, column)) == (True, first)


def add_window(row: AlertRule) -> None:
    row.silence_windows.create(name="盘点", weekdays="1", from_time=time(1), to_time=time(2))


def add_people(row: Any) -> None:
    row.users.add(make_person(Corp.objects.get(), "hanmei", username="hanmei"))


def add_rule(row: Any) -> None:
    save_rules(row, [Rule(make_region(), Operator.IS, ("华东",))])


def change_mapping(row: InboundChannel) -> None:
    InboundChannel.objects.filter(pk=row.pk).update(mapping={"title": "新标题", "footers": ["=="]})


def rename_card(row: Report) -> None:
    row.report_cards.update(title="第一个人改的")


def add_account(row: User) -> None:
    row.wecom_accounts.create(corp=make_corp(name="第二家"), userid="more", is_primary=False)


def add_permission(row: Any) -> None:
    permissions = row.user_permissions if isinstance(row, User) else row.permissions
    permissions.add(Permission.objects.get(codename="view_report"))


def add_group(row: User) -> None:
    row.groups.add(Group.objects.create(name="值班组"))


def set_region(row: User) -> None:
    set_values(attribute=make_region(), values={row.pk: ["华东"]})


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (rule, add_window),
        *((one, add) for one in (push, rule) for add in (add_people, add_rule)),
        *((one, change_mapping) for one in (channel, mail_channel)),
        (report, rename_card),
        *((person, one) for one in (add_account, add_permission, add_group, set_region)),
        (group, add_permission),
    ],
)
def test_parts_of_a_page_are_not_overwritten_either(make: Any, change: Any, corp: Corp, second: Client) -> None:
    row = make(corp)
    before = read_name(row)
    values = open_form(second, row)
    change(row)

    assert KEPT in save(second, row, values, **{"title" if isinstance(row, Report) else "name": "新名称"})
    assert read_name(row) == before


def test_a_row_that_the_first_removed_comes_back_if_the_second_saves_over_it(corp: Corp, second: Client) -> None:
    row = rule(corp)
    values = open_form(second, row)
    row.silence_windows.filter(name="周末").delete()
    add_window(row)

    answer = second.post(find_path(row), {**values, "silence_windows-0-from_time": "20:00"})

    kept = parse_form(answer.content.decode(), "alertrule_form")
    assert save(second, row, kept) == ""
    windows = row.silence_windows.order_by("pk").values_list("name", "from_time")
    assert list(windows) == [("国庆", None), ("盘点", time(1)), ("周末", time(20))]


def test_a_row_that_both_removed_stays_away(corp: Corp, second: Client) -> None:
    row = rule(corp)
    values = open_form(second, row)
    row.silence_windows.filter(name="周末").delete()

    answer = second.post(find_path(row), {**values, "silence_windows-0-DELETE": "on"})

    assert save(second, row, parse_form(answer.content.decode(), "alertrule_form")) == ""
    assert [one.name for one in row.silence_windows.all()] == ["国庆"]


def test_the_preview_of_a_channel_says_nothing_of_others(corp: Corp, second: Client) -> None:
    row = channel(corp)
    values = open_form(second, row)
    InboundChannel.objects.filter(pk=row.pk).update(name="第一个人改的")
    answer = second.post(reverse("admin:notifications_inboundchannel_preview", args=[row.pk]), values)
    assert KEPT not in answer.json()["trial"]


def test_the_page_of_a_person_carries_no_password(corp: Corp, second: Client) -> None:
    answer: Any = second.get(find_path(row := person(corp)))
    assert "password" not in answer.context["adminform"].form.read_values(row)


def test_who_may_only_look_gets_no_values_of_the_form(corp: Corp) -> None:
    row = channel(corp)
    client = Client()
    reader = make_person(corp, "reader", is_staff=True)
    reader.manages_all_corps = True
    reader.save()
    reader.user_permissions.add(Permission.objects.get(codename="view_inboundchannel"))
    client.force_login(reader)
    assert 'name="page_version"' not in client.get(find_path(row)).content.decode()
