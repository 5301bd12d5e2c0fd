"""Buttons of a subscription's form add and remove attribute rules, under the strict Content-Security-Policy."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Attribute
from notifications.models import Operator
from notifications.models.subscriptions import RULES_AT_MOST
from notifications.sources import Rule
from notifications.subscriptions.recipients import read_rules, save_rules
from tests.e2e.session import signed_in
from tests.e2e.waiting import until_data_is_listed
from tests.notifications.factories import make_corp, make_person, make_subscription

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def test_rules_are_added_and_removed_by_buttons(live_server: LiveServer, page: Page) -> None:
    title = Attribute.objects.create(key="title", name="职位")
    subscription = make_subscription(make_person(make_corp(), "ann"))
    first, second = (Rule(title, Operator.IS, (value,)) for value in ("经理", "助理"))
    save_rules(subscription, [first, second])
    page.goto(f"{signed_in(page.context, live_server)}/admin/notifications/subscription/{subscription.pk}/change/")
    until_data_is_listed(page)
    page.get_by_text("更多接收人、送达与重试").click()
    rows, button = page.locator(".attribute-rule"), page.get_by_role("button", name="添加规则")
    before = rows.count()

    with page.expect_response("**/outlook/"):
        page.get_by_role("group", name="规则 1").get_by_role("button", name="移除这条规则").click()
    expect(rows).to_have_count(before - 1)
    expect(page.get_by_role("group", name="规则 1").get_by_label("属性值")).to_have_value("助理")
    for _ in range(RULES_AT_MOST - before + 1):
        button.press("Enter")
    expect(rows).to_have_count(RULES_AT_MOST)
    expect(button).to_be_hidden()
    added = page.get_by_role("group", name=f"规则 {RULES_AT_MOST}")
    added.get_by_label("用户属性").select_option(label="职位")
    added.get_by_label("属性值").fill("总监")
    page.locator("[name=_enable]").click()

    expect(page.locator(".messagelist .success")).to_be_visible()
    assert read_rules(subscription) == (second, Rule(title, Operator.IS, ("总监",)))
