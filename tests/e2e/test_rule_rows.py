"""Buttons of a subscription's form add and remove attribute rules, under the strict Content-Security-Policy."""

from __future__ import annotations

from typing import Any

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


@pytest.fixture
def browser_context_args() -> dict[str, Any]:
    """Read by pytest-playwright."""
    return {"locale": "zh-CN"}


def test_a_rule_in_an_added_row_is_saved(live_server: LiveServer, page: Page) -> None:
    title = Attribute.objects.create(key="title", name="职位")
    subscription = make_subscription(make_person(make_corp(), "ann"))
    address = signed_in(page.context, live_server)
    page.goto(f"{address}/admin/notifications/subscription/{subscription.pk}/change/")
    until_data_is_listed(page)
    page.get_by_text("更多接收人、送达与重试").click()
    rows, button = page.locator(".attribute-rule"), page.get_by_role("button", name="添加规则")
    expect(rows).to_have_count(2)

    button.click()
    added = page.get_by_role("group", name="规则 3")
    added.get_by_label("用户属性").select_option(label="职位")
    added.get_by_label("属性值").fill("经理")
    for _ in range(RULES_AT_MOST - 3):
        button.press("Enter")
    expect(rows).to_have_count(RULES_AT_MOST)
    expect(button).to_be_hidden()
    page.locator("[name=_enable]").click()

    expect(page.locator(".messagelist .success")).to_be_visible()
    [rule] = read_rules(subscription)
    assert (rule.attribute, rule.values) == (title, ("经理",))


def test_a_removed_rule_is_gone_and_the_preview_is_made_anew(live_server: LiveServer, page: Page) -> None:
    title = Attribute.objects.create(key="title", name="职位")
    subscription = make_subscription(make_person(make_corp(), "ann"))
    first, second = (Rule(title, Operator.IS, (value,)) for value in ("经理", "助理"))
    save_rules(subscription, [first, second])
    address = signed_in(page.context, live_server)
    page.goto(f"{address}/admin/notifications/subscription/{subscription.pk}/change/")
    until_data_is_listed(page)

    page.get_by_text("更多接收人、送达与重试").click()
    with page.expect_response("**/outlook/"):
        page.get_by_role("group", name="规则 1").get_by_role("button", name="移除这条规则").click()
    expect(page.locator(".attribute-rule")).to_have_count(3)
    expect(page.get_by_role("group", name="规则 1").get_by_label("属性值")).to_have_value("助理")
    page.locator("[name=_enable]").click()

    expect(page.locator(".messagelist .success")).to_be_visible()
    assert read_rules(subscription) == (second,)
