"""Group robots and channels in the administration: pasting a webhook, refusals, and keys that are never shown again."""

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Report, Robot, Run, Subscription
from tests.browser_form import read_unchanged_form
from tests.integrations.pages import version_on
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_admin import values
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
)

pytestmark = pytest.mark.django_db
KEY = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
WEBHOOK = f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={KEY}"
ADD = reverse("admin:notifications_robot_add")
ADD_SUBSCRIPTION = reverse("admin:notifications_subscription_add")


@pytest.fixture
def robot(corp: Corp) -> Robot:
    return Robot.objects.create(name="销售群", corp=corp, key=KEY)


def test_the_address_or_the_key_alone_may_be_pasted(root: Client, corp: Corp) -> None:
    for pasted in (f" {WEBHOOK}\n", KEY, f"{WEBHOOK}&debug=1"):
        assert root.post(ADD, {"name": "销售群", "corp": corp.pk, "webhook": pasted}).status_code == 302
        assert Robot.objects.latest("pk").key == KEY
        Robot.objects.all().delete()
    stranger = client_of(make_manager(make_corp(), permissions="robot"))
    stranger.post(ADD, {"name": "别的", "corp": corp.pk, "webhook": WEBHOOK})
    assert not Robot.objects.exists()


@pytest.mark.parametrize("pasted", ["", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send", "short", "http://["])
def test_what_is_no_webhook_is_refused_and_not_repeated(pasted: str, root: Client, corp: Corp) -> None:
    answer = root.post(ADD, {"name": "销售群", "corp": corp.pk, "webhook": pasted})

    assert answer.status_code == 200
    assert not Robot.objects.exists()
    assert not pasted or f'value="{pasted}"' not in answer.content.decode()


def test_the_key_is_encrypted_and_never_shown(root: Client, robot: Robot) -> None:
    pages = [
        root.get(reverse("admin:notifications_robot_change", args=[robot.pk])),
        root.get(reverse("admin:notifications_robot_changelist")),
        root.get(reverse("admin:notifications_robot_history", args=[robot.pk])),
    ]

    assert all(KEY not in page.content.decode() for page in pages)
    with connection.cursor() as cursor:
        cursor.execute("SELECT key FROM notifications_robot")
        assert KEY not in cursor.fetchone()[0]


def test_an_empty_field_leaves_the_stored_key(root: Client, robot: Robot) -> None:
    address = reverse("admin:notifications_robot_change", args=[robot.pk])

    root.post(address, {**read_unchanged_form(root, address), "name": "新名称", "webhook": ""})
    robot.refresh_from_db()
    assert (robot.name, robot.key) == ("新名称", KEY)

    root.post(address, {**read_unchanged_form(root, address), "webhook": "another-key-1"})
    robot.refresh_from_db()
    assert robot.key == "another-key-1"
    entry = AuditEntry.objects.filter(corp=robot.corp).latest("pk")
    assert KEY not in str(entry.changes)
    assert "another-key-1" not in str(entry.changes)


def test_another_key_ends_what_goes_to_the_group_as_another_person_sees_it(corp: Corp, robot: Robot) -> None:
    """People who paste the key of their own group would see there what the owner sees. See `Robot.key`."""
    owner = make_person(corp, "lilei")
    push = make_subscription(owner=owner, report=make_report(corp=corp), channel="robot", robot=robot)
    render_run(run_id=make_run(push).pk, now=NOW)
    waiting, report = Delivery.objects.get(robot=robot), push.report
    Report.objects.update(picture_bi_id="p1", picture_name="看板", picture_shown_as=owner)
    client = client_of(make_manager(corp, permissions="robot"))
    address = reverse("admin:notifications_robot_change", args=[robot.pk])

    client.post(address, {**read_unchanged_form(client, address), "name": "新名称"})
    assert Report.objects.get(picture_shown_as=owner) == report
    client.post(address, {**read_unchanged_form(client, address), "webhook": "another-key-1"})

    for row in (report, waiting, robot):
        row.refresh_from_db()
    assert (robot.key, report.picture_shown_as, waiting.status) == ("another-key-1", None, "canceled")
    notice = Run.objects.get(key__startswith="page-rights:")
    assert notice.requested_by == owner


class TestASubscriptionsChannel:
    def test_a_robot_needs_no_people(self, root: Client, robot: Robot) -> None:
        answer = root.post(
            ADD_SUBSCRIPTION, values(make_report(), channel="robot", robot=robot.pk, fallback_channel="email")
        )

        assert answer.status_code == 302
        subscription = Subscription.objects.get()
        assert (subscription.robot, subscription.fallback_channel) == (robot, "")
        asked = root.get(reverse("admin:notifications_subscription_run", args=[subscription.pk]))
        assert "销售群" in asked.content.decode()

    def test_without_a_robot_or_with_one_of_another_company_it_is_refused(self, root: Client, robot: Robot) -> None:
        mine = make_corp()
        limited = client_of(make_manager(mine, permissions="subscription"))

        none = root.post(ADD_SUBSCRIPTION, values(make_report(), channel="robot"))
        other = root.post(ADD_SUBSCRIPTION, values(make_report(corp=mine), channel="robot", robot=robot.pk))
        limited.post(ADD_SUBSCRIPTION, values(make_report(corp=mine), channel="robot", robot=robot.pk))

        assert "请选择群机器人" in none.content.decode()
        assert "不是同一家公司" in other.content.decode()
        assert not Subscription.objects.exists()

    def test_another_channel_leaves_no_robot_behind(self, root: Client, robot: Robot, corp: Corp) -> None:
        person = make_person(corp, "lilei")
        subscription = make_subscription(person, channel="robot", robot=robot)
        address = reverse("admin:notifications_subscription_change", args=[subscription.pk])

        sent = values(subscription.report, person, channel="wecom", robot=robot.pk)
        root.post(address, {**sent, "page_version": version_on(root, address)})

        subscription.refresh_from_db()
        assert (subscription.channel, subscription.robot) == ("wecom", None)

    def test_by_mail_people_with_an_address_are_reached(self, root: Client) -> None:
        person = make_person(email="a@example.com")

        refused = root.post(ADD_SUBSCRIPTION, values(make_report(), make_person(), channel="email"))
        root.post(ADD_SUBSCRIPTION, values(make_report(), person, channel="email"))

        assert "没有邮箱地址" in refused.content.decode()
        assert Subscription.objects.get().users.get() == person
