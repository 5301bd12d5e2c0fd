"""The main job of administrators and employees: real Chromium, real processes, real HTTP."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from integrations.models import Corp
from notifications.models import Receipt, Run, Subscription
from tests.e2e.console import PASSWORD, Console
from tests.e2e.phones import home_url, phone_of, tap_app
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually, until_loaded
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

pytestmark = [pytest.mark.e2e, pytest.mark.processes]

SECOND = {"corpid": "ww0000000000000002", "name": "南河贸易"}


def sandbox_apps(stack: Stack) -> None:
    """Create both companies in the sandbox, with our site as the domain of their apps."""
    domain = f"localhost:{stack.web_port}"
    app = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain}
    stack.sandbox.load({"companies": [company(apps=[app]), {**company(apps=[app]), **SECOND}]})


def scan(page: Page, stack: Stack, *, corp: str, userid: str) -> None:
    """Sign in on the web login page by QR code, after choosing the company."""
    page.goto(f"{stack.web_url}/login/")
    page.locator("section[aria-labelledby=wecom] a").last.click()
    page.get_by_role("link", name=corp).click()
    until_loaded(page.locator("[data-panel-frame] iframe"))
    panel = page.frame_locator("[data-panel-frame] iframe")
    panel.locator("#search").fill(userid)
    expect(panel.locator("#people button")).to_have_count(1)  # the list is drawn again, and a click before that is lost
    panel.locator(f"#people [data-userid={userid}]").click()
    panel.locator("#approve").click()


def due_now(name: str) -> None:
    this_minute = timezone.now().replace(second=0, microsecond=0)
    Subscription.objects.filter(name=name).update(next_run_at=this_minute)


def connect_company(console: Console, stack: Stack) -> None:
    """Connect a company as an administrator, whose first Secret is wrong, and link a person of it."""
    console.sign_in("root")
    console.save_site_address()
    console.add_corp(name="北山制造", corpid=CORPID, agentid=AGENTID, secret="wrong-secret")
    expect(console.test_connection().locator(".pill-bad")).to_be_visible()
    console.page.fill("[name=new_secret]", SECRET)
    with console.page.expect_navigation():
        console.page.click("[name=_save]")
    expect(console.test_connection().locator(".pill").first).to_have_class("pill pill-good")
    home_page_link = console.page.input_value("#value-home-page")
    assert console.page.input_value("#value-domain") == f"localhost:{stack.web_port}"
    console.write_into_wecom()
    console.expect_ready()
    console.switch_corp("北山制造", "enable")
    ways = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), stack.sandbox.base_url)
    Corp.objects.create(**SECOND, agentid=AGENTID, secret=SECRET, is_enabled=True, **ways)
    console.link("lilei", corp="北山制造", userid="LiLei")
    assert stack.sandbox.control("GET", "state")["companies"][0]["apps"][0]["home_url"] == home_page_link


@pytest.mark.django_db(transaction=True)
def test_a_company_is_connected_an_employee_signs_in_and_a_report_arrives(stack: Stack, browser: Browser) -> None:
    sandbox_apps(stack)
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    get_user_model().objects.create_user("lilei", name="李雷")
    console = Console(browser.new_context(locale="zh-CN").new_page(), stack)

    connect_company(console, stack)

    # The person signs in from the workbench, and by QR code with two companies to choose from.
    phone = phone_of(browser, stack, "lilei")
    home = tap_app(phone, stack)
    expect(home).to_have_url(home_url(stack))
    expect(home.locator("body")).to_contain_text("李雷")
    desktop = browser.new_context(locale="zh-CN").new_page()
    scan(desktop, stack, corp="北山制造", userid="LiLei")
    expect(desktop).to_have_url(home_url(stack))
    expect(desktop.locator("body")).to_contain_text("李雷")

    # A subscription that is due this minute arrives once, and opens in one tap.
    console.add_push(name="每分钟", title="销售日报", body="今日销售额 128 万元。", crontab="* * * * *")
    due_now("每分钟")
    messages = eventually(lambda: stack.sandbox.messages(CORPID, "lilei"), stack.programs.values())
    assert messages[0]["textcard"]["title"] == "销售日报"
    phone.pages[0].goto(messages[0]["textcard"]["url"])
    expect(phone.pages[0].locator("body")).to_contain_text("今日销售额 128 万元。")

    # Disabling the company stops sign-in and pushes; every slot so far has arrived exactly once.
    console.switch_corp("北山制造", "disable")
    refused = tap_app(phone_of(browser, stack, "lilei"), stack)
    expect(refused.locator("h1")).to_have_text("企业微信登录已关闭")
    assert refused.request.get(refused.url).status == 403
    desktop.goto(f"{stack.web_url}/")
    expect(desktop).to_have_url(re.compile("/login/"))
    # Only one company is left, so the browser goes straight to its QR code.
    desktop.goto(f"{stack.web_url}/login/company/")
    expect(desktop.locator("main")).to_contain_text("南河贸易")
    expect(desktop.locator("main")).not_to_contain_text("北山制造")
    arrived = len(stack.sandbox.messages(CORPID, "lilei"))
    assert arrived == Receipt.objects.filter(delivery__status="accepted", status="").count()
    console.open_run_now("每分钟")
    expect(console.page.locator("#content-main")).to_contain_text("公司已停用")
    # Only runs of the subscription count: the notice to its owner, who has no account, skips somebody, too.
    skipping = Run.objects.filter(subscription__name="每分钟", status=Run.Status.FINISHED, skipped_count=1)
    due_now("每分钟")
    run = eventually(skipping.first, stack.programs.values())
    assert list(run.receipts.values_list("status", "reason")) == [("skipped", "corp_disabled")]
    assert len(stack.sandbox.messages(CORPID, "lilei")) == arrived
