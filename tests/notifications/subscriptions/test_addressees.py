"""Lists say in a few words whom pushes and alert receivers name."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from accounts.models import Attribute
from integrations.models import Department
from notifications.models import AlertReceiver, AttributeRule, Robot, Subscription
from notifications.subscriptions.addressees import describe_addressees
from tests.notifications.factories import make_corp, make_manager, make_person, make_subscription, make_superuser

pytestmark = pytest.mark.django_db


def words_of(order: Subscription | AlertReceiver, seen_by: Any = None) -> str:
    return describe_addressees([order], type(order), seen_by=seen_by or make_superuser())[order.pk]


def test_a_few_are_named_and_many_are_counted() -> None:
    people = [make_person(name=name) for name in ("李雷", "韩梅梅", "林涛")]

    assert words_of(make_subscription(*people[:2])) == "李雷、韩梅梅"
    assert words_of(make_subscription(*people)) == "3 人"


def test_every_kind_of_recipient_is_said() -> None:
    corp, region = make_corp(), Attribute.objects.create(key="region", name="区域")
    push = make_subscription(to_everyone=True)
    push.departments.add(Department.objects.create(corp=corp, wecom_department_id=1, name="销售部"))
    push.groups.add(*(Group.objects.create(name=f"组{number}") for number in range(3)))
    AttributeRule.objects.create(
        subscription=push, attribute=region, operator="one_of", values=["华东", "华南", "华北"]
    )

    assert words_of(push) == "所有人、销售部、3 个组、区域属于华东、华南、…"


def test_a_robot_has_its_group_and_an_empty_order_nobody() -> None:
    robot = Robot.objects.create(name="群", corp=make_corp(), key="k")

    assert words_of(make_subscription(channel="robot", robot=robot)) == "群机器人所在的群"
    assert words_of(make_subscription()) == "无人"


def test_people_whom_one_does_not_see_are_counted() -> None:
    corp = make_corp()
    push = make_subscription(make_person(make_corp(), "a", name="李雷"))

    assert words_of(push, make_manager(corp)) == "1 人"


def test_receivers_are_described_alike() -> None:
    receiver = AlertReceiver.objects.create(name="值班")
    receiver.users.add(make_person(name="李雷"))

    assert words_of(receiver) == "李雷"


def test_many_take_as_many_queries_as_one(django_assert_num_queries: Any) -> None:
    pushes, root = [make_subscription(make_person()) for _number in range(5)], make_superuser()

    with django_assert_num_queries(5):
        describe_addressees(pushes, Subscription, seen_by=root)
