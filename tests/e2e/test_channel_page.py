"""The page of an inbound channel in a real browser: from the first call and picked fields to a phone."""

import pytest
import requests
from playwright.sync_api import BrowserContext, expect
from pytest_django.live_server_helper import LiveServer

from notifications.models import InboundChannel, IncomingMessage
from tests.e2e.axe import assert_no_faults
from tests.e2e.policy import refusals_in
from tests.e2e.session import signed_in
from tests.notifications.factories import make_corp, make_person
from tests.notifications.inbound.channels import read_example

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
LIST = "/admin/notifications/inboundchannel/"
INPUTS_AT_MOST = 8


def test_from_nothing_to_an_enabled_channel_by_clicks(desk: BrowserContext, live_server: LiveServer) -> None:
    page = desk.new_page()
    person = make_person(make_corp(), "lilei", name="李雷")
    refusals = refusals_in(desk)
    root = signed_in(desk, live_server)

    # The sender is chosen; address and secret are shown to be copied.
    page.goto(f"{root}{LIST}add/")
    page.get_by_label("名称").fill("观远推送")
    page.get_by_role("radio", name="观远（自定义推送渠道）").check()
    page.get_by_role("button", name="保存", exact=True).click()
    address = page.locator("#channel-address").input_value()
    assert "?token=gwi_" in address
    page.get_by_role("link", name="已保存，继续").click()

    # The page waits, and shows the first call by itself.
    expect(page.locator(".channel-waiting")).to_be_visible()
    form = page.locator("#inboundchannel_form")
    visible = form.locator("input:visible:not([readonly]), select:visible, textarea:visible, [role=textbox]:visible")
    names = visible.evaluate_all("all => all.map((one) => one.name || one.className || one.id)")
    assert len([name for name in names if "select2" not in name]) <= INPUTS_AT_MOST, names
    body, kind = read_example("guandata")
    path = f"/in/{InboundChannel.objects.get().public_id}?{address.partition('?')[2]}"
    noted = requests.post(root + path, body, headers={"Content-Type": kind}, timeout=30)
    assert noted.json() == {"status": "noted"}
    expect(page.locator(".payload-tree")).to_contain_text("subscriptionName")

    # Fields are picked by clicks and keys.
    page.get_by_role("textbox", name="标题").click()
    page.get_by_role("button", name="subscriptionName").click()
    text = page.get_by_role("textbox", name="正文")
    text.click()
    page.keyboard.type("今日：")
    page.get_by_role("button", name="content", exact=True).focus()
    page.keyboard.press("Enter")
    expect(text.locator(".template-chip")).to_have_text(["content"])
    page.get_by_label("谁会收到").select_option("user")
    page.get_by_role("button", name="receivers", exact=True).click()
    expect(page.get_by_label("接收人所在字段")).to_have_value("receivers")
    expect(page.locator("[data-trial] .phone-title")).to_have_text("门店日报")
    expect(page.locator("[data-trial]")).to_contain_text("不在通道可触达范围内：zhangwei")
    page.get_by_label("谁会收到").select_option("")
    page.locator(".field-users .select2-search__field").fill("李雷")
    page.locator(".select2-results__option", has_text="李雷").click()
    expect(page.locator("[data-trial]")).to_contain_text("1 人会收到")
    assert_no_faults(page)
    refusals.clear()  # caused by axe-core
    page.get_by_role("button", name="保存并启用").click()
    expect(page.locator(".messagelist .success")).to_be_visible()

    # From now on calls become messages.
    answer = requests.post(root + path, body, headers={"Content-Type": kind}, timeout=30)
    assert answer.json()["status"] == "accepted"
    message = IncomingMessage.objects.get()
    assert (message.title, message.text) == ("门店日报", "今日：昨日销售额 12.3 万元，环比 ↑5.0%")
    assert list(message.people.all()) == [person]
    assert refusals == []
