"""Steps that WeCom's console asks for, in a real browser: the verification file and the callback address.

The sandbox does what the console does when an administrator saves a domain or an address there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Page, expect

from integrations.models import Corp, SiteAddress
from tests.e2e.console import PASSWORD, Console
from tests.e2e.stack import Stack
from tests.e2e.waiting import stand_still
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

pytestmark = [pytest.mark.e2e, pytest.mark.processes]
APP = f"companies/{CORPID}/apps/{AGENTID}"
PATIENCE_MS = 60_000


@pytest.fixture
def corp(transactional_db: None, stack: Stack) -> Corp:
    """The sandbox's company, not enabled, with an administrator of the site."""
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{stack.web_url}/"})
    stack.sandbox.load({"companies": [company()]})
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    return Corp.objects.create(name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET)


@pytest.fixture
def console(page: Page, stack: Stack, corp: Corp) -> Console:
    console = Console(page, stack)
    console.sign_in("root")
    console.open(f"integrations/corp/{corp.pk}/change/")
    return console


def test_a_file_is_uploaded_and_the_callback_s_values_copied_and_wecom_accepts_both(
    console: Console, page: Page, stack: Stack, corp: Corp, tmp_path: Path
) -> None:
    domain = stack.web_url.removeprefix("http://")
    stack.sandbox.control("PATCH", APP, {"trusted_domain": domain})
    name = stack.sandbox.control("POST", f"{APP}/domain/verify", {})["file"]
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + name.removeprefix("WW_verify_").removesuffix(".txt").encode() + b"\r\n")

    console.open_step("verification")
    page.set_input_files("#verification-upload", file)
    page.click("#verification .upload [type=submit]")

    # The background check's result comes without a reload.
    expect(page.locator("#verification .file .pill-good")).to_have_text("响应正确", timeout=PATIENCE_MS)
    assert stack.sandbox.control("POST", f"{APP}/domain/verify", {})["problem"] == ""

    console.open(f"integrations/corp/{corp.pk}/change/#callback")
    page.locator("#callback .address").first.get_by_role("button", name="生成").click()
    page.locator("#callback .address").first.get_by_role("button", name="显示").click()
    expect(page).to_have_url(re.compile(r"/callback/app/keys/$"))

    stand_still(page)
    copied = {}
    for name in ("url", "token", "aes-key"):
        page.click(f"[data-copy=callback-{name}]")
        expect(page.locator(f"[data-copy=callback-{name}]")).to_have_text("已复制")
        copied[name] = page.evaluate("navigator.clipboard.readText()")
    page.clock.resume()

    corp.refresh_from_db()
    assert copied == {
        "url": f"{stack.web_url}/wecom/{corp.pk}/events/",
        "token": corp.callback_token,
        "aes-key": corp.callback_aes_key,
    }
    expect(page.locator("[data-live] .pill-quiet")).to_have_text("尚未校验")
    callback = {"url": copied["url"], "token": copied["token"], "aes_key": copied["aes-key"]}
    stack.sandbox.control("PATCH", APP, {"callback": callback})
    assert stack.sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}
    # WeCom has checked the address; this page changes without a reload.
    expect(page.locator("[data-live] .pill-good")).to_have_text("已通过企业微信校验", timeout=PATIENCE_MS)
