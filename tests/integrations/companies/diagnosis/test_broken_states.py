"""A company with WeCom in each broken state in turn, against a sandbox: it is named with its fix, and put right."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags
from pytest_django import DjangoCaptureOnCommitCallbacks
from pytest_django.live_server_helper import LiveServer

from integrations import tasks
from integrations.clients.wecom import tokens
from integrations.models import SiteAddress
from tests.e2e.gateway import gateway
from tests.integrations.clients.wecom.test_tls import _certificate
from tests.integrations.companies.diagnosis.broken_states import (
    AT_FAULT,
    FILE_LOST,
    OUR_ADDRESS,
    SAVED_WRONGLY,
    WRONG_IN_WECOM,
    Scene,
    State,
)
from tests.sandbox_process import SandboxHandle

pytestmark = pytest.mark.django_db


ask_for_address = socket.getaddrinfo


def looked_up(host: Any, *arguments: Any, **options: Any) -> Any:
    """As the resolver answers for a name that cannot be one. Tests ask it for this machine only."""
    if ".." in str(host):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return ask_for_address(host, *arguments, **options)


@pytest.fixture(scope="module")
def servers(running_sandbox: SandboxHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The sandbox, and the servers that get in the way."""
    certificate = _certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")
    with ExitStack() as exits:
        wecom = running_sandbox.base_url.removeprefix("http://")
        yield {
            "sandbox": running_sandbox,
            "wecom_gateway": exits.enter_context(gateway(wecom)),
            "private_gateway": exits.enter_context(gateway(wecom, certificate.context)),
            "site_gateway": exits.enter_context(gateway("")),
            "authority": Path(certificate.bundle).read_text(encoding="ascii"),
        }


@pytest.fixture
def scene(
    servers: dict[str, Any],
    admin_client: Client,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    monkeypatch.setattr(tokens, "SHARED_SECONDS", 0)  # somebody needs a while to put it right
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    SiteAddress.objects.filter(is_default=True).update(url="http://localhost:3001/")
    client = admin_client
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN"
    scene = Scene(
        **servers, site_url="http://localhost:3001", client=client, capture=django_capture_on_commit_callbacks
    )  # fmt: skip
    scene.begin(1)
    return scene


@pytest.fixture
def live_scene(scene: Scene, live_server: LiveServer) -> Scene:
    """For a test that is marked transactional: our site answers others, too."""
    scene.site_url = live_server.url.replace("127.0.0.1", "localhost")
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{scene.site_url}/"})
    scene.site_gateway.target = scene.domain
    scene.corp.delete()
    scene.begin(2)
    return scene


def named(states: list[State]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("state", states, ids=[state.name for state in states])


def words(html: str) -> str:
    return re.sub(r"\s+", " ", strip_tags(html).replace("&amp;", "&"))


def assert_named(scene: Scene, state: State) -> None:
    """The whole test says what is wrong, who can fix it and where, and enabling is refused."""
    state.breaks(scene)
    scene.run()
    row = scene.row(state.check)
    assert "pill-bad" in row
    for text in state.says:
        assert text in words(row)
    if state.reason:
        assert state.reason in words(scene.look()["reasons"])
        assert_refused(scene, state.reason)


def assert_refused(scene: Scene, reason: str) -> None:
    """The page of enabling says what stands against it, and has no button."""
    html = scene.client.get(scene.page("enable/")).text
    assert reason in words(html)
    assert 'class="confirm"' not in html


def assert_in_order(scene: Scene, state: State) -> None:
    row = scene.row(state.check)
    assert state.after in words(row)
    assert "pill-bad" not in row


def test_a_company_in_order_is_green_and_can_be_enabled(scene: Scene) -> None:
    scene.run()

    told = scene.look()
    assert told["reasons"].strip() == ""
    assert "pill-bad" not in "".join(row["html"] for row in told["rows"])
    assert 'class="confirm"' in scene.client.get(scene.page("enable/")).text


@named(SAVED_WRONGLY)
def test_what_is_saved_wrongly_is_named_and_put_right_in_the_form(scene: Scene, state: State) -> None:
    assert_named(scene, state)

    state.fixes(scene)

    assert_in_order(scene, state)
    assert state.after or "pill-good" in scene.row(state.check)
    assert scene.look()["reasons"].strip() == ""


@named([*WRONG_IN_WECOM, *AT_FAULT])
def test_what_is_wrong_elsewhere_is_named_and_turns_green(scene: Scene, state: State) -> None:
    assert_put_right_elsewhere(scene, state)


@pytest.mark.django_db(transaction=True)
def test_a_verification_file_that_a_proxy_loses_is_named_and_turns_green(live_scene: Scene) -> None:
    assert_put_right_elsewhere(live_scene, FILE_LOST)


def assert_put_right_elsewhere(scene: Scene, state: State) -> None:
    """Tried again by itself as soon as its time comes."""
    assert_named(scene, state)

    state.fixes(scene)
    scene.make_due()
    tasks.tick()
    scene.work()

    assert_in_order(scene, state)
    assert "pill-good" in scene.row(state.check)
    if state.reason:
        assert scene.look()["reasons"].strip() == ""


@pytest.mark.parametrize(
    ("fault", "cause", "said"),
    [
        (None, "可信域名的归属尚未验证。", "的归属没有通过校验（85005）"),
        (85008, "可信域名没有 ICP 备案。", "必须是本公司或关联公司的域名"),
    ],
    ids=["not verified (85005)", "no ICP filing (85008)"],
)
@pytest.mark.django_db(transaction=True)
def test_a_domain_that_wecom_refuses_when_it_is_written(
    live_scene: Scene, fault: int | None, cause: str, said: str
) -> None:
    """The sandbox refuses a domain whose verification file it has not found, as WeCom does."""
    scene = live_scene
    scene.in_wecom(trusted_domain="old.example.com")
    if fault is not None:
        scene.sandbox.fault("errcode", "agent/set", code=fault)

    page = scene.write_settings()

    assert "pill-bad" in page
    assert "被企业微信拒绝" in words(page)
    assert cause in words(page)
    row = scene.row("ownership")
    assert "pill-bad" in row
    assert said in words(row)
    for link in ("help2/pc/15023?person_id=1", "wwopen/common/readDocument/40754"):
        assert f'{link}" target="_blank"' in row

    name = scene.sandbox.control("POST", f"{scene.app_path}/domain/verify", {})["file"]
    scene.upload(name, name.removeprefix("WW_verify_").removesuffix(".txt"))
    scene.console(trusted_domain=scene.domain)
    assert scene.sandbox.control("POST", f"{scene.app_path}/domain/verify", {})["problem"] == ""
    # WeCom has the domain now. Writing it once more tells whether it counts.
    assert "pill-good" in scene.write_settings()
    row = scene.row("ownership")
    assert "pill-good" in row
    assert "企业微信接受了" in words(row)


def test_the_same_is_said_in_english(scene: Scene) -> None:
    scene.in_wecom(trusted_ips=[], trusted_domain="old.example.com")
    scene.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    scene.run()

    row = words(scene.row("ip"))
    refused = f"WeCom refuses the address of this server: {OUR_ADDRESS} is not among the trusted IPs of the app."
    assert refused in row
    assert "The administrator of WeCom." in row
    assert "App management → the app → Trusted company IP" in row
    assert_refused(scene, f"Trusted IP: WeCom refuses the address of this server: {OUR_ADDRESS} is not among")
    scene.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN"
    assert f"{OUR_ADDRESS} 不在应用的企业可信IP中。" in words(scene.row("ip"))
