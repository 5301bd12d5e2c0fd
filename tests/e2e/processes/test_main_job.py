"""The main job of employees: real Chromium, real processes, real HTTP."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from accounts.models import WeComAccount
from integrations.companies import links
from integrations.models import Corp, SiteAddress
from notifications.models import Receipt, Report, Run, Subscription
from tests.e2e.console import PASSWORD, Console
from tests.e2e.phones import home_url, phone_of, tap_app
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually, until_loaded
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

pytestmark = [pytest.mark.e2e, pytest.mark.processes]

SECOND = {"corpid": "ww0000000000000002", "name": "南河贸易"}


def connect_companies(stack: Stack) -> Corp:
    """Connect two companies of the sandbox, with a person of the first, which is returned."""
    SiteAddress.objects.filter(is_default=True).update(url=f"{stack.web_url}/")
    ways = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), stack.sandbox.base_url)
    known = {"agentid": AGENTID, "secret": SECRET, "is_enabled": True, **ways}
    corp = Corp.objects.create(name="北山制造", corpid=CORPID, **known)
    Corp.objects.create(**SECOND, **known)
    domain, home = f"localhost:{stack.web_port}", links.build_home_page_link(corp)
    app = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain, "home_url": home}
    stack.sandbox.load({"companies": [company(apps=[app]), {**company(apps=[app]), **SECOND}]})
    person = get_user_model().objects.create_user("lilei", name="李雷")
    WeComAccount.objects.create(user=person, corp=corp, userid="LiLei")
    return corp


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


def due_now(push: Subscription) -> None:
    this_minute = timezone.now().replace(second=0, microsecond=0)
    Subscription.objects.filter(pk=push.pk).update(next_run_at=this_minute)


@pytest.mark.django_db(transaction=True)
def test_an_employee_signs_in_a_report_arrives_and_a_disabled_company_stops_both(
    stack: Stack, browser: Browser
) -> None:
    corp = connect_companies(stack)

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
    report = Report.objects.create(title="销售日报", body="今日销售额 128 万元。")
    push = Subscription.objects.create(name="每分钟", report=report, to_everyone=True, crontab="* * * * *")
    due_now(push)
    messages = eventually(lambda: stack.sandbox.messages(CORPID, "lilei"), stack.programs.values())
    assert messages[0]["textcard"]["title"] == "销售日报"
    phone.pages[0].goto(messages[0]["textcard"]["url"])
    expect(phone.pages[0].locator("body")).to_contain_text("今日销售额 128 万元。")

    # Disabling the company stops sign-in and pushes; every slot so far has arrived exactly once.
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    console = Console(browser.new_context(locale="zh-CN").new_page(), stack)
    console.sign_in("root")
    console.open(f"integrations/corp/{corp.pk}/disable/")
    console.page.click("form.confirm [type=submit]")
    expect(console.page.locator(".messagelist .success")).to_be_visible()
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
    console.open(f"notifications/subscription/{push.pk}/run/")
    expect(console.page.locator("#content-main")).to_contain_text("公司已停用")
    # Only runs of the subscription count: the notice to its owner, who has no account, skips somebody, too.
    skipping = Run.objects.filter(subscription=push, status=Run.Status.FINISHED, skipped_count=1)
    due_now(push)
    run = eventually(skipping.first, stack.programs.values())
    assert list(run.receipts.values_list("status", "reason")) == [("skipped", "corp_disabled")]
    assert len(stack.sandbox.messages(CORPID, "lilei")) == arrived
