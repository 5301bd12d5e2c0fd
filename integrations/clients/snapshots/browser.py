"""Takes pictures of pages in one Chromium, each in a fresh context that reaches the BI's hosts and nothing else."""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from integrations.clients.snapshots import page_state
from integrations.clients.snapshots.options import (
    Kind,
    Options,
    PageMarks,
    Picture,
    Reason,
    SnapshotError,
    Theme,
    Width,
)

if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Self

    from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Response, Route

logger = logging.getLogger(__name__)

# Names of Chromium's program.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRAWN_WITHIN_SECONDS = 60
# For the first byte: a BI that has not answered by then is down.
ANSWERED_WITHIN_SECONDS = 20
# Of a page, in CSS pixels; what is longer is no picture for a phone.
HEIGHT_AT_MOST = 10_000
FIRST_HEIGHT = {Width.PHONE: 844, Width.DESKTOP: 900}
WIDTHS = {Width.PHONE: 390, Width.DESKTOP: 1280}
# WeCom takes 10 MB for a picture and 20 MB for a file.
BYTES_AT_MOST = {Kind.PICTURE: 10 * 1024 * 1024, Kind.PDF: 20 * 1024 * 1024}
# Above it a picture has one pixel for each CSS pixel, instead of four.
SHARP_PIXELS_AT_MOST = 4_000_000
# A cover as wide as WeCom shows it, or sharp where it is not.
COVER_WIDTH = 1068
RENDERER_MEGABYTES = 512
# A page may ask for any number of hosts.
REFUSED_HOSTS_LOGGED = 20
# Of each host that the browser may reach, beside the port that is named with it.
WEB_PORTS = frozenset({80, 443})
_PHONE = (
    "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"
)


