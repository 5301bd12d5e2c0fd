"""Page pictures by one Chromium, each in a fresh context that reaches only the BI's hosts."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import ModuleType

    from playwright.sync_api import Browser, Frame, Page, Playwright, Request, Response, Route


# --- Options of a picture, and reasons why it could not be taken ------------------------------------------------------


class Width(StrEnum):
    PHONE = "phone"
    DESKTOP = "desktop"


class Theme(StrEnum):
    LIGHT = "light"
    DARK = "dark"


class Format(StrEnum):
    PICTURE = "picture"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """The way a page is shown and cropped. `is_cropped`: only the cards, without the BI's own frame. `cover_ratio`:
    width by height of an additional cover, cut from the top; 0 for no cover."""

    width: Width = Width.DESKTOP
    theme: Theme = Theme.LIGHT
    kind: Format = Format.PICTURE
    is_cropped: bool = True
    cover_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A page picture. `content`: PNG or PDF. `width`, `height`: of a PNG, in CSS pixels. `cover`: PNG, may be empty."""

    content: bytes
    width: int = 0
    height: int = 0
    cover: bytes = b""


@dataclass(frozen=True, slots=True)
class PageMarks:
    """CSS selectors that show the state of a BI's page; they differ by BI and version. Empty: unknown.

    `card`: a card of a dashboard. `ready`: present once everything is drawn; if known, only this mark is waited for.
    `busy`: present while something is being drawn. `error`: present if something could not be drawn.
    """

    card: str = ""
    ready: str = ""
    busy: str = '[aria-busy="true"], .loading, .spinner, .skeleton, .ant-spin-spinning'
    error: str = ""


class PictureProblem(StrEnum):
    """The reason why there is no picture. Stored in rows."""

    NOT_INSTALLED = "not-installed"
    BROWSER_FAILED = "browser-failed"
    UNREACHABLE = "unreachable"
    SIGN_IN_PAGE = "sign-in-page"
    ERROR_PAGE = "error-page"
    EMPTY = "empty"
    NOT_DRAWN = "not-drawn"
    TOO_LARGE = "too-large"


class SnapshotError(Exception):
    """A picture that could not be taken. The text is only the reason, because addresses carry tokens."""

    def __init__(self, reason: PictureProblem) -> None:
        super().__init__(reason.value)
        self.reason = reason


# A page counts as drawn after this time without a request under way and without a new element.
QUIET_SECONDS = 0.7
# Some frames never load, for example if their request was refused. A page that still waits for such a frame counts as
# drawn after this time without a request under way, a new element and a running script.
UNLOADED_SECONDS = 5
CHECKED_EVERY_MS = 100
# Time limit for drawing the cards that become visible in a taller window, if the page had its `ready` mark before.
UNCOVERED_WITHIN_SECONDS = 5
# Runs before the page's own scripts. It notices new elements of the page, not of its frames; and each script, also of a
# frame, that blocks the page for 50 ms.
INIT_SCRIPT = """
    delete window.RTCPeerConnection;
    delete window.webkitRTCPeerConnection;
    window.__changedAt = window.__blockedAt = performance.now();
    new PerformanceObserver(() => { window.__blockedAt = performance.now(); }).observe({type: "longtask"});
    new MutationObserver(() => { window.__changedAt = performance.now(); })
        .observe(document, {childList: true, subtree: true});
"""
_IS_BUSY = """([busy, quietMs, unloadedMs, waitsForLoad]) => {
    if (document.readyState !== "complete") {
        const lastAt = Math.max(window.__changedAt, window.__blockedAt);
        if (waitsForLoad || performance.now() - lastAt < unloadedMs) return true;
    }
    if (document.fonts.status !== "loaded") return true;
    if (performance.now() - window.__changedAt < quietMs) return true;
    const isShown = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 0;
    if (busy && [...document.querySelectorAll(busy)].some(isShown)) return true;
    return [...document.images].some((image) => isShown(image) && !image.complete);
}"""
_READ_PAGE_STATE = """([card, error]) => {
    const isShown = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 0;
    const shown = (selector) => [...document.querySelectorAll(selector)].filter(isShown);
    return {
        asksPassword: shown("input[type=password]").length > 0,
        hasError: Boolean(error) && shown(error).length > 0,
        hasCards: !card || shown(card).length > 0,
        drawings: shown("canvas, svg, table, img").length,
        text: document.body.innerText.trim().slice(0, 400),
    };
}"""
# The height of the page and what its inner scrolling boxes hide, in CSS pixels.
_WHOLE_HEIGHT = """() => {
    const hidden = [...document.querySelectorAll("*")]
        .filter((one) => one.clientHeight > 200 && /auto|scroll/.test(getComputedStyle(one).overflowY))
        .map((one) => one.scrollHeight - one.clientHeight);
    return Math.max(document.documentElement.scrollHeight, window.innerHeight + Math.max(0, ...hidden));
}"""
_CARDS_BOX = """(card) => {
    const boxes = [...document.querySelectorAll(card)].map((one) => one.getBoundingClientRect())
        .filter((box) => box.width > 0 && box.height > 0);
    const page = document.documentElement, margin = 16;
    const left = Math.max(0, Math.min(...boxes.map((box) => box.left)) + scrollX - margin);
    const top = Math.max(0, Math.min(...boxes.map((box) => box.top)) + scrollY - margin);
    const right = Math.min(page.scrollWidth, Math.max(...boxes.map((box) => box.right)) + scrollX + margin);
    const bottom = Math.min(page.scrollHeight, Math.max(...boxes.map((box) => box.bottom)) + scrollY + margin);
    return {x: left, y: top, width: right - left, height: bottom - top};
}"""
_SIGN_IN_PATH = re.compile(r"/(login|sign-?in|passport)(?![\w-])", re.IGNORECASE)
# A page with little text, no drawings and one of these words is an error page. A dashboard may hold 异常 or 失败 alone.
_ERROR_WORDS = (
    *("不存在", "无权限", "没有权限", "无权访问", "出错", "加载失败", "请求失败", "访问失败"),
    *("系统异常", "服务异常", "网络异常"),
    *("not found", "permission denied", "no permission", "an error", "server error", "went wrong", "forbidden"),
)


