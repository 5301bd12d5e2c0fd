"""The Secret of Contacts sync, entered on a company's page in a real browser.

Who may not enter it: tests/integrations/companies/test_credentials.py.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from accounts.models import User
from integrations.models import Corp, SiteAddress
from tests.e2e.console import PASSWORD, TEST_PATIENCE_MS, Console
from tests.e2e.stack import Stack
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

pytestmark = [pytest.mark.e2e, pytest.mark.processes]
CONTACTS_SECRET = str(company()["contacts_secret"])
FIELD = "[name=new_contacts_secret]"


@pytest.fixture
def browser_context_args() -> dict[str, Any]:
    return {"locale": "zh-CN"}


@pytest.fixture
def corp(transactional_db: None, stack: Stack) -> Corp:
    """The sandbox's company, enabled before, and a superuser."""
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{stack.web_url}/"})
    stack.sandbox.load({"companies": [company()]})
    User.objects.create_superuser("root", password=PASSWORD)
    return Corp.objects.create(
        name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=stack.sandbox.base_url,
        is_enabled=True, first_enabled_at=timezone.now(),
    )  # fmt: skip


def enter(page: Page, secret: str) -> Locator:
    """Save the company with this Secret; the line of the diagnosis that tells of it, once it was checked."""
    page.locator("[data-part-tabs]").get_by_role("link", name="凭证").click()
    page.fill(FIELD, secret)
    page.click("[name=_save]")
    expect(page.locator(".messagelist")).to_be_visible()
    page.locator("[data-part-tabs]").get_by_role("link", name="诊断").click()
    line = page.locator("[data-check=assistant]")
    expect(line.locator(".pill").first).to_have_class(re.compile("pill-(good|bad)"), timeout=TEST_PATIENCE_MS)
    return line


def test_a_superuser_enters_it_and_the_diagnosis_says_whether_it_is_right(page: Page, stack: Stack, corp: Corp) -> None:
    console = Console(page, stack)
    console.sign_in("root")
    console.open(f"integrations/corp/{corp.pk}/change/#diagnosis")

    page.click("[data-check=assistant] button")
    line = page.locator("[data-check=assistant]")
    expect(line).to_contain_text("未填写", timeout=TEST_PATIENCE_MS)
    expect(line).to_contain_text("通讯录同步 → Secret")

    wrong = enter(page, "not-the-secret-of-contacts")
    expect(wrong).to_contain_text("企业微信不接受通讯录同步的 Secret")
    expect(wrong).to_contain_text("粘贴到本页上方“凭证”中的“通讯录同步 Secret”")

    right = enter(page, CONTACTS_SECRET)
    expect(right.locator(".pill").first).to_have_class("pill pill-good", timeout=TEST_PATIENCE_MS)
    expect(right).to_contain_text("通讯录同步可以读取整个公司")
    expect(page.locator(FIELD)).to_have_value("")
    corp.refresh_from_db()
    assert corp.contacts_secret == CONTACTS_SECRET
    assert CONTACTS_SECRET not in page.content()
