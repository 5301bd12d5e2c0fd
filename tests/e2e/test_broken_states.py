"""The whole path in Chromium with WeCom in each broken state in turn: it is named with its fix, and put right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from playwright.sync_api import Browser, expect
from pytest_django.plugin import DjangoDbBlocker

from integrations.companies import callbacks
from integrations.models import CallbackEvent, SiteAddress
from tests.conftest import program_environ
from tests.e2e.broken import (
    AT_FAULT,
    OUR_ADDRESS,
    PATIENCE_MS,
    SAVED_WRONGLY,
    WRONG_IN_WECOM,
    Scene,
    State,
    copied,
)
from tests.e2e.console import PASSWORD, Console
from tests.e2e.gateway import gateway
from tests.e2e.stack import Stack, running_stack
from tests.e2e.waiting import eventually
from tests.integrations.clients.wecom.test_tls import _certificate

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
numbers = count(1)
# What hangs is given up soon.
SOON = {"WECOM_TOTAL_TIMEOUT_SECONDS": "2", "WECOM_CONNECT_TIMEOUT_SECONDS": "1"}


@pytest.fixture(scope="module")
def shared_stack(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    project_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """One running product for all tests here; its rows go when they are done.

    Why another database of Valkey? The first one is emptied before each test, under the worker's feet.
    """
    env = {**program_environ(), **SOON, "ALLOWED_HOSTS": "localhost,127.0.0.1"}
    env["VALKEY_URL"] = settings.VALKEY_URL.removesuffix("/0") + "/1"
    with django_db_blocker.unblock():
        try:
            with running_stack(env=env, root=project_root, folder=tmp_path_factory.mktemp("stack")) as stack:
                eventually(_quicken_beat, stack.programs.values())
                SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{stack.web_url}/"})
                get_user_model().objects.create_superuser("root", password=PASSWORD)
                yield stack
        finally:
            call_command("flush", interactive=False, verbosity=0)
            # As pytest-django does: while Playwright runs, Django uses a connection that is not the one of the set-up.
            connections.close_all()


@pytest.fixture
def _django_db_helper(shared_stack: Stack) -> None:
    """In place of pytest-django's own, which would empty the database after each test, under the running programs."""


def _quicken_beat() -> bool:
    """Beat looks each second for what is to be tried again, instead of every ten. Returns whether it had begun."""
    second, _is_new = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    count = PeriodicTask.objects.filter(name="integrations.tick").update(interval=second, expire_seconds=60)
    PeriodicTasks.update_changed()
    return bool(count)


