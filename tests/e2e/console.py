"""An administrator's actions in the admin, in a real browser."""

from playwright.sync_api import Page, expect

from tests.e2e.stack import Stack

PASSWORD = "an invented password, long enough"
TEST_PATIENCE_MS = 60_000


def write(page: Page, label: str, text: str) -> None:
    """Fill in a text of the push page. Its editor replaces the page's original field unless that has the focus."""
    box = page.get_by_role("textbox", name=label)
    box.focus()
    box.fill(text)


class Console:
    """The admin in one browser page, signed in by password."""

    def __init__(self, page: Page, stack: Stack) -> None:
        self.page = page
        self.stack = stack

    def open(self, path: str) -> None:
        self.page.goto(f"{self.stack.web_url}/admin/{path}")

    def sign_in(self, username: str) -> None:
        self.open("")
        self.page.fill("[name=username]", username)
        self.page.fill("[name=password]", PASSWORD)
        self.page.click("#login-form [type=submit]")
        expect(self.page.locator("#user-tools")).to_be_visible()
