"""Choosing a card of the BI by page and name instead of an id, without losing what was typed before."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import Card, DataSource
from tests.bi import make_bi
from tests.e2e.policy import refusals_in
from tests.e2e.session import signed_in
from tests.jobs import do_jobs
from tests.sandbox.test_bi import SEED
from tests.sandbox_process import SandboxHandle

FILTERS = '[{"name": "城市", "filterType": "IN", "filterValue": ["上海"]}]'
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def listed(page: Page) -> None:
    """Do the worker's job while the page waits for it."""
    expect(page.get_by_text("正在查询 BI…")).to_be_visible()
    do_jobs()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_card_is_chosen_from_what_the_bi_lists(
    browser: Browser, live_server: LiveServer, running_sandbox: SandboxHandle, javascript: bool
) -> None:
    DataSource.objects.create(name="观远销售卡片", kind="guandata")
    running_sandbox.load({"companies": [], "bi": SEED})
    make_bi(is_enabled=False, base_url=f"{running_sandbox.base_url}/guandata", app_token="app-token")
    context = browser.new_context(locale="zh-CN", viewport={"width": 390, "height": 844})
    refusals = refusals_in(context)
    base = signed_in(context, live_server)
    if not javascript:
        state: Any = context.storage_state()
        context.close()
        context = browser.new_context(java_script_enabled=False, storage_state=state, locale="zh-CN")
    page = context.new_page()
    page.goto(f"{base}/admin/integrations/card/add/")
    page.get_by_role("link", name="观远销售卡片").click()
    if javascript:
        # Django's script moves the focus once it is loaded: text typed before may go into that field.
        expect(page.locator("[name=name]")).to_be_focused()
    page.locator("summary", has_text="高级设置").click()
    page.locator("[name=bi_filters]").fill(FILTERS)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="从 BI 选择…").click()
    tab = opened.value

    for button in ("从 BI 获取", "销售总览"):
        tab.get_by_role("button", name=button).click()
        listed(tab)
        if not javascript:
            tab.get_by_role("link", name="刷新").click()
    card = tab.get_by_role("button", name="每日销售额")
    if javascript:
        card.click()
    else:
        # The list shows the ID, which is typed into the form beside it.
        expect(card.locator("code")).to_have_text("c1")
        for name, value in {"bi_card_id": "c1", "bi_page_id": "p1", "name": "每日销售额"}.items():
            page.locator(f"[name={name}]").fill(value)

    expect(page.locator("[name=bi_card_id]")).to_have_value("c1")
    expect(page.locator("[name=bi_page_id]")).to_have_value("p1")
    expect(page.locator("[name=name]")).to_have_value("每日销售额")
    expect(page.locator("[name=bi_filters]")).to_have_value(FILTERS)
    page.locator("[name=_save]").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    context.close()
    chosen = Card.objects.get(name="每日销售额")
    assert (chosen.bi_card_id, chosen.source) == ("c1", DataSource.objects.get(kind="guandata"))
    assert chosen.bi_filters == json.loads(FILTERS)
    assert refusals == []
