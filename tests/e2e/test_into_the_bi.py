"""A tap in the workbench opens the BI as oneself, at the page of the link.

The PC, forms and refusals are in tests/accounts/authentication/test_ways_to_arrive.py.
"""

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from accounts.users.bi_identity import USERNAME
from integrations import bi
from integrations.companies import links
from integrations.models import BiConnection, Corp
from tests.e2e.joined import Joined
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle
from tests.user_agents import WECOM_IOS

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


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
    public = bi.format_public_keys(connection)
    assert public is not None
    card = {"card_id": "c1", "name": "每日销售额", "columns": ["日"], "rows": [{"日": 1}]}
    page = {"page_id": "p1", "name": "销售总览", "cards": [card]}
    users = [{"login_id": "LiLei", "name": "李雷"}]
    sandbox.control("PUT", "bi", {"public_key": public[0], "users": users, "pages": [page]})
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"home_url": links.build_home_page_link(corp)})
    return corp


def assert_in_the_bi(page: Page, query: str) -> None:
    expect(page.locator("#who-id")).to_have_text("LiLei")
    expect(page.locator("#who-page")).to_have_text(f"/m/page/p1?pageRenderType=phoneView&{query}")
    assert "ssoToken" not in page.url


def test_a_tap_in_the_workbench_lands_in_the_bi(browser: Browser, sandbox: SandboxHandle, corp: Corp) -> None:
    context = browser.new_context(user_agent=WECOM_IOS, locale="zh-CN")
    page = context.new_page()
    page.goto(f"{sandbox.base_url}/phone?corpid={CORPID}&userid=LiLei")
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.headers.get("referer", "")))

    page.goto(links.build_home_page_link(corp))
    assert_in_the_bi(page, "tab=2")

    page.goto(links.build_home_page_link(corp, "page/p1?from=menu"))
    assert_in_the_bi(page, "from=menu")

    page.go_back()
    page.reload()
    assert_in_the_bi(page, "tab=2")
    assert not [referrer for referrer in asked if "ssoToken" in referrer or "/bi/" in referrer]
    context.close()
