"""Ways to arrive that need a browser: tabs at the same time, and no scripts.

The whole table of ways is in tests/accounts/authentication/test_ways_to_arrive.py.
"""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from accounts.models import User
from notifications.models import Report, Subscription
from tests import user_agents as ua
from tests.e2e.joined import Joined

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PASSWORD = "right-password-1"


def assert_on(page: Page, joined: Joined, path: str) -> None:
    """Assert that Li Lei is on the page. Browsers keep the fragment of the authorise address over redirects."""
    expect(page).to_have_url(re.compile(f"^{re.escape(joined.base + path)}(#.*)?$"))
    expect(page.locator(".who")).to_have_text("李雷")


def test_two_tabs_and_a_double_tap_each_land_on_their_page(browser: Browser, joined: Joined) -> None:
    context = browser.new_context(user_agent=ua.WECOM_ANDROID, locale="zh-CN")
    first, second, third = (context.new_page() for _tab in range(3))
    first.goto(joined.phone_of("LiLei"))

    # Three sign-ins of one browser are under way at the same time.
    for page, path in ((first, "/account/?tab=1"), (second, "/account/?tab=2"), (third, "/account/?tab=2")):
        page.evaluate("address => setTimeout(() => { location.href = address; }, 0)", joined.entry(path))

    assert_on(first, joined, "/account/?tab=1")
    assert_on(second, joined, "/account/?tab=2")
    assert_on(third, joined, "/account/?tab=2")
    context.close()


def test_everything_employees_do_works_without_scripts(browser: Browser, joined: Joined) -> None:
    """Signs in by password, pauses, declines and resumes, searches, changes the language, signs out everywhere."""
    person = User.objects.get(username="LiLei")
    person.set_password(PASSWORD)
    person.save()
    report = Report.objects.create(title="销售日报", body="今日销售额 128 万元。")
    Subscription.objects.create(name="内部", report=report, crontab="0 9 * * *").users.add(person)
    context = browser.new_context(locale="zh-CN", java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()

    page.goto(f"{joined.base}/login/?next=/subscriptions/")
    page.locator("summary").click()
    expect(page.get_by_text("请在企业微信客户端打开链接")).to_be_visible()
    page.fill("[name=username]", "LiLei")
    page.fill("[name=password]", PASSWORD)
    page.check("[name=remember]")
    page.locator("section[aria-labelledby=password] button[type=submit]").click()
    expect(page).to_have_url(f"{joined.base}/subscriptions/")
    for pressed, then in (("暂停", "恢复"), ("恢复", "暂停"), ("不再接收", "重新接收"), ("重新接收", "暂停")):
        page.get_by_role("button", name=pressed).click()
        expect(page.get_by_role("button", name=then)).to_be_visible()
    page.goto(f"{joined.base}/?q=无")
    expect(page.get_by_role("searchbox")).to_have_value("无")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.goto(f"{joined.base}/account/")
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page.locator(".notice")).to_have_text("You have signed out on every device.")
    expect(page.locator("[data-panel-words]")).to_be_empty()
    context.close()
