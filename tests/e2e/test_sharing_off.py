"""Sharing is off inside WeCom: our pages, WeCom's own component, and a ticket of the sandbox.

WeCom's app is not available here. The stand-in for its bridge records the component's requests and says yes.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page

from accounts.authentication.sessions import CORP_KEY
from accounts.models import User
from tests.e2e.joined import Joined
from tests.sandbox_process import CORPID, SECRET, SandboxHandle

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
    "wxwork/4.1.22 MicroMessenger/7.0.1 Language/zh ColorScheme/Light"
)
BRIDGE = """
window.asked = [];
window.WeixinJSBridge = {
  on() {},
  invoke(name, values, answer) { window.asked.push([name, values]); answer({ err_msg: `${name}:ok` }); },
};
"""


@pytest.fixture
def page(browser: Browser, joined: Joined) -> Iterator[Page]:
    """WeCom's browser, with a session of the sandbox's company."""
    client = Client()
    client.force_login(User.objects.get(username="LiLei"), backend="accounts.authentication.backends.WeComBackend")
    session = client.session
    session[CORP_KEY] = joined.corp.pk
    session.save()
    context = browser.new_context(user_agent=IPHONE, locale="zh-CN")
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": joined.base}])
    context.add_init_script(BRIDGE)
    yield context.new_page()
    context.close()


def ticket(sandbox: SandboxHandle) -> str:
    """Fetch the company's ticket from WeCom, with which the site must have signed."""
    api = f"{sandbox.base_url}/cgi-bin"
    token = requests.get(f"{api}/gettoken", {"corpid": CORPID, "corpsecret": SECRET}, timeout=60).json()["access_token"]
    return str(requests.get(f"{api}/get_jsapi_ticket", {"access_token": token}, timeout=60).json()["ticket"])


def asked_of_wecom(page: Page, name: str) -> dict[str, Any]:
    page.wait_for_function("name => window.asked.some(([asked]) => asked === name)", arg=name)
    return dict(page.evaluate("name => window.asked.find(([asked]) => asked === name)[1]", name))


def test_the_menu_loses_sharing_with_a_signature_that_wecom_can_verify(page: Page, joined: Joined) -> None:
    path = "/?q=%E9%94%80%E5%94%AE#found"
    page.goto(f"{joined.base}{path}")

    asked_of_wecom(page, "hideAllNonBaseMenuItem")
    verified = asked_of_wecom(page, "preVerifyJSAPI")
    signed = "&".join(
        (
            f"jsapi_ticket={ticket(joined.sandbox)}",
            f"noncestr={verified['verifyNonceStr']}",
            f"timestamp={verified['verifyTimestamp']}",
            f"url={joined.base}{path.partition('#')[0]}",
        )
    )
    assert verified["verifyAppId"] == CORPID
    assert verified["verifyJsApiList"] == ["hideAllNonBaseMenuItem"]
    assert verified["verifySignature"] == hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()
