"""A person leaves the company in WeCom's console while their page is open here: the next click signs them out."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, expect

from accounts.models import WeComAccount
from integrations.models import Member
from tests.e2e.phones import connected, home_url, phone_of, tap_app
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.sandbox_process import CORPID

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def test_who_leaves_in_wecom_s_console_is_signed_out_at_the_next_click(stack: Stack, browser: Browser) -> None:
    corp = connected(stack)
    user = get_user_model().objects.create_user("lilei", name="李雷")
    WeComAccount.objects.create(user=user, corp=corp, userid="LiLei")
    phone = phone_of(browser, stack, "lilei")
    home = tap_app(phone, stack)
    expect(home).to_have_url(home_url(stack))
    expect(home.locator("body")).to_contain_text("李雷")

    console = browser.new_context(locale="zh-CN").new_page()
    console.on("dialog", lambda dialog: dialog.accept())
    console.goto(f"{stack.sandbox.base_url}/console/{CORPID}/members")
    console.locator("tr", has_text="李雷").locator("[data-delete]").click()
    left = Member.objects.filter(userid_folded="lilei", presence=Member.Presence.DELETED)
    eventually(left.exists, stack.programs.values())

    home.locator(f"a[href^='/'], a[href^='{stack.web_url}']").first.click()
    # The person is signed out and sent to WeCom, where the userid no longer exists.
    expect(home).to_have_url(re.compile(re.escape(f"{stack.sandbox.base_url}/phone/choose")))
    assert eventually(lambda: not get_user_model().objects.get(pk=user.pk).is_active, stack.programs.values())
