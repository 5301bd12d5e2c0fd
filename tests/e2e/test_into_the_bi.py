"""A tap in the workbench opens the BI as oneself, at the page of the link, on the phone and on the PC."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect

from accounts.models import User
from accounts.users.bi_identity import USERNAME
from integrations import bi
from integrations.companies import links
from integrations.models import BiConnection, Corp
from tests.e2e.joined import Joined
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle
from tests.user_agents import WECOM_IOS, WECOM_WINDOWS

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PHONE_PAGE = "/m/page/p1?pageRenderType=phoneView"


@pytest.fixture
def sandbox(joined: Joined) -> SandboxHandle:
    return joined.sandbox


@pytest.fixture
def corp(joined: Joined, sandbox: SandboxHandle) -> Corp:
    """The company with a connected BI."""
    corp = joined.corp
    corp.home_page, corp.home_bi_page = "bi", "page/p1?tab=2"
    corp.save(update_fields=["home_page", "home_bi_page"])
    bi.generate_key(now=timezone.now())
    connection = BiConnection.objects.get()
    connection.base_url, connection.is_enabled = f"{sandbox.base_url}/guandata", True
    connection.external_id_source = USERNAME
    bi.save_connection(connection=connection, changed_fields={"base_url", "external_id_source", "is_enabled"})
    public = bi.public_key(connection)
    assert public is not None
    card = {"card_id": "c1", "name": "每日销售额", "columns": ["日"], "rows": [{"日": 1}]}
    page = {"page_id": "p1", "name": "销售总览", "cards": [card]}
    users = [{"login_id": "LiLei", "name": "李雷"}]
    sandbox.control("PUT", "bi", {"public_key": public[0], "users": users, "pages": [page]})
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"home_url": links.home_page_link(corp)})
    return corp


def phone(browser: Browser, sandbox: SandboxHandle, user_agent: str) -> BrowserContext:
    context = browser.new_context(user_agent=user_agent, locale="zh-CN")
    page = context.new_page()
    page.goto(f"{sandbox.base_url}/phone?corpid={CORPID}&userid=LiLei")
    page.close()
    return context


def assert_in_the_bi(page: Page, path: str, form: str) -> None:
    expect(page.locator("#who-id")).to_have_text("LiLei")
    expect(page.locator("#who-page")).to_have_text(path)
    expect(page.locator("#who-form")).to_have_text(form)
    assert "ssoToken" not in page.url


@pytest.mark.parametrize(
    ("user_agent", "home", "linked", "form"),
    [
        (WECOM_IOS, f"{PHONE_PAGE}&tab=2", f"{PHONE_PAGE}&from=menu", "手机端"),
        (WECOM_WINDOWS, "/page/p1?tab=2", "/page/p1?from=menu", "电脑端"),
    ],
    ids=["phone", "PC"],
)  # fmt: skip
def test_a_tap_in_the_workbench_lands_in_the_bi(
    browser: Browser, sandbox: SandboxHandle, corp: Corp, user_agent: str, home: str, linked: str, form: str
) -> None:
    context = phone(browser, sandbox, user_agent)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.headers.get("referer", "")))

    page = context.new_page()
    page.goto(links.home_page_link(corp))
    assert_in_the_bi(page, home, form)

    page.goto(links.home_page_link(corp, "page/p1?from=menu"))
    assert_in_the_bi(page, linked, form)

    page.go_back()
    page.reload()
    assert_in_the_bi(page, home, form)
    assert not [referrer for referrer in asked if "ssoToken" in referrer or "/bi/" in referrer]
    context.close()


def test_a_form_of_the_bi_is_reached_through_its_first_page(
    browser: Browser, sandbox: SandboxHandle, corp: Corp
) -> None:
    context = phone(browser, sandbox, WECOM_IOS)
    page = context.new_page()

    page.goto(links.home_page_link(corp, "survey-engine"))
    assert_in_the_bi(page, "/?path_url=survey-engine", "电脑端")
    context.close()


def test_somebody_unknown_to_the_bi_reads_its_refusal_and_somebody_without_the_value_ours(
    browser: Browser, sandbox: SandboxHandle, corp: Corp
) -> None:
    context = phone(browser, sandbox, WECOM_IOS)
    page = context.new_page()
    User.objects.filter(username="LiLei").update(username="another")

    page.goto(links.home_page_link(corp))
    expect(page.get_by_role("heading", name="单点登录失败")).to_be_visible()

    BiConnection.objects.update(external_id_source="email")
    page.goto(links.home_page_link(corp))
    expect(page.get_by_role("heading", name="还没有您在 BI 中的账号信息")).to_be_visible()
    expect(page.get_by_text("邮箱").first).to_be_visible()
    page.locator("article .button").click()
    expect(page).to_have_url(re.compile(r"^http://localhost:\d+/$"))
    context.close()