@dataclass
class Traffic:
    """The requests of a page and its frames that are under way. Streams, which never end, do not count. `address`: the
    last address that the page itself requested, even if it was not reached."""

    _requests: set[Request] = field(default_factory=set)
    changed_at: float = field(default_factory=time.monotonic)
    address: str = ""

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self._note_start(request, page.main_frame))
        page.on("requestfinished", self._note_end)
        page.on("requestfailed", self._note_end)

    def is_quiet(self, seconds: float = QUIET_SECONDS) -> bool:
        return not self._requests and time.monotonic() - self.changed_at > seconds

    def _note_start(self, request: Request, frame: Frame) -> None:
        if request.is_navigation_request() and request.frame == frame:
            self.address = request.url
        if request.resource_type not in {"eventsource", "websocket", "ping"}:
            self._requests.add(request)
            self.changed_at = time.monotonic()

    def _note_end(self, request: Request) -> None:
        # Streams are not counted. A refused stream retries every few seconds, which says nothing about the page.
        if request in self._requests:
            self._requests.remove(request)
            self.changed_at = time.monotonic()


def wait_until_drawn(page: Page, traffic: Traffic, marks: PageMarks, *, deadline: float) -> None:
    """Wait until the page is drawn. `deadline`: of time.monotonic(). Raises SnapshotError (NOT_DRAWN)."""
    while not (page.locator(marks.ready).count() > 0 if marks.ready else _is_quiet(page, traffic, marks)):
        if time.monotonic() > deadline:
            raise SnapshotError(PictureProblem.NOT_DRAWN)
        page.wait_for_timeout(CHECKED_EVERY_MS)


def _is_quiet(page: Page, traffic: Traffic, marks: PageMarks) -> bool:
    if not traffic.is_quiet():
        return False
    waits_for_load = not traffic.is_quiet(UNLOADED_SECONDS)
    return not page.evaluate(_IS_BUSY, [marks.busy, QUIET_SECONDS * 1000, UNLOADED_SECONDS * 1000, waits_for_load])


def check_is_dashboard(page: Page, marks: PageMarks) -> None:
    """Raise SnapshotError unless the page is a dashboard with content."""
    state: dict[str, Any] = page.evaluate(_READ_PAGE_STATE, [marks.card, marks.error])
    url = urlsplit(page.url)
    if state["asksPassword"] or _SIGN_IN_PATH.search(url.path) or _SIGN_IN_PATH.search(url.fragment):
        raise SnapshotError(PictureProblem.SIGN_IN_PAGE)
    if state["hasError"] or url.scheme not in {"http", "https"}:  # the browser's own error page
        raise SnapshotError(PictureProblem.ERROR_PAGE)
    text, has_drawings = state["text"].lower(), state["drawings"] > 0
    has_known_cards = bool(marks.card) and state["hasCards"]
    if not (has_drawings or has_known_cards) and len(text) < 300 and any(word in text for word in _ERROR_WORDS):
        raise SnapshotError(PictureProblem.ERROR_PAGE)
    if not state["hasCards"] or (not has_drawings and not text):
        raise SnapshotError(PictureProblem.EMPTY)


