"""WeCom's own QR panel, @wecom/jssdk, in Chromium, with its fixed host led to the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.browsing import close, lead
from tests.sandbox.conftest import Api
from tests.sandbox.programs import npm_modules
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

pytestmark = pytest.mark.e2e
HOST = "https://login.work.weixin.qq.com"
SITE = "http://localhost:3001"
LOGIN_PAGE = """<!doctype html><title>login</title><div id="panel"></div>
<script src="/wecom.js"></script>
<script>
  window.reported = [];
  const tell = (name) => (data) => window.reported.push([name, data]);
  ww.createWWLoginPanel({
    el: "#panel",
    params: %s,
    onCheckWeComLogin: tell("check"), onLoginSuccess: tell("success"), onLoginFail: tell("fail"),
  });
</script>"""


@pytest.fixture
def page(browser: Browser, sandbox: SandboxHandle) -> Iterator[Page]:
    """WeCom's host and the app's site are answered here; everything else is refused."""
    script = (npm_modules() / "@wecom" / "jssdk" / "dist" / "wecom.global.prod.js").read_text(encoding="utf-8")
    context = browser.new_context()
    context.route("**/*", lambda route: route.abort())
    lead(context, HOST, sandbox.base_url)
    context.route(f"{SITE}/**", lambda route: route.fulfill(body="signed in", content_type="text/html"))
    context.route(f"{SITE}/wecom.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page = context.new_page()
    yield page
    close(context)


def open_panel(page: Page, origin: str = SITE, **changes: str) -> FrameLocator:
    """The app's login page with WeCom's component on it; gives the inside of the panel."""
    params = {
        "login_type": "CorpApp",
        "appid": CORPID,
        "agentid": str(AGENTID),
        "redirect_uri": f"{SITE}/cb",
        "state": "S1",
        **changes,
    }
    body = LOGIN_PAGE % json.dumps(params)
    page.context.route(f"{origin}/login", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto(f"{origin}/login")
    return page.frame_locator("#panel iframe")


def scan(panel: FrameLocator, button: str) -> None:
    panel.get_by_role("button", name="李雷 LiLei").click()
    panel.get_by_role("button", name=button).click()


def reported(page: Page, count: int) -> list[Any]:
    page.wait_for_function("count => window.reported.length >= count", arg=count, timeout=60_000)
    return list(page.evaluate("window.reported"))


def test_the_component_takes_the_page_along(page: Page, api: Api) -> None:
    scan(open_panel(page, redirect_type="top"), "确认登录")

    page.wait_for_url(f"{SITE}/cb?code=*")
    code = page.url.split("code=")[1].partition("&")[0]
    assert page.url.endswith("&state=S1")
    assert api.get("auth/getuserinfo", code=code)["userid"] == "LiLei"


def test_the_component_hands_the_code_to_a_callback(page: Page, api: Api) -> None:
    panel = open_panel(page, redirect_type="callback")
    assert reported(page, 1) == [["check", {"isWeComLogin": False}]]

    scan(panel, "确认登录")

    name, data = reported(page, 2)[1]
    assert name == "success"
    assert api.get("auth/getuserinfo", code=data["code"])["userid"] == "LiLei"
    assert page.url == f"{SITE}/login"


def test_refusing_in_the_panel(page: Page) -> None:
    scan(open_panel(page, redirect_type="callback"), "拒绝")

    assert reported(page, 2)[1] == ["fail", {"errCode": 40029, "errMsg": "refused"}]


def test_another_site_s_panel_gets_no_code(page: Page) -> None:
    page.context.route(
        "http://localhost:4001/wecom.js",
        lambda route: route.fulfill(
            path=str(npm_modules() / "@wecom" / "jssdk" / "dist" / "wecom.global.prod.js"),
            content_type="text/javascript",
        ),
    )
    scan(open_panel(page, origin="http://localhost:4001", redirect_type="callback"), "确认登录")

    assert reported(page, 2)[1] == ["fail", {"errCode": 50001, "errMsg": "redirect_uri unauthorized"}]


def test_the_panel_alone_may_navigate(page: Page) -> None:
    panel = open_panel(page, redirect_type="self")
    scan(panel, "确认登录")

    expect(panel.get_by_text("signed in")).to_be_visible()
    assert page.url == f"{SITE}/login"


@pytest.mark.parametrize(("size", "width"), [("middle", 480), ("small", 320)])
def test_the_panel_fits_its_frame(page: Page, size: str, width: int) -> None:
    panel = open_panel(page, panel_size=size)

    box = page.locator("#panel iframe").bounding_box()
    assert box is not None
    assert box["width"] == width
    expect(panel.get_by_role("heading", name="企业微信登录")).to_be_in_viewport()
    scrolls = panel.locator("html").evaluate("html => html.scrollWidth > html.clientWidth")
    assert scrolls is False