# Says with which host and port a request may go out (Access.reaches), in the words of a browser.
_SCRIPT = """function FindProxyForURL(url, host) {
    const [, place, port] = url.match(/^[a-z]+:\\/\\/((?:\\[[^\\]]*\\]|[^:\\/?#]*)(?::(\\d+))?)/);
    const isWeb = port === undefined || %(ports)s.includes(port);
    const isReached = isWeb ? %(names)s.includes(host) : %(hosts)s.includes(place);
    return isReached ? %(way)s : "PROXY 127.0.0.1:9";
}"""
# Nobody listens there.
_NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Access:
    """Where the browser may go, and how. `hosts`: names, each with a port where it is none of WEB_PORTS, at which all
    of them are reached. `proxy_url`: empty for none."""

    hosts: tuple[str, ...]
    proxy_url: str = ""
    language: str = "zh-CN"
    time_zone: str = "Asia/Shanghai"

    @property
    def names(self) -> list[str]:
        """The hosts without their ports, each once."""
        return list(dict.fromkeys(name for host in self.hosts if (name := urlsplit(f"//{host}").hostname)))

    @property
    def places(self) -> list[str]:
        """Each host with each port at which it is reached."""
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
    """A running Chromium: for one thread, closed by whoever opened it."""

    def __init__(self, executable: str, access: Access) -> None:
        """`executable`: the path of Chromium; empty for the one that playwright knows. Raises SnapshotError."""
        self._access = access
        self._refused_hosts: set[str] = set()
        self._api = _playwright()
        self._driver: Playwright = self._api.sync_playwright().start()
        try:
            self._browser: Browser = self._driver.chromium.launch(
                executable_path=executable or None, args=list(_flags(access)), proxy=_proxy(access.proxy_url)
            )
        except self._api.Error as error:
            self._driver.stop()
            raise SnapshotError(Reason.NOT_INSTALLED) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends Chromium. A browser that is gone already is closed, too."""
        try:
            self._browser.close()
        except self._api.Error:
            pass
        finally:
            self._driver.stop()

    def take(
        self, address: str, options: Options, marks: PageMarks, *, within_seconds: float = DRAWN_WITHIN_SECONDS
    ) -> Picture:
        """The page at `address`, which may carry a token: it stands in no error and no log. Raises SnapshotError."""
        deadline = time.monotonic() + within_seconds
        try:
            with self._page(options) as (page, traffic):
                self._open(page, address, traffic, deadline)
                page_state.wait_until_drawn(page, traffic, marks, deadline=deadline)
                self._check_place(traffic)
                page_state.check_sight(page, marks)
                _unfold(page, traffic, marks, options, deadline)
                return _taken(page, options, marks)
        except self._api.TimeoutError as error:
            raise SnapshotError(Reason.NOT_DRAWN) from error.with_traceback(None)
        except self._api.Error:
            # Why from None? The text of playwright's errors holds the address.
            raise SnapshotError(Reason.BROWSER_FAILED) from None

    def _open(self, page: Page, address: str, traffic: page_state.Traffic, deadline: float) -> None:
        """Raises SnapshotError for what is no page of the BI."""
        seconds = min(ANSWERED_WITHIN_SECONDS, deadline - time.monotonic())
        try:
            response: Response | None = page.goto(address, wait_until="commit", timeout=max(1.0, seconds * 1000))
        except self._api.Error:
            self._check_place(traffic)
            raise SnapshotError(Reason.UNREACHABLE) from None
        status = 0 if response is None else response.status
        if status in {401, 403}:
            raise SnapshotError(Reason.SIGN_IN_PAGE)
        if status in {502, 503, 504}:
            raise SnapshotError(Reason.UNREACHABLE)
        if status >= 400:
            raise SnapshotError(Reason.ERROR_PAGE)

    def _check_place(self, traffic: page_state.Traffic) -> None:
        """A BI that leads to another host has people sign in there. Raises SnapshotError."""
        if not self._access.reaches(traffic.address):
            self._log_refused(traffic.address)
            raise SnapshotError(Reason.SIGN_IN_PAGE)

    @contextmanager
    def _page(self, options: Options) -> Iterator[tuple[Page, page_state.Traffic]]:
        context = self._context(options)
        try:
            traffic = page_state.Traffic()
            page = context.new_page()
            traffic.watch(page)
            context.on("page", lambda popup: popup.close())
            yield page, traffic
        finally:
            context.close()

    def _context(self, options: Options) -> BrowserContext:
        is_phone = options.width == Width.PHONE
        context = self._browser.new_context(
            viewport={"width": WIDTHS[options.width], "height": FIRST_HEIGHT[options.width]},
            device_scale_factor=2,
            is_mobile=is_phone,
            user_agent=_PHONE if is_phone else None,
            color_scheme="dark" if options.theme == Theme.DARK else "light",
            reduced_motion="reduce",
            locale=self._access.language,
            timezone_id=self._access.time_zone,
            accept_downloads=False,
            service_workers="block",
        )
        context.add_init_script(page_state.BEFORE_SCRIPTS)
        context.route("**/*", self._let_through)
        return context

    def _let_through(self, route: Route) -> None:
        if self._access.reaches(route.request.url):
            route.continue_()
        else:
            self._log_refused(route.request.url)
            route.abort("blockedbyclient")

    def _log_refused(self, url: str) -> None:
        """Each host once: a picture without its map, or no picture, says nothing of the setting that is missing."""
        host = host_of(url)
        if host and host not in self._refused_hosts and len(self._refused_hosts) < REFUSED_HOSTS_LOGGED:
            self._refused_hosts.add(host)
            logger.warning("a page of the BI asks for %s, which is neither the BI nor in SNAPSHOT_HOSTS: refused", host)


def _flags(access: Access) -> Iterator[str]:
    """Why the rules of the resolver and the proxy, too? Redirects and web sockets pass the route unseen."""
    yield "--disable-dev-shm-usage"
    yield f"--js-flags=--max-old-space-size={RENDERER_MEGABYTES}"
    resolved = [urlsplit(access.proxy_url).hostname] if access.proxy_url else access.names
    yield f"--host-resolver-rules=MAP * ~NOTFOUND{''.join(f', EXCLUDE {name}' for name in resolved)}"
    if access.proxy_url:
        yield f"--proxy-pac-url=data:application/x-ns-proxy-autoconfig;base64,{_proxy_script(access)}"
    else:
        # Not by a script: Chromium asks none about loopback names, and reaches all of their ports.
        yield f"--proxy-server={_NOWHERE}"
        yield f"--proxy-bypass-list=<-loopback>;{';'.join(access.places)}"
    # WebRTC asks neither the proxy nor the resolver. Pages lack it, too (page_state.BEFORE_SCRIPTS).
    yield "--webrtc-ip-handling-policy=disable_non_proxied_udp"
    if os.geteuid() == 0:
        # Chromium's own sandbox refuses root.
        yield "--no-sandbox"


def _proxy(url: str) -> Any:
    if not url:
        return None
    parts = urlsplit(url)
    server = f"{parts.scheme}://{parts.hostname}:{parts.port or 80}"
    return {"server": server, "username": parts.username or "", "password": parts.password or ""}


def _proxy_script(access: Access) -> str:
    """In base64: leads to the BI's hosts alone, by the proxy; else to a port where nobody listens."""
    parts = urlsplit(access.proxy_url)
    way = f"{'HTTPS' if parts.scheme == 'https' else 'PROXY'} {parts.hostname}:{parts.port or 80}"
    script = _SCRIPT % {
        "names": json.dumps(access.names),
        "hosts": json.dumps(access.hosts),
        "ports": json.dumps(sorted(map(str, WEB_PORTS))),
        "way": json.dumps(way),
    }
    return base64.b64encode(script.encode()).decode()


