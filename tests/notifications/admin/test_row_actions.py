"""The last column of lists: what can be done with a row, for whoever may do it."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.models import Card, DataSource
from notifications.models import AlertRule, Delivery, Subscription
from tests.notifications.admin.conftest import World, client_of
from tests.notifications.alerts.rules import make_rule
from tests.notifications.factories import make_corp, make_manager, make_superuser

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]
PUSHES, RULES = "/admin/notifications/subscription/", "/admin/notifications/alertrule/"


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


def find_actions(client: Client, path: str) -> list[str]:
    buttons = client.get(path).text.split('class="row-action" ')[1:]
    return [one.partition('title="')[2].partition('"')[0] for one in buttons]


def test_a_push_is_paused_and_resumed_from_its_row_after_asking(root: Client, world: World) -> None:
    assert find_actions(root, PUSHES) == ["立即执行", "暂停", "复制"]
    page = f"{PUSHES}{world.subscription.pk}/switch/pause/"

    asked = root.get(page)
    assert "1 条消息等待发送" in asked.text
    assert not Subscription.objects.get().is_paused
    answer = root.post(page, {"action": "pause", "apply": "1"})

    assert answer.headers["Location"] == PUSHES
    assert Subscription.objects.get().is_paused
    assert find_actions(root, PUSHES) == ["立即执行", "恢复", "复制"]
    assert Delivery.objects.unsettled().count() == 1
    assert root.get(f"{PUSHES}{world.subscription.pk}/switch/delete/").status_code == 404


def test_whoever_may_not_change_a_push_gets_no_actions_and_is_refused(world: World) -> None:
    reader = client_of(make_manager(world.corp, permissions="view_"))
    stranger = client_of(make_manager(make_corp()))
    page = f"{PUSHES}{world.subscription.pk}/switch/pause/"

    assert find_actions(reader, PUSHES) == []
    for client, status in ((reader, 403), (stranger, 404)):
        assert client.get(page).status_code == status
        assert client.post(page, {"apply": "1"}).status_code == status
    assert not Subscription.objects.get().is_paused


def test_a_rule_is_disabled_and_enabled_from_its_row(root: Client, world: World) -> None:
    card = Card.objects.create(name="销售", source=DataSource.objects.create(name="库", kind="sql", sql_url="x"))
    rule = make_rule(card, corp=world.corp, is_enabled=True)
    page = reverse("admin:notifications_alertrule_switch", args=[rule.pk])
    assert find_actions(root, RULES) == ["事件", "停用"]

    assert root.post(page).headers["Location"] == RULES
    assert not AlertRule.objects.get().is_enabled
    assert find_actions(root, RULES) == ["事件"]  # never checked: its page enables it
    AlertRule.objects.update(checked_slot_at=timezone.now())
    assert find_actions(root, RULES) == ["事件", "启用"]
    root.post(page)

    assert AlertRule.objects.get(is_enabled=True).next_run_at is not None
    assert root.get(page).status_code == 405


def test_other_lists_lead_to_what_a_row_can_do(root: Client, world: World) -> None:
    company = reverse("admin:integrations_corp_changelist")
    assert find_actions(root, company) == ["测试连接", "立即同步通讯录"]
    people = find_actions(root, reverse("admin:accounts_user_changelist"))
    assert set(people) == {"此人收到的消息"}
