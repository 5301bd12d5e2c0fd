"""Pages keep to their Content-Security-Policy: Chromium reports each violation.

test_admin_accessibility.py walks all pages and listens for the same.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.core import http
from integrations.models import Corp, SiteAddress
from tests.e2e.pages import PASSWORD, Rows, make_rows
from tests.e2e.policy import refusals_in
from tests.e2e.waiting import until_data_is_listed
from tests.user_agents import WECOM_ANDROID

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def violations(context: BrowserContext) -> list[str]:
    """The violations of this test's pages."""
    return refusals_in(context)


@pytest.fixture
def base(live_server: LiveServer) -> str:
    return live_server.url.replace("127.0.0.1", "localhost")


@pytest.fixture
def rows(transactional_db: None) -> Rows:
    return make_rows()


@pytest.fixture
def sign_in(page: Page, base: str) -> Callable[[str], None]:
    def act(username: str) -> None:
        page.goto(f"{base}/login/?stay=1")
        page.fill("[name=username]", username)
        page.fill("[name=password]", PASSWORD)
        page.locator("section[aria-labelledby=password] button[type=submit]").click()
        expect(page.locator("section[aria-labelledby=password]")).to_have_count(0)

    return act


def test_the_listener_hears_of_a_violation(page: Page, base: str, violations: list[str]) -> None:
    page.goto(f"{base}/login/?stay=1")

    page.evaluate(
        """() => new Promise((heard) => {
          document.addEventListener("securitypolicyviolation", () => heard(), { once: true });
          document.body.insertAdjacentHTML("beforeend", '<p style="color: red">x</p>');
        })"""
    )

    assert [line.split()[:3] for line in violations] == [["/login/", "style-src-attr", "inline"]]


def test_no_widget_of_the_admin_breaks_the_policy(
    page: Page, base: str, rows: Rows, violations: list[str], sign_in: Callable[[str], None], settings: Any
) -> None:
    sign_in("root")
    page.goto(f"{base}/admin/notifications/subscription/{rows.subscription.pk}/change/")
    until_data_is_listed(page)

    page.click(".field-users .select2-selection")
    page.locator(".field-users .select2-search__field").press_sequentially("lilei")
    page.locator(".select2-results__option", has_text="李雷").click()
    page.keyboard.press("Escape")  # an open list closes on mouse down and moves the target away
    page.get_by_text("时区、节假日与不发送的情况").click()
    page.locator(".field-valid_from [type=date]").first.fill("2026-12-15")
    page.locator(".field-valid_from [placeholder='09:00']").first.fill("09:00")
    page.click("#user-tools > summary")
    page.click(".theme-toggle >> nth=0")
    page.goto(f"{base}/admin/accounts/user/")
    page.locator("#result_list tbody .action-select").first.check()
    page.select_option("[name=action]", "set_company")
    page.click(".actions button[type=submit]")
    page.goto(f"{base}/admin/accounts/user/")
    page.fill("#searchbar", "lilei")
    page.press("#searchbar", "Enter")
    page.goto(f"{base}/admin/accounts/user/{rows.person.pk}/change/")
    page.locator(".inline-group .add-row a").click()
    page.goto(f"{base}/admin/accounts/user/add/")
    page.fill("[name=username]", "hanmeimei")
    page.check("[name=usable_password][value=true]")
    page.fill("[name=password1]", PASSWORD)
    # The page of somebody who is locked out.
    settings.LOCKOUT_TRIES = 1
    page.context.clear_cookies()
    page.goto(f"{base}/login/?stay=1")
    page.fill("[name=username]", "lilei")
    page.fill("[name=password]", "wrong")
    page.locator("section[aria-labelledby=password] button[type=submit]").click()
    expect(page.locator("h1")).to_have_text("密码错误次数过多")

    assert violations == []


@pytest.mark.browser_context_args(user_agent=WECOM_ANDROID)
def test_a_form_may_lead_into_a_silent_sign_in(
    page: Page, base: str, rows: Rows, violations: list[str], sign_in: Callable[[str], None]
) -> None:
    """Ends the session while the page is open; a form of it then begins a sign-in at WeCom, another origin."""
    wecom = base.replace("localhost", "127.0.0.1")  # another origin
    SiteAddress.objects.filter(is_default=True).update(url=f"{base}/")
    Corp.objects.exclude(pk=rows.corp.pk).delete()
    Corp.objects.update(authorize_base_url=wecom, qr_base_url=wecom)
    http.clear_caches()  # a late request of an earlier test may have cached the addresses
    sign_in("lilei")
    page.goto(base + "/")
    page.context.clear_cookies(name="sessionid")

    page.get_by_role("button", name="English").click()

    expect(page).to_have_url(re.compile(re.escape(wecom) + r"/connect/oauth2/authorize\?"))
    assert violations == []
