"""Fixtures of the browser tests: Debian's (or any) Chromium and the product's real processes."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from playwright.sync_api import Browser, BrowserContext, expect
from pytest_django.live_server_helper import LiveServer

from integrations.core import http
from integrations.models import SiteAddress
from tests.chromium import find_page_browser
from tests.e2e.axe import DESK, open_context
from tests.e2e.joined import Joined, join
from tests.sandbox_process import SandboxHandle
from tools.services import start_postgresql

CHROMIUM_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
ANSWERED_WITHIN_SECONDS = 60
# A machine that runs several browsers draws slowly. Tests that pass do not wait that long.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Options that pytest-playwright reads."""
    return {"executable_path": find_page_browser(), "args": CHROMIUM_FLAGS}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"locale": "zh-CN", "permissions": ["clipboard-read", "clipboard-write"]}


@pytest.fixture
def desk(browser: Browser) -> Iterator[BrowserContext]:
    """A browser at a desk, whose pages contain axe-core."""
    context = open_context(browser, DESK)
    yield context
    context.close()


@pytest.fixture(scope="session")
def warehouse() -> Iterator[str]:
    """The address of a PostgreSQL whose tables cards read."""
    service = start_postgresql()
    yield service.url
    service.stop()


@pytest.fixture(autouse=True)
def _answered() -> Iterator[None]:
    """A wait for requests of closed pages before the database is emptied; each would wait for the other."""
    answered, waiting = threading.Condition(), [0]

    def count(change: int) -> None:
        with answered:
            waiting[0] += change
            answered.notify_all()

    def began(**_kwargs: object) -> None:
        count(1)

    def ended(**_kwargs: object) -> None:
        count(-1)

    request_started.connect(began)
    request_finished.connect(ended)
    yield
    with answered:
        answered.wait_for(lambda: waiting[0] <= 0, timeout=ANSWERED_WITHIN_SECONDS)
    request_started.disconnect(began)
    request_finished.disconnect(ended)


@pytest.fixture
def site(live_server: LiveServer) -> Iterator[str]:
    """The site's address without a slash, on localhost: another site to a browser than the sandbox on 127.0.0.1."""
    base = live_server.url.replace("127.0.0.1", "localhost")
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": f"{base}/"})
    http.clear_caches()
    yield base
    http.clear_caches()


@pytest.fixture
def joined(site: str, running_sandbox: SandboxHandle) -> Joined:
    return join(site, running_sandbox)