@pytest.fixture(scope="module")
def shared_scene(shared_stack: Stack, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An administrator who is signed in, and the servers that get in the way."""
    certificate = _certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")
    wecom = shared_stack.sandbox.base_url.removeprefix("http://")
    context = browser.new_context(locale="zh-CN", permissions=["clipboard-read", "clipboard-write"])
    with ExitStack() as exits:
        scene = Scene(
            shared_stack,
            page=context.new_page(),
            tab=context.new_page(),
            wecom_gateway=exits.enter_context(gateway(wecom)),
            private_gateway=exits.enter_context(gateway(wecom, certificate.context)),
            site_gateway=exits.enter_context(gateway(f"127.0.0.1:{shared_stack.web_port}")),
            authority=Path(certificate.bundle).read_text(encoding="ascii"),
        )
        Console(scene.page, shared_stack).sign_in("root")
        yield scene
        context.close()


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    shared_scene.begin(next(numbers))
    return shared_scene


def named(states: list[State]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("state", states, ids=[state.name for state in states])


def see_it_named(scene: Scene, state: State) -> None:
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


def test_a_company_in_order_is_green_and_can_be_enabled(scene: Scene) -> None:
    scene.open()
    scene.run_all()

    expect(scene.page.locator("[data-reasons] li")).to_have_count(0, timeout=PATIENCE_MS)
    expect(scene.page.locator(".checks .pill-bad")).to_have_count(0)
    Console(scene.page, scene.stack).switch_corp("北山制造", "enable")


@named(SAVED_WRONGLY)
def test_what_is_saved_wrongly_is_named_and_put_right_in_the_form(scene: Scene, state: State) -> None:
    see_it_named(scene, state)

    state.fixes(scene)

    row = scene.check(state.check)
    if state.after:
        expect(row).to_contain_text(state.after, timeout=PATIENCE_MS)
        expect(row.locator(".pill-bad")).to_have_count(0)
    else:
        expect(row.locator(".pill-good")).to_be_visible(timeout=PATIENCE_MS)
    expect(scene.page.locator("[data-reasons] li")).to_have_count(0, timeout=PATIENCE_MS)


@named([*WRONG_IN_WECOM, *AT_FAULT])
def test_what_is_wrong_elsewhere_is_named_and_turns_green_while_one_looks(scene: Scene, state: State) -> None:
    see_it_named(scene, state)

    state.fixes(scene)

    row = scene.check(state.check)
    if state.by_itself:
        scene.let_time_pass()
    else:
        scene.page.bring_to_front()
        row.get_by_role("button", name="重新检查").click()
    if state.after:
        expect(row).to_contain_text(state.after, timeout=PATIENCE_MS)
    expect(row.locator(".pill-good")).to_be_visible(timeout=PATIENCE_MS)
    if state.reason:
        expect(scene.page.locator("[data-reasons] li")).to_have_count(0, timeout=PATIENCE_MS)
    assert scene.is_the_same_page()


# --- More than one step -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cause"),
    [(None, "可信域名的归属尚未验证。"), (85008, "可信域名没有 ICP 备案。")],
    ids=["not verified (85005)", "no ICP filing (85008)"],
)
def test_a_domain_that_wecom_refuses_when_it_is_written(
    scene: Scene, tmp_path: Path, fault: int | None, cause: str
) -> None:
    """The sandbox refuses a domain whose verification file it has not found, as WeCom does."""
    scene.in_wecom(trusted_domain="old.example.com")
    if fault is not None:
        scene.stack.sandbox.fault("errcode", "agent/set", code=fault)
    scene.open()
    page, console = scene.page, Console(scene.page, scene.stack)
    page.click("form[action*='/console/settings/'] button")
    page.get_by_role("button", name="确认写入企业微信").click(timeout=PATIENCE_MS)

    expect(page.locator("[data-live] .pill-bad")).to_have_text("被企业微信拒绝", timeout=PATIENCE_MS)
    expect(page.locator("[data-live]")).to_contain_text(cause)
    page.get_by_role("link", name="返回企业微信公司").click()
    row = scene.check("ownership")
    expect(row.locator(".pill-bad")).to_be_visible()
    expect(row).to_contain_text("必须是本公司或关联公司的域名" if fault else "的归属没有通过校验（85005）")
    for link in ("help2/pc/15023?person_id=1", "wwopen/common/readDocument/40754"):
        expect(row.locator(f".help-links a[href$='{link}']")).to_be_visible()

    file = scene.download_verification_file(tmp_path)
    page.bring_to_front()
    page.set_input_files("#verification-upload", file)
    page.click("#verification .upload [type=submit]")
    expect(page.locator("#verification [data-live] .pill-good")).to_have_text("响应正确", timeout=PATIENCE_MS)
    scene.console(trusted_domain=scene.domain)
    scene.verify_domain()
    page.bring_to_front()
    # WeCom has the domain now. Writing it once more tells whether it counts.
    console.write_into_wecom()
    expect(row.locator(".pill-good")).to_be_visible()
    expect(row).to_contain_text("企业微信接受了")


def test_a_callback_whose_keys_differ_and_then_agree(scene: Scene) -> None:
    callbacks.generate_callback_keys(corp=scene.corp, kind=CallbackEvent.Kind.APP)
    scene.corp.refresh_from_db()
    scene.open()
    scene.run_all()
    row = scene.check("callback")
    expect(row.locator(".pill-warn")).to_be_visible(timeout=PATIENCE_MS)
    expect(row).to_contain_text("回调地址应答正确，但企业微信还没有校验过。")
    expect(row).to_contain_text("接收消息：保存 URL、Token 和 EncodingAESKey。")
    values = {"callback_url": copied(scene, "callback"), "callback_aes_key": scene.corp.callback_aes_key}

    assert "40057" in scene.console_refuses(**values, callback_token="anotherToken")
    scene.open()
    expect(scene.page.locator("#callback .address").first).to_contain_text(
        "如果企业微信后台提示失败，说明那里的 Token 或 EncodingAESKey 与此处不一致。"
    )

    scene.console(**values, callback_token=scene.corp.callback_token)
    scene.let_time_pass()
    expect(row).to_contain_text("回调地址应答正确，企业微信已校验。", timeout=PATIENCE_MS)
    expect(row.locator(".pill-good")).to_be_visible()
    assert scene.is_the_same_page()


def test_a_message_to_somebody_out_of_scope_and_then_in_it(scene: Scene) -> None:
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
    (message,) = scene.stack.sandbox.messages(scene.corpid, "jim")
    assert "北山制造" in message["text"]["content"]


def test_the_same_is_said_in_english(scene: Scene) -> None:
    scene.in_wecom(trusted_ips=[], trusted_domain="old.example.com")
    scene.open()
    scene.page.get_by_role("button", name="English").click()
    scene.run_all()

    row = scene.check("ip")
    expect(row).to_contain_text(
        f"WeCom refuses the address of this server: {OUR_ADDRESS} is not among the trusted IPs of the app.",
        timeout=PATIENCE_MS,
    )
    expect(row).to_contain_text("The administrator of WeCom.")
    expect(row).to_contain_text("App management → the app → Trusted company IP")
    scene.expect_refusal(f"Trusted IP: WeCom refuses the address of this server: {OUR_ADDRESS} is not among")
    scene.page.get_by_role("button", name="中文").click()
    expect(scene.check("ip")).to_contain_text(f"{OUR_ADDRESS} 不在应用的可信IP中。")
