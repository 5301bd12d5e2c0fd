"""WeCom's own QR panel, @wecom/jssdk, in Chromium, which reaches its fixed host by a resolver rule and TLS.

Nothing is intercepted: the sandbox's authority is trusted by its fingerprint, and the app's site is a server.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserType, FrameLocator, Page

from tests.http_server import QuietHandler, serve_with_handler
from tests.sandbox.conftest import Api
from tests.sandbox.programs import npm_modules
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

pytestmark = pytest.mark.e2e
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


@dataclass
class Site:
    """An app's site on a port of localhost. `pages` maps a path to content type and body."""

    origin: str
    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)


class SiteHandler(QuietHandler):
    pages: dict[str, tuple[str, bytes]]

    def do_GET(self) -> None:
        kind, body = self.pages.get(self.path.partition("?")[0], ("text/html", b"signed in"))
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def other_site() -> Iterator[Site]:
    """A site that is not the app's."""
    script = npm_modules() / "@wecom" / "jssdk" / "dist" / "wecom.global.prod.js"
    pages = {"/wecom.js": ("text/javascript", script.read_bytes())}
    with serve_with_handler(SiteHandler, pages=pages) as port:
        yield Site(f"http://localhost:{port}", pages)


@pytest.fixture
def site(other_site: Site, sandbox: SandboxHandle) -> Iterator[Site]:
    """The app's own site, its trusted domain."""
    pages = dict(other_site.pages)
    with serve_with_handler(SiteHandler, pages=pages) as port:
        sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_domain": f"localhost:{port}"})
        yield Site(f"http://localhost:{port}", pages)


@pytest.fixture(scope="module")
def led_browser(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any], running_sandbox: SandboxHandle, tls_port: int
) -> Iterator[Browser]:
    """Chromium as the guide starts it; other hosts are not found."""
    flags = [
        f"--host-resolver-rules=MAP *.qq.com:443 127.0.0.1:{tls_port},MAP * ~NOTFOUND,EXCLUDE localhost",
        f"--ignore-certificate-errors-spki-list={running_sandbox.control('GET', 'ca')['spki_sha256']}",
    ]
    options = {**browser_type_launch_args, "args": [*browser_type_launch_args["args"], *flags]}
    browser = browser_type.launch(**options)
    yield browser
    browser.close()


@pytest.fixture
def page(led_browser: Browser) -> Iterator[Page]:
    context = led_browser.new_context()
    yield context.new_page()
    context.close()


def open_panel(page: Page, site: Site, redirect_uri: str = "", **changes: str) -> FrameLocator:
    """Open the site's login page with WeCom's component. Return the inside of the panel."""
    params = {
        "login_type": "CorpApp",
        "appid": CORPID,
        "agentid": str(AGENTID),
        "redirect_uri": redirect_uri or f"{site.origin}/cb",
        "state": "S1",
        **changes,
    }
    site.pages["/login"] = ("text/html", (LOGIN_PAGE % json.dumps(params)).encode())
    page.goto(f"{site.origin}/login")
    return page.frame_locator("#panel iframe")


def scan(panel: FrameLocator, button: str) -> None:
    panel.get_by_role("button", name="李雷 LiLei").click()
    panel.get_by_role("button", name=button).click()


def reported(page: Page, count: int) -> list[Any]:
    page.wait_for_function("count => window.reported.length >= count", arg=count, timeout=60_000)
    return list(page.evaluate("window.reported"))


def test_the_component_takes_the_page_along(page: Page, site: Site, api: Api) -> None:
    scan(open_panel(page, site, redirect_type="top"), "确认登录")

    page.wait_for_url(f"{site.origin}/cb?code=*")
    code = page.url.split("code=")[1].partition("&")[0]
    assert page.url.endswith("&state=S1")
    assert api.get("auth/getuserinfo", code=code)["userid"] == "LiLei"


def test_who_refuses_and_another_site_s_panel_get_no_code(page: Page, site: Site, other_site: Site) -> None:
    scan(open_panel(page, site, redirect_type="callback"), "拒绝")
    assert reported(page, 2)[1] == ["fail", {"errCode": 40029, "errMsg": "refused"}]

    panel = open_panel(page, other_site, redirect_uri=f"{site.origin}/cb", redirect_type="callback")
    scan(panel, "确认登录")

    assert reported(page, 2)[1] == ["fail", {"errCode": 50001, "errMsg": "redirect_uri unauthorized"}]
