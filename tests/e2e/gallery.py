"""Pictures of every page that employees see, for people to look at: no test, so `make test` leaves it out.

`.venv/bin/python -m pytest tests/e2e/gallery.py` draws each page as wide as a phone and as a desk, light and dark, in
Chinese, and in English on a phone, into the folder that GALLERY names (else `gallery/`). GALLERY_ONLY: a part of the
names of those to draw. Beside the pictures it puts sheets of six phone pages or four desk pages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, BrowserContext
from pytest_django.live_server_helper import LiveServer

from accounts.models import Lockout
from integrations.core import http
from integrations.models import Corp, SiteAddress
from tests.browsing import close, lead
from tests.e2e.gallery_pages import PAGES, Scene
from tests.e2e.pages import make_rows
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
FOLDER = Path(os.environ.get("GALLERY", "gallery"))
ONLY = os.environ.get("GALLERY_ONLY", "")
PANEL_HOST = "https://login.work.weixin.qq.com"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
FIGURE = (
    '<figure style="margin:4px;width:{width}px;display:inline-block;vertical-align:top;font:12px sans-serif">'
    '<figcaption>{name}</figcaption><img src="{name}" width="{width}"></figure>'
)


@dataclass(frozen=True)
class Look:
    """One way of drawing."""

    name: str
    size: dict[str, int]
    scheme: str = "light"
    locale: str = "zh-CN"


LOOKS = (
    Look("phone-light", PHONE),
    Look("phone-dark", PHONE, "dark"),
    Look("desk-light", DESK),
    Look("desk-dark", DESK, "dark"),
    Look("phone-english", PHONE, locale="en-US"),
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxHandle]:
    with start_sandbox() as handle:
        yield handle


@pytest.fixture
def scene(live_server: LiveServer, sandbox: SandboxHandle, browser: Browser) -> Iterator[Callable[[Look], Scene]]:
    url = live_server.url.replace("127.0.0.1", "localhost")
    domain = url.removeprefix("http://")
    app = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain}
    sandbox.load({"companies": [company(apps=[app])]})
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{url}/"})
    http.forget()
    rows = make_rows()
    Corp.objects.exclude(pk=rows.corp.pk).update(is_enabled=False)
    fields = {"corpid": CORPID, "agentid": AGENTID, "secret": SECRET, "api_base_url": sandbox.base_url}
    Corp.objects.filter(pk=rows.corp.pk).update(authorize_base_url=sandbox.base_url, **fields)
    corp = Corp.objects.get(pk=rows.corp.pk)
    contexts: list[BrowserContext] = []

    def opened(look: Look) -> Scene:
        context = browser.new_context(
            viewport=look.size,  # type: ignore[arg-type]  # a ViewportSize
            color_scheme=look.scheme,  # type: ignore[arg-type]  # one of its words
            locale=look.locale,
        )
        lead(context, PANEL_HOST, sandbox.base_url)
        contexts.append(context)
        return Scene(url, rows, corp, context)

    yield opened
    for context in contexts:
        close(context)
    http.forget()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
@pytest.mark.parametrize("name", [name for name in PAGES if ONLY in name])
def test_draw(scene: Callable[[Look], Scene], name: str, look: Look) -> None:
    cache.clear()
    Lockout.objects.all().delete()
    FOLDER.mkdir(parents=True, exist_ok=True)
    page = PAGES[name](scene(look))
    page.screenshot(path=FOLDER / f"{name}.{look.name}.png", full_page=True)


def test_sheets(browser: Browser) -> None:
    for look in LOOKS:
        pictures = sorted(FOLDER.glob(f"*.{look.name}.png"))
        at_once = 6 if look.size is PHONE else 4
        for start in range(0, len(pictures), at_once):
            shown = pictures[start : start + at_once]
            page = browser.new_page(viewport={"width": 1220 if look.size is PHONE else 1320, "height": 800})
            width = 390 if look.size is PHONE else 640
            figures = "".join(FIGURE.format(name=one.name, width=width) for one in shown)
            (FOLDER / "sheet.html").write_text(f'<body style="margin:4px;background:#888">{figures}</body>')
            page.goto((FOLDER / "sheet.html").resolve().as_uri())
            page.screenshot(path=FOLDER / f"sheet-{look.name}-{start // at_once + 1:02}.png", full_page=True)
            page.close()
