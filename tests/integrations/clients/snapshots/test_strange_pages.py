"""Pages that are no dashboard, lead elsewhere, or call other hosts, on a web server of this test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import psutil
import pytest

from integrations.clients import snapshots
from integrations.clients.snapshots import Access, Format, PageMarks, PictureOptions, PictureProblem, read_host
from tests.bi_pages import load_picture
from tests.chromium import find_picture_browser, require_chromium
from tests.http_server import QuietServer, serve_in_thread
from tests.integrations.clients.snapshots.test_browser import InThread, refused
from tests.nightly import nightly

pytestmark = pytest.mark.e2e
CARD = '<div class="card" style="height:300px">销售额<svg width="50" height="50"></svg></div>'
QR_CODE = '<p>请用企业微信扫码登录</p><svg width="200" height="200"></svg>'
# A card below the fold that fails once it is visible.
FAILS_BELOW = (
    CARD
    + '<div style="height:2500px"></div><div id="last" class="card" style="height:300px">…</div><script>'
    + "new IntersectionObserver((seen) => { if (seen[0].isIntersecting) last.innerHTML = '<b class=failed>出错</b>' })"
    + ".observe(last)</script>"
)
# It shows its sign from the start, and a clock keeps it from being quiet.
READY_AT_ONCE = (
    '<i id="ready"></i><b id="clock"></b>'
    + FAILS_BELOW.replace("last.innerHTML =", "setTimeout(() => last.innerHTML =").replace("</b>' })", "</b>', 500) })")
    + '<script>setInterval(() => { clock.innerHTML = "<u>now</u>" }, 200)</script>'
)
# Its frame says when it has drawn, after three seconds of computing without a request.
WAITS_FOR_FRAME = (
    CARD
    + '<b class="failed">…</b><script>addEventListener("message", () => document.querySelector(".failed").remove())'
    + '</script><iframe src="/computes"></iframe>'
)
COMPUTES = (
    "<script>const compute = () => { for (const end = performance.now() + 500; performance.now() < end;); }</script>"
    + "<p>…</p><script>compute()</script>" * 6
    + "<script>parent.postMessage('drawn', '*')</script>"
)
# Chromium retries a refused stream every three seconds.
NEVER_LOADED = (
    CARD
    + '<iframe id="open"></iframe><script>document.all.open.contentDocument.open(); new EventSource("{other}/events")'
    + "</script>"
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

# Asks a STUN server for its own address, which takes less than two seconds.
CALLS = (
    '<i class="busy">…</i><script>const peer = new RTCPeerConnection({iceServers: [{urls: "stun:{other}"}]});'
    'peer.createDataChannel("x"); peer.createOffer().then((offer) => peer.setLocalDescription(offer));'
    "</script><script>"
    "const end = () => document.querySelector('.busy').remove();"
    "if (window.RTCPeerConnection) setTimeout(end, 2000); else end();</script>"
)


@dataclass
class Site:
    """A web site. `other` is the address to which paths of /to/ redirect; `asked` lists the requested paths.

    `pages` are by path. /hangs is answered when the site ends, /after-hangs once /hangs was requested.
    """

    pages: dict[str, str]
    other: str
    asked: list[str] = field(default_factory=list)
    address: str = ""
    has_hung: threading.Event = field(default_factory=threading.Event)
    has_ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def served(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            path = urlsplit(self.path).path
            if path == "/hangs":
                site.has_hung.set()
                site.has_ended.wait()
            elif path == "/after-hangs":
                site.has_hung.wait()
            leads_away = path.startswith("/to/")
            self.send_response(302 if leads_away else 200)
            if leads_away:
                self.send_header("Location", f"{site.other}{path}")
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(site.pages.get(path, "").replace("{other}", site.other).encode())

        do_POST = do_CONNECT = do_GET

        def log_message(self, *_words: object) -> None:
            pass

    with serve_in_thread(QuietServer(("127.0.0.1", 0), Handler)) as port:
        site.address = f"http://127.0.0.1:{port}"
        yield site
        site.has_hung.set()
        site.has_ended.set()


PAGES = {
    "/scan": QR_CODE,
    "/leaves": CARD + '<script>location.href = "{other}/login"</script>',
    "/refreshes": CARD + '<meta http-equiv="refresh" content="0;url={other}/login">',
    "/fails-below": FAILS_BELOW,
    "/ready-at-once": READY_AT_ONCE,
    "/reaches-out": REACHES_OUT,
    "/opens-another": CARD + '<script>open("/hangs")</script><img src="/after-hangs">',
    "/frames": CARD + '<iframe src="{other}/frame"></iframe><img src="{other}/image">',
    "/never-loaded": NEVER_LOADED,
    "/waits-for-frame": WAITS_FOR_FRAME,
    "/computes": COMPUTES,
    "/calls": CARD + CALLS,
    "/login-report": CARD,
    "/figures": "<p>异常订单 3</p><p>支付失败 12</p>",
    "/broken": "<p>系统异常，请稍后重试</p>",
    "/grows": CARD + '<div style="min-height:calc(100vh + 300px)"></div>',
    "/print": CARD + "<style>@media print { body { display: none } }</style>",
}


@pytest.fixture(scope="module")
def elsewhere_served() -> Iterator[Site]:
    with served(Site({}, "")) as site:
        site.address = site.address.replace("127.0.0.1", "localhost")
        yield site


@pytest.fixture(scope="module")
def bi_served(elsewhere_served: Site) -> Iterator[Site]:
    with served(Site(PAGES, elsewhere_served.address)) as site:
        yield site


@contextmanager
def opened(program: str, bi: Site) -> Iterator[InThread]:
    browser = InThread(program, Access(hosts=(read_host(bi.address),)))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def browser(bi_served: Site) -> Iterator[InThread]:
    with opened(find_picture_browser(), bi_served) as browser:
        yield browser


@pytest.fixture(scope="module")
def chromium(bi_served: Site) -> Iterator[InThread]:
    """The browser for tests of what a page can reach."""
    with opened(require_chromium(), bi_served) as browser:
        yield browser


@pytest.fixture
def elsewhere(elsewhere_served: Site) -> Site:
    elsewhere_served.asked.clear()
    return elsewhere_served


@pytest.fixture
def bi(bi_served: Site, elsewhere: Site) -> Site:
    bi_served.asked.clear()
    bi_served.other = elsewhere.address
    return bi_served


def test_a_page_of_few_words_that_says_that_it_failed_is_an_error(browser: InThread, bi: Site) -> None:
    assert refused(browser, f"{bi.address}/broken", marks=PageMarks()) == PictureProblem.ERROR_PAGE


@pytest.mark.parametrize("path", ["/to/login", "/leaves", "/refreshes", "/scan#/login"])
def test_a_bi_that_sends_whoever_it_does_not_know_to_a_sign_in_is_not_down(
    chromium: InThread, bi: Site, elsewhere: Site, path: str
) -> None:
    assert refused(chromium, f"{bi.address}{path}", marks=PageMarks()) == PictureProblem.SIGN_IN_PAGE
    assert elsewhere.asked == []


@pytest.mark.parametrize(("path", "ready"), [("/fails-below", ""), ("/ready-at-once", "#ready")])
def test_a_card_that_fails_below_the_fold_is_seen(browser: InThread, bi: Site, path: str, ready: str) -> None:
    marks = PageMarks(card=".card", ready=ready, error=".failed")

    assert refused(browser, f"{bi.address}{path}", marks=marks) == PictureProblem.ERROR_PAGE


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/never-loaded", ""),  # a frame that never loads, and a refused stream
        ("/opens-another", ""),  # it opens another page that never answers
        ("/waits-for-frame", ".failed"),  # its frame computes
        ("/login-report", ""),  # the word "login" alone makes neither a sign-in nor an error
        ("/figures", ""),
    ],
)
def test_a_strange_page_is_taken(
    browser: InThread, bi: Site, path: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "UNLOADED_SECONDS", 1 if error else snapshots.UNLOADED_SECONDS)

    picture = browser.take_picture(f"{bi.address}{path}", PictureOptions(), PageMarks(error=error), within_seconds=30)

    assert picture.content.startswith(b"\x89PNG")


def test_a_page_that_is_always_higher_than_its_window_is_taken_whole(browser: InThread, bi: Site) -> None:
    picture = browser.take_picture(f"{bi.address}/grows", PictureOptions(), PageMarks(), within_seconds=30)

    image = load_picture(picture.content)
    assert (image.width, image.height) == (2 * picture.width, 2 * picture.height)


def test_a_pdf_shows_the_page_as_screens_do(browser: InThread, bi: Site) -> None:
    pdf = browser.take_picture(
        f"{bi.address}/print", PictureOptions(kind=Format.PDF), PageMarks(), within_seconds=30
    ).content

    assert pdf.startswith(b"%PDF-")
    assert b"/Font" in pdf


def test_a_page_reaches_no_other_host_in_any_way(chromium: InThread, bi: Site, elsewhere: Site) -> None:
    picture = chromium.take_picture(f"{bi.address}/reaches-out", PictureOptions(), PageMarks(), within_seconds=30)

    assert picture.content.startswith(b"\x89PNG")
    assert {"/to/redirected", "/to/style", "/to/fetched"} <= set(bi.asked)
    assert elsewhere.asked == []


def test_nor_another_port_of_the_bi_and_the_log_names_it_once(
    chromium: InThread, bi: Site, elsewhere: Site, caplog: pytest.LogCaptureFixture
) -> None:
    bi.other = elsewhere.address.replace("localhost", "127.0.0.1")

    for path in ("frames", "reaches-out"):  # redirects and web sockets pass the route unseen
        chromium.take_picture(f"{bi.address}/{path}", PictureOptions(), PageMarks(), within_seconds=30)

    assert refused(chromium, f"{bi.address}/leaves", marks=PageMarks()) == PictureProblem.SIGN_IN_PAGE
    assert elsewhere.asked == []
    assert caplog.text.count(f"asks for {read_host(bi.other)}, which is neither the BI nor in SNAPSHOT_HOSTS") == 1


def test_a_page_sends_nothing_past_the_proxy_by_webrtc(chromium: InThread, bi: Site) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stun:
        stun.bind(("127.0.0.1", 0))
        stun.setblocking(False)
        bi.other = f"127.0.0.1:{stun.getsockname()[1]}"

        chromium.take_picture(f"{bi.address}/calls", PictureOptions(), PageMarks(busy=".busy"), within_seconds=30)

        with pytest.raises(BlockingIOError):
            stun.recv(1000)


@pytest.mark.parametrize(
    ("url", "is_reached"),
    [
        ("http://bi.example:8080/page", True),
        ("https://bi.example/page", True),
        ("http://BI.example:80/page", True),
        ("http://bi.example:22/", False),
        ("https://maps.example/tile", True),
        ("https://maps.example:8080/tile", False),
        ("http://[fd00::1]:8080/", True),
        ("http://[fd00::1]:9090/", False),
        ("file://bi.example/etc/passwd", False),
        ("https://other.example/", False),
    ],
)
def test_which_hosts_and_ports_are_reached(url: str, is_reached: bool) -> None:
    access = Access(hosts=("bi.example:8080", "maps.example", "[fd00::1]:8080"))

    assert access.reaches(url) == is_reached


@nightly
def test_nor_through_the_proxy() -> None:
    page = REACHES_OUT + REACHES_OUT.replace("{other}", "http://other.example")
    with served(Site({"/reaches-out": page}, "http://bi.example:9090")) as proxy:
        access = Access(hosts=("bi.example",), proxy_url=proxy.address.replace("http://", "http://me:proxy-password@"))
        browser = InThread(require_chromium(), access)
        try:
            browser.take_picture("http://bi.example/reaches-out?ssoToken=sign-in-token", PictureOptions(), PageMarks())
            commands = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
        finally:
            browser.close()

    assert {urlsplit(asked).netloc for asked in proxy.asked} == {"bi.example"}
    assert "http://bi.example/to/fetched" in proxy.asked
    assert any("proxy-pac-url" in command for command in commands)
    assert not any(secret in command for command in commands for secret in ("proxy-password", "sign-in-token"))
