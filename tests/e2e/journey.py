"""Counts of a person's actions on the way through pages: clicks, fields filled in, pages opened."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

# The property of a test's report with name and counts of a way, which `make journey` prints (tests/conftest.py).
PROPERTY = "journey"
# The target of a click may come from a worker of a slow machine.
PATIENCE_MS = 60_000


class Counted:
    """A page whose clicks, fields and opened pages are counted.

    The first page is not counted, nor is a jump within a page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = self.fields = self.pages = 0
        page.wait_for_load_state()  # so that a late load event of the first page is not counted
        page.on("domcontentloaded", self._opened)

    def click(self, target: Locator) -> None:
        self.clicks += 1
        target.click(timeout=PATIENCE_MS)

    def press(self, target: Locator, key: str) -> None:
        """Press a key that acts as a click would, such as Enter in a search box."""
        self.clicks += 1
        target.press(key)

    def fill(self, target: Locator, text: str) -> None:
        self.fields += 1
        # Django's script moves the focus once it is loaded: text typed before may go into that field.
        expect(target).to_be_editable()
        self.page.wait_for_load_state()
        target.fill(text)

    def select(self, target: Locator, label: str) -> None:
        """Choose an option. It counts as a field that is filled in."""
        self.fields += 1
        target.select_option(label=label)

    def record(self, way: str, record_property: Callable[[str, object], None]) -> None:
        """Report the counts, including the page that is being opened. `record_property` is pytest's fixture."""
        self.page.wait_for_load_state()
        record_property(PROPERTY, (way, self.clicks, self.fields, self.pages))

    def _opened(self, _page: Page) -> None:
        self.pages += 1
