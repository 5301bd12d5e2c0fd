"""Waiting for effects of other processes."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import quote_plus

from playwright.sync_api import Error, Locator, Page, expect

from notifications.models import Draft
from tests.e2e.stack import ProcessFailed, Program

T = TypeVar("T")
PATIENCE_SECONDS = 180


def eventually(
    look: Callable[[], T | None], programs: Iterable[Program] = (), *, seconds: float = PATIENCE_SECONDS
) -> T:
    """Return the value of `look` once it is true. Raises ProcessFailed, with the programs' logs, after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    logs = "\n".join(f"--- {program.name}\n{program.tail()}" for program in programs)
    raise ProcessFailed(f"nothing came within {seconds:.0f} s\n{logs}")


def until_data_is_listed(page: Page) -> None:
    """Wait for the list of data, which moves what is below it: a button would be missed by a click at that moment."""
    expect(page.locator("[data-choices]")).not_to_be_empty()


def stand_still(page: Page) -> None:
    """Stop the page's clock a minute from now: what is shown for a moment stays until the test moves the clock."""
    page.clock.install()
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))


def until_draft_has(text: str) -> None:
    """Wait until the draft contains `text`: the page may have sent an earlier draft."""
    eventually(Draft.objects.filter(values__contains=quote_plus(text)).exists)


def until_loaded(frame: Locator) -> None:
    """Wait until the page in an iframe has its scripts: a click before that is lost.

    The outer page does not wait for a frame that a script adds.
    """
    inner = frame.element_handle().content_frame()
    assert inner is not None
    inner.wait_for_url(re.compile("^http"))


@contextmanager
def until_closed(window: Page) -> Iterator[None]:
    """Expect that `window` closes, perhaps before Playwright has seen the end of the click."""
    with window.expect_event("close"):
        try:
            yield
        except Error as error:
            if "has been closed" not in error.message:
                raise