logger = logging.getLogger(__name__)

# Names of Chromium's program.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRAWN_WITHIN_SECONDS = 60
# Limit for the first byte: a BI that has not answered by then is down.
ANSWERED_WITHIN_SECONDS = 20
# Limit in CSS pixels, because nobody can read a longer picture on a phone.
HEIGHT_AT_MOST = 10_000
FIRST_HEIGHT = {Width.PHONE: 844, Width.DESKTOP: 900}
WIDTHS = {Width.PHONE: 390, Width.DESKTOP: 1280}
# WeCom takes 10 MB for a picture and 20 MB for a file.
BYTES_AT_MOST = {Format.PICTURE: 10 * 1024 * 1024, Format.PDF: 20 * 1024 * 1024}
# Larger pictures have one pixel for each CSS pixel, instead of four.
SHARP_PIXELS_AT_MOST = 4_000_000
# The width at which WeCom shows a cover; a cover of a narrower page is taken at double resolution.
COVER_WIDTH = 1068
RENDERER_MEGABYTES = 512
# A limit, because a page may request any number of hosts.
REFUSED_HOSTS_LOGGED = 20
# Ports that are allowed for each host, besides the port given with it.
WEB_PORTS = frozenset({80, 443})
_PHONE_USER_AGENT = (
    "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"
)


# The same rule as Access.reaches, for the browser's proxy settings: which host and port a request may go to.
_PROXY_SCRIPT = """function FindProxyForURL(url, host) {
    const [, hostAndPort, port] = url.match(/^[a-z]+:\\/\\/((?:\\[[^\\]]*\\]|[^:\\/?#]*)(?::(\\d+))?)/);
    const isWeb = port === undefined || %(ports)s.includes(port);
    const isReached = isWeb ? %(names)s.includes(host) : %(hosts)s.includes(hostAndPort);
    return isReached ? %(way)s : "PROXY 127.0.0.1:9";
}"""
# An address at which nothing listens.
_CLOSED_PROXY = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Access:
    """The hosts that the browser may reach, and how. `hosts`: names, with a port if it is not one of WEB_PORTS, which
    are always allowed. `proxy_url`: empty for none."""

    hosts: tuple[str, ...]
    proxy_url: str = ""
    language: str = "zh-CN"
    time_zone: str = "Asia/Shanghai"

    @property
    def names(self) -> list[str]:
        """The hosts without their ports, each once."""
        return list(dict.fromkeys(name for host in self.hosts if (name := urlsplit(f"//{host}").hostname)))

    @property
    def hosts_with_ports(self) -> list[str]:
        """The hosts, each with all ports that are allowed for it."""
        hosts = [f"[{name}]" if ":" in name else name for name in self.names]
        return [
            *(f"{host}:{port}" for host in hosts for port in sorted(WEB_PORTS)),
            *(host for host in self.hosts if urlsplit(f"//{host}").port),
        ]

    def reaches(self, url: str) -> bool:
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or address.hostname not in self.names:
            return False
        return address.port is None or address.port in WEB_PORTS or address.netloc in self.hosts


