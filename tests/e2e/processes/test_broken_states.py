"""Six broken states of a company's connection in Chromium: what its page does while WeCom is put right.

The others, and what is said of these, are walked through at the wire
(tests/integrations/companies/diagnosis/test_broken_states.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, expect

from integrations.companies import callbacks
from integrations.models import CallbackEvent, SiteAddress
from tests.e2e.console import PASSWORD, Console
from tests.e2e.gateway import Gateway
from tests.e2e.processes.broken import PATIENCE_MS, InTheBrowser
from tests.e2e.stack import Stack
from tests.integrations.companies.diagnosis.broken_states import SAVED_WRONGLY, WRONG_IN_WECOM, State

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
STATES = {state.name: state for state in (*SAVED_WRONGLY, *WRONG_IN_WECOM)}


@pytest.fixture
def scene(stack: Stack, browser: Browser) -> InTheBrowser:
    """An administrator who is signed in. No server gets in the way."""
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{stack.web_url}/"})
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    context = browser.new_context(locale="zh-CN", permissions=["clipboard-read", "clipboard-write"])
    scene = InTheBrowser(
        sandbox=stack.sandbox,
        site_url=stack.web_url,
        wecom_gateway=Gateway(""),
        private_gateway=Gateway(""),
        site_gateway=Gateway(""),
        authority="",
        page=context.new_page(),
        tab=context.new_page(),
    )
    Console(scene.page, stack).sign_in("root")
    scene.begin(1)
    return scene


def see_it_named(scene: InTheBrowser, state: State) -> None:
    """Run the whole test; the check says what is wrong, who can fix it and where, and enabling is refused."""
    state.breaks(scene)
    scene.open()
    scene.run_all()
    row = scene.check(state.check)
    expect(row.locator(f".pill-{state.tone}")).to_be_visible(timeout=PATIENCE_MS)
    for text in state.says:
        expect(row).to_contain_text(text)
    if state.reason:
        expect(scene.page.locator("[data-reasons]")).to_contain_text(state.reason, timeout=PATIENCE_MS)
        scene.expect_refusal(state.reason)


def test_a_secret_saved_wrongly_is_put_right_in_the_form(scene: InTheBrowser) -> None:
    """Saving has the checks run anew, and the page follows them where they stand."""
    state = STATES["the Secret is wrong (40001)"]
    see_it_named(scene, state)

    state.fixes(scene)
    scene.open("#diagnosis")

    expect(scene.check(state.check).locator(".pill-good")).to_be_visible(timeout=PATIENCE_MS)
    expect(scene.page.locator("[data-reasons] li")).to_have_count(0, timeout=PATIENCE_MS)


def test_an_address_that_is_copied_into_the_console_turns_green_while_one_looks(scene: InTheBrowser) -> None:
    state = STATES["the address is not trusted (60020)"]
    see_it_named(scene, state)

    state.fixes(scene)

    scene.let_time_pass()
    expect(scene.check(state.check).locator(".pill-good")).to_be_visible(timeout=PATIENCE_MS)
    expect(scene.page.locator("[data-reasons] li")).to_have_count(0, timeout=PATIENCE_MS)
    assert scene.is_the_same_page()


def test_what_is_not_tried_again_by_itself_turns_green_by_a_click(scene: InTheBrowser) -> None:
    state = STATES["WeCom withholds fields of people"]
    see_it_named(scene, state)

    state.fixes(scene)

    scene.page.bring_to_front()
    row = scene.check(state.check)
    row.get_by_role("button", name="重新检查").click()
    expect(row).to_contain_text(state.after, timeout=PATIENCE_MS)
    expect(row.locator(".pill-good")).to_be_visible(timeout=PATIENCE_MS)
    assert scene.is_the_same_page()


def test_a_domain_that_wecom_refuses_when_it_is_written(scene: InTheBrowser, stack: Stack, tmp_path: Path) -> None:
    """The sandbox refuses a domain whose verification file it has not found, as WeCom does."""
    scene.in_wecom(trusted_domain="old.example.com")
    scene.open()
    page, console = scene.page, Console(scene.page, stack)
    console.open_step("console")
    page.click("form[action*='/console/settings/'] button")
    page.get_by_role("button", name="确认写入企业微信").click(timeout=PATIENCE_MS)

    panel = page.locator("#write-panel")
    expect(panel.locator(".pill-bad")).to_have_text("被企业微信拒绝", timeout=PATIENCE_MS)
    expect(panel).to_contain_text("可信域名的归属尚未验证。")
    console.open_step("diagnosis")
    row = scene.check("ownership")
    expect(row.locator(".pill-bad")).to_be_visible()
    expect(row).to_contain_text("的归属没有通过校验（85005）")
    for link in ("help2/pc/15023?person_id=1", "wwopen/common/readDocument/40754"):
        expect(row.locator(f".help-links a[href$='{link}']")).to_be_visible()

    file = scene.download_verification_file(tmp_path)
    page.bring_to_front()
    console.open_step("verification")
    page.set_input_files("#verification-upload", file)
    page.click("#verification .upload [type=submit]")
    expect(page.locator("#verification [data-live] .pill-good")).to_have_text("响应正确", timeout=PATIENCE_MS)
    scene.console(trusted_domain=scene.domain)
    scene.verify_domain()
    page.bring_to_front()
    # WeCom has the domain now. Writing it once more tells whether it counts.
    console.write_into_wecom()
    console.open_step("diagnosis")
    expect(row.locator(".pill-good")).to_be_visible()
    expect(row).to_contain_text("企业微信接受了")


def test_a_callback_whose_keys_differ_and_then_agree(scene: InTheBrowser) -> None:
    callbacks.generate_callback_keys(corp=scene.corp, kind=CallbackEvent.Kind.APP)
    scene.corp.refresh_from_db()
    scene.open()
    scene.run_all()
    row = scene.check("callback")
    expect(row.locator(".pill-warn")).to_be_visible(timeout=PATIENCE_MS)
    expect(row).to_contain_text("回调地址响应正确，但企业微信还没有校验过。")
    expect(row).to_contain_text("接收消息：保存 URL、Token 和 EncodingAESKey。")
    values = {"callback_url": scene.copied("callback"), "callback_aes_key": scene.corp.callback_aes_key}

    assert "40057" in scene.console_refuses(**values, callback_token="anotherToken")
    scene.page.reload()
    scene.open("#callback")
    expect(scene.page.locator("#callback .address").first).to_contain_text(
        "如果企业微信后台提示失败，说明那里的 Token 或 EncodingAESKey 与此处不一致。"
    )

    scene.console(**values, callback_token=scene.corp.callback_token)
    scene.open()
    scene.let_time_pass()
    expect(row).to_contain_text("回调地址响应正确，企业微信已校验。", timeout=PATIENCE_MS)
    expect(row.locator(".pill-good")).to_be_visible()
    assert scene.is_the_same_page()


def test_a_message_to_somebody_out_of_scope_and_then_in_it(scene: InTheBrowser) -> None:
    """WeCom answers 81013: nobody can receive it."""
    scene.open()
    scene.send_test_message("jim")
    row = scene.check("message")
    expect(row.locator(".pill-bad")).to_be_visible(timeout=PATIENCE_MS)
    expect(row).to_contain_text("jim 收不到消息：企业微信里没有这个账号，或不在应用的可见范围内。")
    expect(row).to_contain_text("并检查可见范围。")

    scene.console(scope_partyids="2,4")
    scene.send_test_message("jim")
    expect(row).to_contain_text("企业微信已接受发给 jim 的消息", timeout=PATIENCE_MS)
    expect(row.locator(".pill-good")).to_be_visible()
    assert scene.is_the_same_page()
    (message,) = scene.sandbox.messages(scene.corpid, "jim")
    assert "北山制造" in message["text"]["content"]
