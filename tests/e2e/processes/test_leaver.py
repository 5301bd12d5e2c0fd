"""Somebody leaves the company in WeCom's console while their page is open here: the next click signs them out."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from playwright.sync_api import Browser, expect

from accounts.models import DirectoryPolicy, WeComAccount
from integrations import callbacks
from integrations.companies import links
from integrations.core.client_factory import callback_crypto
from integrations.directory import JOB, request_run
from integrations.models import CallbackEvent, Corp, Member, SiteAddress, SyncRun
from tests.e2e.processes.test_main_job import home_url, phone_of, tap_app
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.jobs import do_jobs
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
Kind = CallbackEvent.Kind


def connected(stack: Stack) -> Corp:
    """A company whose directory was copied, whose callbacks are set up on both sides, and whose policy links people."""
    SiteAddress.objects.filter(is_default=True).update(url=f"{stack.web_url}/")
    base = stack.sandbox.base_url
    corp = Corp.objects.create(
        **{"name": "北山制造", "corpid": CORPID, "agentid": AGENTID, "secret": SECRET, "is_enabled": True},
        **{"api_base_url": base, "authorize_base_url": base, "qr_base_url": base},
    )
    told = {}
    for kind in Kind:
        callbacks.generate_callback_keys(corp=corp, kind=kind)
        crypto = callback_crypto(corp, kind)
        assert crypto is not None
        url = callbacks.callback_url(corp, kind)
        told[kind] = {"url": url, "token": crypto.token, "aes_key": crypto.encoding_aes_key}
    domain = f"localhost:{stack.web_port}"
    app = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain, "callback": told[Kind.APP]}
    app["home_url"] = links.home_page_link(corp)
    stack.sandbox.load({"companies": [company(apps=[app], contacts_callback=told[Kind.CONTACTS])]})
    DirectoryPolicy.objects.create(corp=corp, mode="link")
    request_run(corp=corp, trigger=SyncRun.Trigger.MANUAL, now=timezone.now())
    do_jobs(JOB)
    return corp


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
    # Signed out, and sent to WeCom to sign in again, where nobody of that userid is any more.
    expect(home).to_have_url(re.compile(re.escape(f"{stack.sandbox.base_url}/phone/choose")))
    assert eventually(lambda: not get_user_model().objects.get(pk=user.pk).is_active, stack.programs.values())