class SnapshotBrowser:
    """A running Chromium, for one thread. The caller closes it."""

    def __init__(self, executable: str, access: Access) -> None:
        """Start Chromium. `executable`: its path; empty for the one that playwright knows. Raises SnapshotError."""
        self._access = access
        self._refused_hosts: set[str] = set()
        self._api = _import_playwright()
        proxy: Any = None
        if access.proxy_url:
            parts = urlsplit(access.proxy_url)
            server = f"{parts.scheme}://{parts.hostname}:{parts.port or 80}"
            proxy = {"server": server, "username": parts.username or "", "password": parts.password or ""}
        self._driver: Playwright = self._api.sync_playwright().start()
        try:
            self._browser: Browser = self._driver.chromium.launch(
                executable_path=executable or None, args=list(_list_flags(access)), proxy=proxy
            )
        except self._api.Error as error:
            self._driver.stop()
            raise SnapshotError(PictureProblem.NOT_INSTALLED) from error

    def close(self) -> None:
        """End Chromium. A browser that has died can be closed, too."""
        try:
            self._browser.close()
        except self._api.Error:
            pass
        finally:
            self._driver.stop()

    def take_picture(
        self, address: str, options: PictureOptions, marks: PageMarks, *, within_seconds: float = DRAWN_WITHIN_SECONDS
    ) -> Picture:
        """Take a picture of `address`. It may carry a token, so no error and no log shows it. Raises SnapshotError."""
        deadline = time.monotonic() + within_seconds
        try:
            with self._prepare_page(options) as (page, traffic):
                self._open(page, address, traffic, deadline)
                wait_until_drawn(page, traffic, marks, deadline=deadline)
                self._check_redirect(traffic)
                check_is_dashboard(page, marks)
                _show_whole_page(page, traffic, marks, options, deadline)
                return _capture_page(page, options, marks)
        except self._api.TimeoutError as error:
            raise SnapshotError(PictureProblem.NOT_DRAWN) from error.with_traceback(None)
        except self._api.Error:
            # `from None`, because the text of playwright's errors holds the address.
            raise SnapshotError(PictureProblem.BROWSER_FAILED) from None

    def _open(self, page: Page, address: str, traffic: Traffic, deadline: float) -> None:
        """Open the page. Raises SnapshotError if it is not a page of the BI."""
        seconds = min(ANSWERED_WITHIN_SECONDS, deadline - time.monotonic())
        try:
            response: Response | None = page.goto(address, wait_until="commit", timeout=max(1.0, seconds * 1000))
        except self._api.Error:
            self._check_redirect(traffic)
            raise SnapshotError(PictureProblem.UNREACHABLE) from None
        status = 0 if response is None else response.status
        if status in {401, 403}:
            raise SnapshotError(PictureProblem.SIGN_IN_PAGE)
        if status in {502, 503, 504}:
            raise SnapshotError(PictureProblem.UNREACHABLE)
        if status >= 400:
            raise SnapshotError(PictureProblem.ERROR_PAGE)

    def _check_redirect(self, traffic: Traffic) -> None:
        """Raise SnapshotError if the BI redirected to another host, where people sign in."""
        if not self._access.reaches(traffic.address):
            self._log_refused(traffic.address)
            raise SnapshotError(PictureProblem.SIGN_IN_PAGE)

    @contextmanager
    def _prepare_page(self, options: PictureOptions) -> Iterator[tuple[Page, Traffic]]:
        is_phone = options.width == Width.PHONE
        context = self._browser.new_context(
            viewport={"width": WIDTHS[options.width], "height": FIRST_HEIGHT[options.width]},
            device_scale_factor=2,
            is_mobile=is_phone,
            user_agent=_PHONE_USER_AGENT if is_phone else None,
            color_scheme="dark" if options.theme == Theme.DARK else "light",
            reduced_motion="reduce",
            locale=self._access.language,
            timezone_id=self._access.time_zone,
            accept_downloads=False,
            service_workers="block",
        )
        try:
            context.add_init_script(INIT_SCRIPT)
            context.route("**/*", self._allow_or_refuse)
            traffic = Traffic()
            page = context.new_page()
            traffic.watch(page)
            context.on("page", lambda popup: popup.close())
            yield page, traffic
        finally:
            context.close()

    def _allow_or_refuse(self, route: Route) -> None:
        if self._access.reaches(route.request.url):
            route.continue_()
        else:
            self._log_refused(route.request.url)
            route.abort("blockedbyclient")

    def _log_refused(self, url: str) -> None:
        """Log each refused host once, because a missing map or picture does not show which setting is missing."""
        host = read_host(url)
        if host and host not in self._refused_hosts and len(self._refused_hosts) < REFUSED_HOSTS_LOGGED:
            self._refused_hosts.add(host)
            logger.warning("a page of the BI asks for %s, which is neither the BI nor in SNAPSHOT_HOSTS: refused", host)


