"""The main job, as an administrator and an employee live it: real Chromium, real processes, real HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, BrowserContext, Page, expect

from notifications.models import Receipt, Run
from tests.e2e.console import PASSWORD, Console
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually, until_loaded
from tests.sandbox_process import AGENTID, CORPID, SECRET, company
from tests.user_agents import WECOM_ANDROID

pytestmark = [pytest.mark.e2e, pytest.mark.processes]

SECOND = {"corpid": "ww0000000000000002", "name": "南河贸易"}
SECOND_SECRET = "sandbox-secret-of-the-second-app"


@pytest.fixture
def administrator_page(stack: Stack, browser: Browser) -> Iterator[Page]:
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    yield page
    context.close()


def sandbox_apps(stack: Stack) -> None:
    """Both companies' consoles: the app's domains are our site's."""
    domain = f"localhost:{stack.web_port}"
    first = company()
    second = {**company(), **SECOND}
    for values, secret in ((first, SECRET), (second, SECOND_SECRET)):
        app = {**values["apps"][0], "secret": secret, "trusted_domain": domain, "callback_domain": domain}
        values["apps"] = [app]
    stack.sandbox.load({"companies": [first, second]})


def phone_of(browser: Browser, stack: Stack, userid: str) -> BrowserContext:
    """A phone with WeCom: its browser says so, and the sandbox knows who holds it."""
    context = browser.new_context(user_agent=WECOM_ANDROID, viewport={"width": 390, "height": 844}, locale="zh-CN")
    page = context.new_page()
    page.goto(f"{stack.sandbox.base_url}/phone?corpid={CORPID}&userid={userid}")
    return context


def home_url(stack: Stack) -> re.Pattern[str]:
    """Our home page; browsers keep the fragment of the authorise address over redirects."""
    return re.compile(rf"^{re.escape(stack.web_url)}/(#wechat_redirect)?$")


def tap_app(context: BrowserContext, stack: Stack) -> Page:
    """Tap the app in the workbench: the page that it opens."""
    page = context.pages[0]
    page.goto(f"{stack.sandbox.base_url}/phone/workbench")
    with context.expect_page() as opened:
        page.get_by_role("link", name="观远BI").click()
    opened.value.wait_for_load_state()
    return opened.value


def scan(page: Page, stack: Stack, *, corp: str, userid: str) -> None:
    """Sign in on the web login page by QR code, company chosen first."""
    page.goto(f"{stack.web_url}/login/")
    page.locator("section[aria-labelledby=wecom] a").last.click()
    page.get_by_role("link", name=corp).click()
    until_loaded(page.locator("[data-panel-frame] iframe"))
    panel = page.frame_locator("[data-panel-frame] iframe")
    panel.locator("#search").fill(userid)
    expect(panel.locator("#people button")).to_have_count(1)  # the list is drawn anew: a click meanwhile is lost
    panel.locator(f"#people [data-userid={userid}]").click()
    panel.locator("#approve").click()


@pytest.mark.django_db(transaction=True)
def test_a_company_is_connected_an_employee_signs_in_and_a_report_arrives(
    stack: Stack, browser: Browser, administrator_page: Page
) -> None:
    sandbox_apps(stack)
    get_user_model().objects.create_user("lilei", name="李雷")
    console = Console(administrator_page, stack)

    # An administrator connects two companies and links a person.
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
    console.add_corp(name="南河贸易", corpid=SECOND["corpid"], agentid=AGENTID, secret=SECOND_SECRET)
    console.test_connection()
    console.write_into_wecom()
    console.expect_ready()
    console.switch_corp("南河贸易", "enable")
    console.link("lilei", corp="北山制造", userid="LiLei")
    assert stack.sandbox.control("GET", "state")["companies"][0]["apps"][0]["home_url"] == home_page_link

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
    messages = eventually(lambda: stack.sandbox.messages(CORPID, "lilei"), stack.programs.values(), seconds=240)
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
    # One company is left to choose from, so the browser goes straight to that one's QR code.
    desktop.goto(f"{stack.web_url}/login/company/")
    expect(desktop.locator("main")).to_contain_text("南河贸易")
    expect(desktop.locator("main")).not_to_contain_text("北山制造")
    arrived = len(stack.sandbox.messages(CORPID, "lilei"))
    assert arrived == Receipt.objects.filter(delivery__status="accepted", status="").count()
    console.open_run_now("每分钟")
    expect(console.page.locator("#content-main")).to_contain_text("公司已停用")
    # Of the subscription: the notice to its owner, who has no account, is a run that skips somebody, too.
    skipping = Run.objects.filter(subscription__name="每分钟", status=Run.Status.FINISHED, skipped_count=1)
    run = eventually(skipping.first, stack.programs.values(), seconds=240)
    assert list(run.receipts.values_list("status", "reason")) == [("skipped", "corp_disabled")]
    assert len(stack.sandbox.messages(CORPID, "lilei")) == arrived
