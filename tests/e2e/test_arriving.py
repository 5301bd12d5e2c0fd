"""Ways to arrive that need a browser: tabs, back, refresh, double tap, refused cookies, no scripts; real programs.

The whole table of ways is in tests/accounts/authentication/test_ways_to_arrive.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, expect

from accounts.models import User
from integrations.companies import links
from notifications.models import Report, Subscription
from tests import user_agents as ua
from tests.chromium import required_chromium
from tests.e2e.joined import Joined

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PASSWORD = "right-password-1"


@pytest.fixture
def opened(browser: Browser, joined: Joined) -> Iterator[Callable[[str], BrowserContext]]:
    """A function that opens a browser with this user agent as Li Lei's WeCom."""
    contexts: list[BrowserContext] = []

    def act(user_agent: str) -> BrowserContext:
        context = browser.new_context(user_agent=user_agent, locale="zh-CN")
        contexts.append(context)
        page = context.new_page()
        page.goto(joined.phone_of("LiLei"))
        page.close()
        return context

    yield act
    for context in contexts:
        context.close()


def passes_of(context: BrowserContext) -> list[str]:
    """Return a list that grows with each callback address with a code that this browser requests."""
    passes: list[str] = []
    context.on("request", lambda request: passes.append(request.url) if "/callback/?" in request.url else None)
    return passes


def assert_on(page: Page, joined: Joined, path: str) -> None:
    """Assert that Li Lei is on the page. Browsers keep the fragment of the authorise address over redirects."""
    expect(page).to_have_url(re.compile(f"^{re.escape(joined.base + path)}(#.*)?$"))
    expect(page.locator(".who")).to_have_text("李雷")


def test_the_console_s_link_back_and_refresh(opened: Callable[[str], BrowserContext], joined: Joined) -> None:
    context = opened(ua.WECOM_IOS)
    page = context.new_page()
    page.goto(links.home_page_link(joined.corp, "account/?tab=2"))
    assert_on(page, joined, "/account/?tab=2")
    passes = passes_of(context)

    page.reload()
    assert_on(page, joined, "/account/?tab=2")
    page.get_by_role("link", name="推送").click()
    assert_on(page, joined, "/subscriptions/")
    page.go_back()
    assert_on(page, joined, "/account/?tab=2")

    assert passes == []


def test_two_tabs_and_a_double_tap_each_land_on_their_page(
    opened: Callable[[str], BrowserContext], joined: Joined
) -> None:
    context = opened(ua.WECOM_ANDROID)
    first, second, third = (context.new_page() for _tab in range(3))

    # Three sign-ins of one browser are under way at the same time.
    for page, path in ((first, "/account/?tab=1"), (second, "/account/?tab=2"), (third, "/account/?tab=2")):
        page.evaluate("address => setTimeout(() => { location.href = address; }, 0)", joined.entry(path))

    assert_on(first, joined, "/account/?tab=1")
    assert_on(second, joined, "/account/?tab=2")
    assert_on(third, joined, "/account/?tab=2")


def test_the_callback_opened_again_lands_where_it_landed(
    opened: Callable[[str], BrowserContext], joined: Joined
) -> None:
    """Repeats the address with the used code, as a double tap in WeCom or the history does."""
    context = opened(ua.WECOM_WINDOWS)
    passes = passes_of(context)
    page = context.new_page()
    page.goto(joined.entry("/account/"))
    assert_on(page, joined, "/account/")
    [used] = passes

    page.goto(used)
    assert_on(page, joined, "/account/")
    assert len(passes) == 2

    # After the session is lost, the person is signed in again after one more redirect.
    context.clear_cookies(name="sessionid")
    page.goto(used)
    assert_on(page, joined, "/account/")
    assert len(passes) == 4


def test_a_browser_that_refuses_cookies_reads_so_and_does_not_turn_in_circles(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any], joined: Joined, tmp_path: Path
) -> None:
    """Uses Chromium's cookie setting, which its headless shell lacks. The sandbox is excepted: it needs its cookie."""
    allowed = {"setting": 1, "last_modified": "13350000000000000"}
    settings = {
        "default_content_setting_values": {"cookies": 2},
        "content_settings": {"exceptions": {"cookies": {"http://127.0.0.1:*,*": allowed, "127.0.0.1,*": allowed}}},
    }
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default" / "Preferences").write_text(json.dumps({"profile": settings}))
    whole = {**browser_type_launch_args, "executable_path": required_chromium()}
    context = browser_type.launch_persistent_context(
        str(tmp_path), **whole, user_agent=ua.WECOM_ANDROID, locale="zh-CN"
    )
    page = context.new_page()
    page.goto(joined.phone_of("LiLei"))
    passes = passes_of(context)

    page.goto(joined.entry("/account/"))

    expect(page.locator("h1")).to_have_text("您的浏览器禁用了 Cookie")
    assert len(passes) == 2
    assert [one["name"] for one in context.cookies() if "localhost" in str(one["domain"])] == []
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