def _list_flags(access: Access) -> Iterator[str]:
    """Yield Chromium's flags. Resolver and proxy rules also stop redirects and web sockets, unlike `context.route`."""
    yield "--disable-dev-shm-usage"
    yield f"--js-flags=--max-old-space-size={RENDERER_MEGABYTES}"
    resolved = [urlsplit(access.proxy_url).hostname] if access.proxy_url else access.names
    yield f"--host-resolver-rules=MAP * ~NOTFOUND{''.join(f', EXCLUDE {name}' for name in resolved)}"
    if access.proxy_url:
        # The BI's hosts go through the proxy, all else to a port where nothing listens.
        parts = urlsplit(access.proxy_url)
        way = f"{'HTTPS' if parts.scheme == 'https' else 'PROXY'} {parts.hostname}:{parts.port or 80}"
        script = _PROXY_SCRIPT % {
            "names": json.dumps(access.names),
            "hosts": json.dumps(access.hosts),
            "ports": json.dumps(sorted(map(str, WEB_PORTS))),
            "way": json.dumps(way),
        }
        encoded = base64.b64encode(script.encode()).decode()
        yield f"--proxy-pac-url=data:application/x-ns-proxy-autoconfig;base64,{encoded}"
    else:
        # Not by a script: Chromium does not run it for loopback names, and would reach all of their ports.
        yield f"--proxy-server={_CLOSED_PROXY}"
        yield f"--proxy-bypass-list=<-loopback>;{';'.join(access.hosts_with_ports)}"
    # WebRTC would use neither the proxy nor the resolver rules. INIT_SCRIPT removes it from pages, too.
    yield "--webrtc-ip-handling-policy=disable_non_proxied_udp"
    if os.geteuid() == 0:
        # Chromium does not start as root with its own sandbox.
        yield "--no-sandbox"


def _show_whole_page(page: Page, traffic: Traffic, marks: PageMarks, options: PictureOptions, deadline: float) -> None:
    """Show the whole page at once, because a card is drawn only when it comes into the window."""
    height = _measure_height(page)
    if height > HEIGHT_AT_MOST:
        raise SnapshotError(PictureProblem.TOO_LARGE)
    if height <= FIRST_HEIGHT[options.width]:
        return
    page.set_viewport_size({"width": WIDTHS[options.width], "height": height})
    page.evaluate("() => { window.__changedAt = performance.now(); }")  # the quiet time begins again
    if marks.ready:
        # The mark was there before the window grew, so it says nothing about the cards that become visible now. A page
        # with this mark may never be quiet, so this wait is limited.
        settled_by = min(deadline, time.monotonic() + UNCOVERED_WITHIN_SECONDS)
        while not _is_quiet(page, traffic, marks) and time.monotonic() < settled_by:
            page.wait_for_timeout(CHECKED_EVERY_MS)
    wait_until_drawn(page, traffic, marks, deadline=deadline)
    check_is_dashboard(page, marks)


def _measure_height(page: Page) -> int:
    """Return the height in CSS pixels, including what inner scrolling boxes hide."""
    height: float = page.evaluate(_WHOLE_HEIGHT)
    return round(height)


def _capture_page(page: Page, options: PictureOptions, marks: PageMarks) -> Picture:
    width, height = WIDTHS[options.width], _measure_height(page)
    if options.kind == Format.PDF:
        page.emulate_media(media="screen")
        picture = Picture(page.pdf(width=f"{width}px", height=f"{height + 1}px", print_background=True))
    else:
        is_cropped = options.is_cropped and marks.card
        clip = {"x": 0, "y": 0, "width": width, "height": height}
        clip = page.evaluate(_CARDS_BOX, marks.card) if is_cropped else clip
        cover = b""
        if options.cover_ratio:
            cover_height = min(clip["height"], clip["width"] / options.cover_ratio)
            cover = _take_screenshot(page, {**clip, "height": cover_height}, is_sharp=clip["width"] < COVER_WIDTH)
        content = _take_screenshot(page, clip, is_sharp=clip["width"] * clip["height"] <= SHARP_PIXELS_AT_MOST)
        picture = Picture(content, round(clip["width"]), round(clip["height"]), cover)
    if len(picture.content) > BYTES_AT_MOST[options.kind]:
        raise SnapshotError(PictureProblem.TOO_LARGE)
    return picture


def _take_screenshot(page: Page, clip: Any, *, is_sharp: bool) -> bytes:
    return page.screenshot(full_page=True, clip=clip, scale="device" if is_sharp else "css", animations="disabled")


@cache
def _import_playwright() -> ModuleType:
    """Import playwright. Raises SnapshotError if it is not installed."""
    try:
        from playwright import sync_api  # noqa: PLC0415  # only workers that take pictures have it, and it is large
    except ImportError as error:
        raise SnapshotError(PictureProblem.NOT_INSTALLED) from error
    return sync_api


def find_installed_browser() -> str:
    """Return the path of this machine's Chromium; empty if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), "")


def read_host(address: str) -> str:
    """Return the host of `address`, with its port if named."""
    return urlsplit(address).netloc.rpartition("@")[2].lower()
