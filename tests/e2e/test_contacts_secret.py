"""The Secret of Contacts sync, entered on a company's page in a real browser, by each role."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from accounts.models import User
from accounts.users.roles import Role
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
    """The sandbox's company, enabled before; a superuser, and somebody in each role."""
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{stack.web_url}/"})
    stack.sandbox.load({"companies": [company()]})
    User.objects.create_superuser("root", password=PASSWORD)
    for role in Role:
        person = User.objects.create_user(role.name, password=PASSWORD, is_staff=True, manages_all_corps=True)
        person.groups.add(Group.objects.get(name=role))
    return Corp.objects.create(
        name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=stack.sandbox.base_url,
        is_enabled=True, first_enabled_at=timezone.now(),
    )  # fmt: skip


def enter(page: Page, secret: str) -> Locator:
    """Save the company with this Secret; the line of the diagnosis that tells of it, once it was checked."""
    page.fill(FIELD, secret)
    page.click("[name=_save]")
    expect(page.locator(".messagelist")).to_be_visible()
    line = page.locator("[data-check=assistant]")
    expect(line.locator(".pill").first).to_have_class(re.compile("pill-(good|bad)"), timeout=TEST_PATIENCE_MS)
    return line


def test_a_superuser_enters_it_and_the_diagnosis_says_whether_it_is_right(page: Page, stack: Stack, corp: Corp) -> None:
    console = Console(page, stack)
    console.sign_in("root")
    console.open(f"integrations/corp/{corp.pk}/change/")

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


@pytest.mark.parametrize("role", [*Role])
def test_no_role_enters_it_once_the_company_was_enabled(page: Page, stack: Stack, corp: Corp, role: Role) -> None:
    console = Console(page, stack)
    console.sign_in(role.name)
    answer = page.goto(f"{stack.web_url}/admin/integrations/corp/{corp.pk}/change/")
    assert answer is not None

    may_see = role != Role.PUSH_EDITOR
    assert answer.status == (200 if may_see else 403)
    expect(page.locator(FIELD)).to_have_count(0)
    if may_see:
        expect(page.locator(".field-contacts_secret_saved")).to_contain_text("未填写")
    if role in {Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR}:
        expect(page.locator(".field-contacts_secret_saved")).to_contain_text("只有超级用户可以修改此项")
        page.fill("[name=name]", "北山")
        page.click("[name=_save]")
        expect(page.locator(".messagelist .success")).to_be_visible()
        corp.refresh_from_db()
        assert (corp.name, corp.contacts_secret) == ("北山", "")
