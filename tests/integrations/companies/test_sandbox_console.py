"""WeCom's console saving the callback addresses, done by the sandbox to the running site."""

from __future__ import annotations

import pytest
from pytest_django.live_server_helper import LiveServer

from integrations import callbacks
from integrations.models import CallbackEvent, Corp, SiteAddress
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
Kind = CallbackEvent.Kind
APP = f"companies/{CORPID}/apps/{AGENTID}"


@pytest.fixture
def sandbox(running_sandbox: SandboxHandle) -> SandboxHandle:
    running_sandbox.load({"companies": [company()]})
    return running_sandbox


@pytest.fixture
def corp(live_server: LiveServer, sandbox: SandboxHandle) -> Corp:
    """The sandbox's company, not enabled, with the running site's address."""
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{live_server.url}/"})
    corp = Corp.objects.create(name="北山制造", corpid=CORPID, agentid=AGENTID, secret="unused")
    for kind in Kind:
        callbacks.generate_callback_keys(corp=corp, kind=kind)
    return corp


def app_callback(corp: Corp) -> dict[str, str]:
    url = callbacks.callback_url(corp, Kind.APP)
    return {"url": url, "token": corp.callback_token, "aes_key": corp.callback_aes_key}


def contacts_callback(corp: Corp) -> dict[str, str]:
    url = callbacks.callback_url(corp, Kind.CONTACTS)
    return {"url": url, "token": corp.contacts_callback_token, "aes_key": corp.contacts_callback_aes_key}


def test_the_console_accepts_both_addresses(corp: Corp, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", APP, {"callback": app_callback(corp)})
    sandbox.control("PATCH", f"companies/{CORPID}", {"contacts_callback": contacts_callback(corp)})

    problems = [
        sandbox.control("POST", f"{APP}/callback/verify", {}),
        sandbox.control("POST", f"companies/{CORPID}/contacts/callback/verify", {}),
    ]

    assert problems == [{"problem": ""}, {"problem": ""}]
    corp.refresh_from_db()
    assert corp.callback_verified_at is not None
    assert corp.contacts_callback_verified_at is not None
