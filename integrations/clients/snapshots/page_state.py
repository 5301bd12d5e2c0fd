"""Judges a page in the browser: whether it has drawn, what it shows, and how large it is."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from integrations.clients.snapshots.options import PageMarks, Reason, SnapshotError

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page, Request

# Neither a request under way nor an element added for so long: the page has drawn.
QUIET_SECONDS = 0.7
# Some frames never load, for one where their request was refused. A page that still waits for one has drawn where no
# request was under way, no element was added, and no script computed for so long.
UNLOADED_SECONDS = 5
LOOKED_AT_EVERY_MS = 100
# What comes into sight by unfolding draws within so many seconds, where the page's own sign stands there already.
UNFOLDED_WITHIN_SECONDS = 5
# Runs before the page's own scripts. What a frame adds is not seen from the page; that the page was kept from its work
# for 50 ms is.
BEFORE_SCRIPTS = """
    delete window.RTCPeerConnection;
    delete window.webkitRTCPeerConnection;
    window.__changedAt = window.__keptAt = performance.now();
    new PerformanceObserver(() => { window.__keptAt = performance.now(); }).observe({type: "longtask"});
    new MutationObserver(() => { window.__changedAt = performance.now(); })
        .observe(document, {childList: true, subtree: true});
"""
_IS_BUSY = """([busy, quietMs, unloadedMs, waitsForLoad]) => {
    if (document.readyState !== "complete") {
        const lastAt = Math.max(window.__changedAt, window.__keptAt);
        if (waitsForLoad || performance.now() - lastAt < unloadedMs) return true;
    }
    if (document.fonts.status !== "loaded") return true;
    if (performance.now() - window.__changedAt < quietMs) return true;
    const isShown = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 0;
    if (busy && [...document.querySelectorAll(busy)].some(isShown)) return true;
    return [...document.images].some((image) => isShown(image) && !image.complete);
}"""
_SIGHT = """([card, error]) => {
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
# The page with all that its inner scrolling boxes hide, in CSS pixels.
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
# A page of few words and nothing drawn that says one of these is no dashboard. One may count 异常 or 失败.
_ERROR_WORDS = (
    *(
        "不存在",
        "无权限",
        "没有权限",
        "无权访问",
        "出错",
        "加载失败",
        "请求失败",
        "访问失败",
        "系统异常",
        "服务异常",
        "网络异常",
    ),
    *("not found", "permission denied", "no permission", "an error", "server error", "went wrong", "forbidden"),
)


@dataclass
class Traffic:
    """The requests of a page that are under way, those of its frames among them. Streams that never end do not count.
    `address`: to which the page went last, or tried to go."""

    _open: set[Request] = field(default_factory=set)
    changed_at: float = field(default_factory=time.monotonic)
    address: str = ""

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self._leads(request, page.main_frame))
        page.on("request", self._began)
        page.on("requestfinished", self._ended)
        page.on("requestfailed", self._ended)

    def is_quiet(self, seconds: float = QUIET_SECONDS) -> bool:
        return not self._open and time.monotonic() - self.changed_at > seconds

    def _began(self, request: Request) -> None:
        if request.resource_type not in {"eventsource", "websocket", "ping"}:
            self._open.add(request)
            self.changed_at = time.monotonic()

    def _leads(self, request: Request, frame: Frame) -> None:
        if request.is_navigation_request() and request.frame == frame:
            self.address = request.url

    def _ended(self, request: Request) -> None:
        # Streams are never in it. A refused one is tried again every few seconds, and its end says nothing of the page.
        if request in self._open:
            self._open.remove(request)
            self.changed_at = time.monotonic()


def begin_anew(page: Page) -> None:
    """What it shows has just changed: it is not quiet before QUIET_SECONDS from now."""
    page.evaluate("() => { window.__changedAt = performance.now(); }")


def wait_until_drawn(page: Page, traffic: Traffic, marks: PageMarks, *, deadline: float) -> None:
    """`deadline`: of time.monotonic(). Raises SnapshotError (NOT_DRAWN)."""
    while not _has_drawn(page, traffic, marks):
        if time.monotonic() > deadline:
            raise SnapshotError(Reason.NOT_DRAWN)
        page.wait_for_timeout(LOOKED_AT_EVERY_MS)


def wait_until_unfolded(page: Page, traffic: Traffic, marks: PageMarks, *, deadline: float) -> None:
    """What the unfolding brought into sight has drawn. The page's own sign stood there before: it says nothing of that,
    and a page that has one need never be quiet. `deadline`: of time.monotonic(). Raises SnapshotError (NOT_DRAWN)."""
    if marks.ready:
        settled_by = min(deadline, time.monotonic() + UNFOLDED_WITHIN_SECONDS)
        while not _is_quiet(page, traffic, marks) and time.monotonic() < settled_by:
            page.wait_for_timeout(LOOKED_AT_EVERY_MS)
    wait_until_drawn(page, traffic, marks, deadline=deadline)


def _has_drawn(page: Page, traffic: Traffic, marks: PageMarks) -> bool:
    if marks.ready:
        return page.locator(marks.ready).count() > 0
    return _is_quiet(page, traffic, marks)


def _is_quiet(page: Page, traffic: Traffic, marks: PageMarks) -> bool:
    if not traffic.is_quiet():
        return False
    waits_for_load = not traffic.is_quiet(UNLOADED_SECONDS)
    return not page.evaluate(_IS_BUSY, [marks.busy, QUIET_SECONDS * 1000, UNLOADED_SECONDS * 1000, waits_for_load])


def check_sight(page: Page, marks: PageMarks) -> None:
    """Raises SnapshotError where the page is another than a dashboard with something on it."""
    sight: dict[str, Any] = page.evaluate(_SIGHT, [marks.card, marks.error])
    place = urlsplit(page.url)
    if sight["asksPassword"] or _SIGN_IN_PATH.search(place.path) or _SIGN_IN_PATH.search(place.fragment):
        raise SnapshotError(Reason.SIGN_IN_PAGE)
    if sight["hasError"] or place.scheme not in {"http", "https"}:  # the browser's own page of an error
        raise SnapshotError(Reason.ERROR_PAGE)
    text, has_drawings = sight["text"].lower(), sight["drawings"] > 0
    has_known_cards = bool(marks.card) and sight["hasCards"]
    if not (has_drawings or has_known_cards) and len(text) < 300 and any(word in text for word in _ERROR_WORDS):
        raise SnapshotError(Reason.ERROR_PAGE)
    if not sight["hasCards"] or (not has_drawings and not text):
        raise SnapshotError(Reason.EMPTY)


def whole_height(page: Page) -> int:
    """In CSS pixels, with what its inner scrolling boxes hide."""
    height: float = page.evaluate(_WHOLE_HEIGHT)
    return round(height)


def box_of_cards(page: Page, marks: PageMarks) -> dict[str, float] | None:
    """The rectangle around all cards with a margin, in CSS pixels; None where the page's cards are not known."""
    if not marks.card:
        return None
    box: dict[str, float] = page.evaluate(_CARDS_BOX, marks.card)
    return box
