"""A company whose connection is broken, at its page in our admin, and its console in the sandbox in a second tab."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, Response, expect

from tests.integrations.companies.diagnosis.broken_states import Scene
from tests.sandbox_process import AGENTID

PATIENCE_MS = 60_000


@dataclass(kw_only=True)
class InTheBrowser(Scene):
    """`page`: ours, of somebody who is signed in; `tab`: WeCom's console, in the same browser."""

    page: Page
    tab: Page

    # --- Putting right ------------------------------------------------------------------------------------------------

    def form(self, **values: str | bool) -> None:
        self.page.bring_to_front()  # a tab behind another one draws once a second, which each click waits for
        self.page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        for name, value in values.items():
            control = self.page.locator(f"[name={name}]")
            if isinstance(value, bool):
                control.set_checked(value)
            else:
                control.fill(value)
        self.page.click("[name=_save]")
        expect(self.page.locator(".messagelist .success")).to_be_visible()

    def console(self, **values: str | bool) -> None:
        save = self._filled_in_console(values)
        with self.tab.expect_event("load"), self.tab.expect_response(_is_save) as saved:  # then it loads itself again
            save.click()
        assert saved.value.ok

    def console_refuses(self, **values: str | bool) -> str:
        """What the console says beside its button when it does not save these fields."""
        self._filled_in_console(values).click()
        said = self.tab.locator("output.error")
        expect(said).to_be_visible()
        return said.inner_text()

    def _filled_in_console(self, values: dict[str, str | bool]) -> Locator:
        """The form is filled in; returns its button."""
        self._open_console(f"{self.corpid}/apps/{AGENTID}")
        names = {re.sub("^(scope|callback)_", r"\1.", name): value for name, value in values.items()}
        for name, value in names.items():
            control = self.tab.locator(f"[name='{name}']")
            if isinstance(value, bool):
                control.set_checked(value)
            else:
                control.fill(value)
        return self.tab.locator(f"form:has([name='{next(iter(names))}']) [type=submit]")

    def _open_console(self, path: str) -> None:
        self.tab.bring_to_front()
        self.tab.goto(f"{self.sandbox.base_url}/console/{path}")

    def download_verification_file(self, folder: Path) -> Path:
        """From the app's page of the console."""
        self._open_console(f"{self.corpid}/apps/{AGENTID}")
        with self.tab.expect_download() as download:
            self.tab.click("a[download]")
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def verify_domain(self) -> None:
        """“校验已保存的域名” in the console, which fetches the file from the domain."""
        self._open_console(f"{self.corpid}/apps/{AGENTID}")
        self.tab.click("[data-post$='/domain/verify']")
        expect(self.tab.locator("b.ok")).to_be_visible()  # after it has loaded itself again

    def remove_fault(self) -> None:
        self._open_console("faults")
        self.tab.click("[data-delete^='/sandbox/api/faults/']")
        expect(self.tab.locator("[data-delete]")).to_have_count(0)

    def copied(self, name: str) -> str:
        self.page.bring_to_front()
        self.page.click(f"[data-copy=check-{name}-copied]")
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    # --- Looking ------------------------------------------------------------------------------------------------------

    def check(self, name: str) -> Locator:
        return self.page.locator(f"[data-check={name}]")

    def open(self, section: str = "#diagnosis") -> None:
        self.page.bring_to_front()
        self.page.goto(f"{self.site_url}/admin/integrations/corp/{self.corp.pk}/change/{section}")
        self.page.evaluate("window.isTheSamePage = true")

    def is_the_same_page(self) -> bool:
        return bool(self.page.evaluate("window.isTheSamePage === true"))

    def run_all(self) -> None:
        self.page.click("[data-run-all]")

    def send_test_message(self, userid: str) -> None:
        self.page.bring_to_front()
        self.page.fill("#test-userid", userid)
        self.page.click(".test-message [type=submit]")

    def expect_refusal(self, reason: str) -> None:
        """The page says what stands against enabling, and the page of enabling has no button."""
        expect(self.page.locator("[data-reasons]")).to_contain_text(reason)
        self.tab.bring_to_front()
        self.tab.goto(f"{self.site_url}/admin/integrations/corp/{self.corp.pk}/enable/")
        expect(self.tab.locator("#content .reasons")).to_contain_text(reason)
        expect(self.tab.locator("form.confirm")).to_have_count(0)

    def let_time_pass(self) -> None:
        """What is to be tried again by itself in some seconds is tried now, while somebody looks at the page."""
        self.page.bring_to_front()
        self.make_due()


def _is_save(answer: Response) -> bool:
    return answer.request.method == "PATCH"
