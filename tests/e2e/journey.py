"""Counts what a person does on the way through pages: clicks, fields that are filled in, pages that are opened."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

# Of a test's report: the way's name with its counts, as `make journey` prints them (tests/conftest.py).
PROPERTY = "journey"
# What is clicked may come from a worker of a slow machine.
PATIENCE_MS = 60_000


class Counted:
    """A hand at a page. `clicks`, `fields` and `pages` count from its making; the first page is not counted, and a jump
    within a page opens none."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = self.fields = self.pages = 0
        page.wait_for_load_state()  # the first page is not counted, however late it says that it is there
        page.on("domcontentloaded", self._opened)

    def click(self, target: Locator) -> None:
        self.clicks += 1
        target.click(timeout=PATIENCE_MS)

    def fill(self, target: Locator, text: str) -> None:
        self.fields += 1
        # Django's script moves the focus once it is loaded: what is filled in before may land there.
        expect(target).to_be_editable()
        self.page.wait_for_load_state()
        target.fill(text)

    def select(self, target: Locator, label: str) -> None:
        """A choice is a field that is filled in."""
        self.fields += 1
        target.select_option(label=label)

    def record(self, way: str, record_property: Callable[[str, object], None]) -> None:
        """Have the counts printed, the page included that is being opened. `record_property`: pytest's fixture."""
        self.page.wait_for_load_state()
        record_property(PROPERTY, (way, self.clicks, self.fields, self.pages))

    def _opened(self, _page: Page) -> None:
        self.pages += 1
