"""Somebody outside the app's visible scope, and a server whose address WeCom does not trust: what one sees, and the way
out of it, in a real browser against the sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from accounts.models import User, WeComAccount
from tests import user_agents as ua
from tests.e2e.joined import Joined
from tests.sandbox_process import AGENTID, CORPID

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
APP = f"companies/{CORPID}/apps/{AGENTID}"


@pytest.fixture
def jim(joined: Joined) -> User:
    """Linked here; in WeCom the app is not visible to him."""
    joined.sandbox.control("PATCH", APP, {"scope": {"userids": ["LiLei"]}})
    person = User.objects.create(username="jim", name="吉姆")
    WeComAccount.objects.create(user=person, corp=joined.corp, userid="jim")
    return person


@pytest.fixture
def phone(browser: Browser, joined: Joined) -> Iterator[BrowserContext]:
    """WeCom on the phone that Jim holds."""
    context = browser.new_context(user_agent=ua.WECOM_IOS, locale="zh-CN", viewport={"width": 390, "height": 844})
    context.new_page().goto(joined.phone_of("jim"))
    yield context
    context.close()


@pytest.fixture
def browser_context_args() -> dict[str, Any]:
    return {"locale": "zh-CN"}


def test_inside_wecom_the_page_says_who_can_add_the_person_and_where(
    phone: BrowserContext, joined: Joined, jim: User
) -> None:
    page = phone.pages[0]
    answer = page.goto(joined.entry("/"))
    assert answer is not None

    assert answer.status == 403
    expect(page.locator("h1")).to_have_text("您不在该应用的可见范围内")
    card = page.locator(".card")
    expect(card).to_contain_text("你暂无权限登陆此应用")
    expect(card).to_contain_text("企业微信管理员")
    expect(card).to_contain_text("应用管理 → 该应用 → 可见范围")
    expect(card.locator(".hand-over")).to_have_text("jim")

    joined.sandbox.control("PATCH", APP, {"scope": {"userids": ["LiLei", "jim"]}})
    page.get_by_role("link", name="重新登录").click()
    expect(page.locator(".who")).to_have_text("吉姆")


def test_who_scans_is_refused_by_wecom_and_finds_its_words_on_the_login_page(
    page: Page, joined: Joined, jim: User
) -> None:
    page.goto(f"{joined.base}/login/")
    with page.expect_navigation():  # its script, too: a click before it is lost
        page.locator("[data-plain-link]").click()
    page.get_by_role("button", name=re.compile("jim$")).click()
    with page.expect_response(lambda response: response.status == 403):
        page.get_by_role("button", name="确认登录").click()
    expect(page.locator("body")).to_contain_text("无权限")

    page.goto(f"{joined.base}/login/")
    page.locator("details.details summary").click()
    entry = page.locator("details.details dl > div", has_text="你暂无权限登陆此应用")
    expect(entry.locator("dd")).to_be_visible()
    expect(entry.locator("dd")).to_contain_text("“应用管理 → 应用 → 可见范围”")


def test_a_server_that_is_not_trusted_is_told_with_its_address(page: Page, joined: Joined, jim: User) -> None:
    joined.sandbox.control("PATCH", APP, {"trusted_ips": [], "scope": {"userids": ["jim"]}})
    page.goto(f"{joined.base}/login/")
    with page.expect_navigation():  # its script, too: a click before it is lost
        page.locator("[data-plain-link]").click()
    page.get_by_role("button", name=re.compile("jim$")).click()
    page.get_by_role("button", name="确认登录").click()

    expect(page.locator("h1")).to_have_text("企业微信不信任本服务器的 IP 地址")
    card = page.locator(".card")
    expect(card).to_contain_text("not allow to access from your ip")
    expect(card).to_contain_text("企业可信IP")
    expect(card.locator(".hand-over").last).to_have_text("127.0.0.1")
