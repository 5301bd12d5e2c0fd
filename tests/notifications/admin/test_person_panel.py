"""The panel on a person's page: the pushes and alerts that reach them, why, and the last messages."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.urls import reverse
from django.utils import timezone

from accounts.models import Attribute, AttributeValue, User
from integrations.models import Card, Corp, DataSource, Department, Member
from notifications.delivery.rendering.render import render_run
from notifications.models import AlertRule, AttributeRule, Subscription, SubscriptionChoice
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def corp() -> Corp:
    return make_corp(name="北山制造", first_enabled_at=NOW)


@pytest.fixture
def person(corp: Corp) -> User:
    return make_person(corp, "lilei", name="李雷", username="lilei")


def page_of(person: User, seen_by: User | None = None) -> Any:
    return client_of(seen_by or make_superuser()).get(reverse("admin:accounts_user_card", args=[person.pk]))


def lines_of(person: User, seen_by: User | None = None) -> list[tuple[str, str, str]]:
    [context] = [one for one in page_of(person, seen_by).context if "lines" in one][:1] or [{"lines": []}]
    return [(name, why, obstacle) for _url, name, _kind, why, _when, obstacle in context["lines"]]


def stand_in(corp: Corp, userid: str, department: Department) -> None:
    times = dict.fromkeys(("first_seen_at", "changed_at"), timezone.now())
    member = Member.objects.create(corp=corp, userid=userid, userid_folded=userid, presence="here", **times)
    member.departments.add(department)


def test_each_way_in_which_a_push_names_somebody_is_said(corp: Corp, person: User) -> None:
    top = Department.objects.create(corp=corp, wecom_department_id=1, name="总部")
    below = Department.objects.create(corp=corp, wecom_department_id=2, wecom_parent_id=1, name="销售部")
    stand_in(corp, "lilei", below)
    group, region = Group.objects.create(name="晨报读者"), Attribute.objects.create(key="region", name="区域")
    person.groups.add(group)
    AttributeValue.objects.create(user=person, attribute=region, value="华东", folded="华东")
    pushes = {name: make_subscription(name=name) for name in ("一", "二", "三", "四", "五", "六", "别的")}
    pushes["一"].users.add(person)
    pushes["一"].groups.add(group)
    card = Card.objects.create(name="销售", source=DataSource.objects.create(name="库", kind="sql"), sql="SELECT 1")
    AlertRule.objects.create(name="销售额过低", card=card, crontab="0 9 * * *").users.add(person)
    pushes["二"].groups.add(group)
    pushes["三"].departments.add(top)
    Subscription.objects.filter(name="四").update(with_subdepartments=False)
    pushes["四"].departments.add(top)
    AttributeRule.objects.create(subscription=pushes["五"], attribute=region, operator="is", values=["华东"])
    Subscription.objects.filter(name="六").update(to_everyone=True)
    pushes["别的"].users.add(make_person())

    assert sorted(lines_of(person)) == sorted(
        [
            ("一", "直接指定、人员组“晨报读者”", ""),
            ("销售额过低", "直接指定", ""),
            ("二", "人员组“晨报读者”", ""),
            ("三", "部门“总部”", ""),
            ("五", "按属性", ""),
            ("六", "所有人", ""),
        ]
    )


def test_a_line_says_what_is_in_the_way(person: User) -> None:
    make_subscription(person, name="甲", report=make_report(corp=make_corp()))
    paused = make_subscription(person, name="乙")
    SubscriptionChoice.objects.create(subscription=paused, user=person, kind="paused", chosen_at=NOW)
    make_subscription(person, name="丙", is_enabled=False)

    assert [(name, obstacle) for name, _why, obstacle in lines_of(person)] == [
        ("乙", "接收人已暂停此推送"),
        ("甲", "内容只面向其他公司"),
    ]


def test_the_last_messages_lead_to_their_receipts(person: User) -> None:
    run = make_run(make_subscription(person, name="日报", report=make_report(title="销售日报")))
    render_run(run_id=run.pk, now=NOW)
    receipt = run.receipts.get()

    page = page_of(person).content.decode()

    assert f'<a href="{reverse("admin:notifications_receipt_change", args=[receipt.pk])}">销售日报</a>' in page
    listed = reverse("admin:notifications_receipt_changelist") + f"?user__id__exact={person.pk}"
    assert f'<a href="{listed}">' in page
    assert [row.pk for row in client_of(make_superuser()).get(listed).context["cl"].result_list] == [receipt.pk]


def test_a_manager_sees_pushes_of_their_companies_only(corp: Corp, person: User) -> None:
    make_subscription(person, name="本公司", report=make_report(corp=corp))
    make_subscription(person, name="所有公司")
    manager = make_manager(corp, permissions="view")
    manager.user_permissions.add(Permission.objects.get(codename="view_user"))

    assert [name for name, _why, _obstacle in lines_of(person, manager)] == ["本公司"]


def test_who_may_see_no_pushes_sees_no_panel(corp: Corp, person: User) -> None:
    make_subscription(person, name="日报")
    manager = make_manager(corp)
    manager.user_permissions.set(Permission.objects.filter(codename="view_user"))

    page = page_of(person, manager)

    assert page.status_code == 200
    assert "日报" not in page.content.decode()
    assert "person-panel" not in page.content.decode()