def _unfold(page: Page, traffic: page_state.Traffic, marks: PageMarks, options: Options, deadline: float) -> None:
    """Show the whole page at once: cards below the fold draw when they are seen."""
    height = page_state.whole_height(page)
    if height > HEIGHT_AT_MOST:
        raise SnapshotError(Reason.TOO_LARGE)
    if height > FIRST_HEIGHT[options.width]:
        page.set_viewport_size({"width": WIDTHS[options.width], "height": height})
        page_state.begin_anew(page)
        page_state.wait_until_unfolded(page, traffic, marks, deadline=deadline)
        page_state.check_sight(page, marks)


def _taken(page: Page, options: Options, marks: PageMarks) -> Picture:
    width, height = WIDTHS[options.width], page_state.whole_height(page)
    if options.kind == Kind.PDF:
        page.emulate_media(media="screen")
        picture = Picture(page.pdf(width=f"{width}px", height=f"{height + 1}px", print_background=True))
    else:
        box = page_state.box_of_cards(page, marks) if options.is_cropped else None
        clip = box or {"x": 0, "y": 0, "width": width, "height": height}
        cover = b""
        if options.cover_ratio:
            above = min(clip["height"], clip["width"] / options.cover_ratio)
            cover = _cut_out(page, {**clip, "height": above}, is_sharp=clip["width"] < COVER_WIDTH)
        content = _cut_out(page, clip, is_sharp=clip["width"] * clip["height"] <= SHARP_PIXELS_AT_MOST)
        picture = Picture(content, round(clip["width"]), round(clip["height"]), cover)
    if len(picture.content) > BYTES_AT_MOST[options.kind]:
        raise SnapshotError(Reason.TOO_LARGE)
    return picture


def _cut_out(page: Page, clip: Any, *, is_sharp: bool) -> bytes:
    return page.screenshot(full_page=True, clip=clip, scale="device" if is_sharp else "css", animations="disabled")


@cache
def _playwright() -> ModuleType:
    """Raises SnapshotError where it is not installed."""
    try:
        from playwright import sync_api  # optional package: only workers that take pictures have it, and it is large
    except ImportError as error:
        raise SnapshotError(Reason.NOT_INSTALLED) from error
    return sync_api


def installed_browser() -> str:
    """The path of this machine's Chromium; empty where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), "")


def host_of(address: str) -> str:
    """The name of its host, with the port that it names."""
    return urlsplit(address).netloc.rpartition("@")[2].lower()
