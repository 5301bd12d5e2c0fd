"""Pages that are no dashboard, lead elsewhere, or reach for other hosts: on a web server of this test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import psutil
import pytest

from integrations.clients.snapshots.browser import Access
from integrations.clients.snapshots.options import Kind, Options, PageMarks, Reason
from tests.chromium import required_chromium
from tests.integrations.clients.snapshots.test_browser import InThread, refused

pytestmark = pytest.mark.e2e
CARD = '<div class="card" style="height:300px">销售额<svg width="50" height="50"></svg></div>'
QR_CODE = '<p>请用企业微信扫码登录</p><svg width="200" height="200"></svg>'
# A card below the fold, which fails once it is seen.
FAILS_BELOW = (
    CARD
    + '<div style="height:2500px"></div><div id="last" class="card" style="height:300px">…</div><script>'
    + "new IntersectionObserver((seen) => { if (seen[0].isIntersecting) last.innerHTML = '<b class=failed>出错</b>' })"
    + ".observe(last)</script>"
)
REACHES_OUT = (
    CARD
    + '<img src="/to/redirected"><img src="{other}/image"><iframe src="{other}/frame"></iframe>'
    + '<iframe srcdoc="&lt;meta http-equiv=refresh content=&quot;0;url={other}/refreshed&quot;&gt;"></iframe>'
    + '<link rel="prefetch" href="{other}/prefetched"><link rel="preconnect" href="{other}">'
    + '<link rel="stylesheet" href="/to/style"><object data="{other}/object"></object><script>'
    + 'fetch("/to/fetched").catch(() => 0); navigator.sendBeacon("{other}/beacon"); open("{other}/popup");'
    + 'new WebSocket("{other}/socket".replace("http", "ws")); new EventSource("{other}/events");'
    + 'navigator.serviceWorker && navigator.serviceWorker.register("/to/worker").catch(() => 0);'
    + "</script>"
)


@dataclass
class Site:
    """`pages`: by their path. `other`: the address to which paths of /to/ lead. `asked`: what was asked for."""

    pages: dict[str, str]
    other: str
    asked: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def served(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            path = urlsplit(self.path).path
            leads_away = path.startswith("/to/")
            self.send_response(302 if leads_away else 200)
            if leads_away:
                self.send_header("Location", f"{site.other}{path}")
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(site.pages.get(path, "").replace("{other}", site.other).encode())

        do_POST = do_CONNECT = do_GET

        def log_message(self, *_words: object) -> None:
            """Nothing: the test looks at what was asked."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


PAGES = {
    "/dashboard": CARD,
    "/scan": QR_CODE,
    "/leaves": CARD + '<script>location.href = "{other}/login"</script>',
    "/refreshes": CARD + '<meta http-equiv="refresh" content="0;url={other}/login">',
    "/fails-below": FAILS_BELOW,
    "/reaches-out": REACHES_OUT,
    "/print": CARD + "<style>@media print { body { display: none } }</style>",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[InThread]:
    opened = InThread(required_chromium())
    yield opened
    opened.close()


@pytest.fixture
def elsewhere() -> Iterator[Site]:
    with served(Site({}, "")) as site:
        site.address = site.address.replace("127.0.0.1", "localhost")
        yield site


@pytest.fixture
def bi(elsewhere: Site) -> Iterator[Site]:
    with served(Site(PAGES, elsewhere.address)) as site:
        yield site


@pytest.mark.parametrize("path", ["/to/login", "/leaves", "/refreshes", "/scan#/login"])
def test_a_bi_that_sends_whoever_it_does_not_know_to_a_sign_in_is_not_down(
    browser: InThread, bi: Site, elsewhere: Site, path: str
) -> None:
    assert refused(browser, f"{bi.address}{path}", marks=PageMarks()) == Reason.SIGN_IN_PAGE
    assert elsewhere.asked == []


def test_a_card_that_fails_below_the_fold_is_seen(browser: InThread, bi: Site) -> None:
    marks = PageMarks(card=".card", error=".failed")

    assert refused(browser, f"{bi.address}/fails-below", marks=marks) == Reason.ERROR_PAGE


def test_a_pdf_shows_the_page_as_screens_do(browser: InThread, bi: Site) -> None:
    pdf = browser.take(f"{bi.address}/print", Options(kind=Kind.PDF), PageMarks(), within_seconds=30).content

    assert b"/Font" in pdf


def test_a_page_reaches_no_other_host_in_any_way(browser: InThread, bi: Site, elsewhere: Site) -> None:
    picture = browser.take(f"{bi.address}/reaches-out", Options(), PageMarks(), within_seconds=30)

    assert picture.content.startswith(b"\x89PNG")
    assert {"/to/redirected", "/to/style", "/to/fetched"} <= set(bi.asked)
    assert elsewhere.asked == []


def test_nor_through_the_proxy(bi: Site, elsewhere: Site) -> None:
    with served(Site({"/reaches-out": REACHES_OUT}, "http://other.example")) as proxy:
        access = Access(hosts=("bi.example",), proxy_url=proxy.address.replace("http://", "http://me:proxy-password@"))
        browser = InThread(required_chromium(), access)
        try:
            browser.take(
                "http://bi.example/reaches-out?ssoToken=sign-in-token", Options(), PageMarks(), within_seconds=30
            )
            commands = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
        finally:
            browser.close()

    assert {urlsplit(asked).hostname for asked in proxy.asked} == {"bi.example"}
    assert "http://bi.example/to/fetched" in proxy.asked
    assert any("proxy-pac-url" in command for command in commands)
    assert not any(secret in command for command in commands for secret in ("proxy-password", "sign-in-token"))
