"""An administrator's actions in the admin, in a real browser."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.e2e.stack import Stack
from tests.e2e.waiting import until_data_is_listed

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

    def save_site_address(self) -> None:
        """Save the address of this page, instead of a fresh installation's http://localhost:3001/."""
        self.open("integrations/siteaddress/")
        self.page.click("#result_list tbody th a")
        self.page.fill("[name=url]", f"{self.stack.web_url}/")
        self.page.click("[name=_save]")
        expect(self.page.locator(".messagelist .success")).to_be_visible()

    def add_corp(self, *, name: str, corpid: str, agentid: int, secret: str) -> None:
        """Fill in the form of a new company, whose WeCom is the sandbox."""
        self.open("integrations/corp/add/")
        self.page.click("fieldset:has([name=api_base_url]) summary")
        base = self.stack.sandbox.base_url
        values = {
            "name": name,
            "corpid": corpid,
            "agentid": str(agentid),
            "new_secret": secret,
            "api_base_url": base,
            "authorize_base_url": base,
            "qr_base_url": base,
        }
        for field, value in values.items():
            self.page.fill(f"[name={field}]", value)
        self.page.click("[name=_save]")
        expect(self.page.locator(".corp-next")).to_be_visible()

    def open_step(self, anchor: str) -> None:
        """Open a step of the company's page."""
        body = self.page.locator(f"#{anchor}")
        expect(body).to_be_attached()
        self.page.wait_for_load_state()  # a script opens the step in the address
        if not body.is_visible():
            self.page.click(f"details:has(> #{anchor}) > summary")
        expect(body).to_be_visible()

    def test_connection(self) -> Locator:
        """Press “测试连接” and wait for the result of the check, which the page fetches by itself."""
        self.open_step("credentials")
        self.page.click("#credentials [name=check][value=token]")
        result = self.page.locator("#state-of-credentials")
        expect(result.locator(".pill-good, .pill-bad").first).to_be_visible(timeout=TEST_PATIENCE_MS)
        return result

    def write_into_wecom(self, kind: str = "settings") -> None:
        """Make the preview, confirm it, and wait on the company's page until WeCom has the change."""
        self.open_step("console")
        self.page.click(f"form[action*='/console/{kind}/'] button")
        confirm = self.page.locator("form[action$='/confirm/'] button")
        expect(confirm).to_be_visible(timeout=TEST_PATIENCE_MS)
        confirm.click()
        expect(self.page.locator("#last-writes .pill-good").first).to_be_visible(timeout=TEST_PATIENCE_MS)

    def expect_ready(self) -> None:
        """Run the whole diagnosis and expect, without a reload, that nothing prevents enabling."""
        self.open_step("diagnosis")
        reasons = self.page.locator("[data-reasons] li")
        with self.page.expect_response("**/diagnosis/run/"):
            self.page.click("[data-run-all]")
        expect(reasons).not_to_have_count(0)  # the checks that have just begun
        expect(reasons).to_have_count(0, timeout=TEST_PATIENCE_MS)

    def switch_corp(self, name: str, action: str) -> None:
        """Enable the company, or disable it with its page of confirmation."""
        self.open("integrations/corp/")
        self.page.locator("#result_list").get_by_role("link", name=name, exact=True).click()
        if action == "enable":
            self.open_step("enable")
            self.page.click("form.enable [type=submit]")
        else:
            self.page.click("#content a[href$='/disable/']")
            self.page.click("form.confirm [type=submit]")
        expect(self.page.locator(".messagelist .success")).to_be_visible()

    def link(self, username: str, *, corp: str, userid: str) -> None:
        """Fill in the company and userid of a person."""
        self.open("accounts/user/")
        self.page.locator("#result_list").get_by_role("link", name=username, exact=True).click()
        self.page.select_option("[name=wecom_accounts-0-corp]", label=corp)
        self.page.fill("[name=wecom_accounts-0-userid]", userid)
        self.page.click("[name=_save]")
        expect(self.page.locator(".messagelist .success")).to_be_visible()
        row = self.page.locator("#result_list tr", has=self.page.get_by_role("link", name=username, exact=True))
        expect(row.locator(".field-company")).to_have_text(corp)
        expect(row.locator(".field-wecom_account")).to_have_text(userid)

    def add_push(self, *, name: str, title: str, body: str, crontab: str) -> None:
        """Create a push of text alone, for everyone linked."""
        self.open("notifications/subscription/add/")
        until_data_is_listed(self.page)
        self.page.fill("[name=name]", name)
        self.page.get_by_role("button", name="不用数据，只发文字").click()
        write(self.page, "标题", title)
        write(self.page, "正文", body)
        self.page.check("[name=to_everyone]")
        self.page.select_option("[name=repeat]", "crontab")
        self.page.fill("[name=crontab]", crontab)
        self.page.get_by_role("button", name="保存并启用").click()
        expect(self.page.locator(".messagelist .success")).to_be_visible()

    def choose(self, field: str, text: str) -> None:
        """Type into one of the admin's searching selects and choose the result."""
        self.page.click(f".field-{field} .select2-selection")
        self.page.locator(".select2-search__field").last.press_sequentially(text)
        self.page.locator(".select2-results__option", has_text=text).click()

    def open_run_now(self, subscription: str) -> None:
        """Open the page of “立即执行”, which shows first what would happen."""
        self.open("notifications/subscription/")
        self.page.locator("#result_list").get_by_role("link", name=subscription, exact=True).click()
        self.page.get_by_role("link", name="立即执行").click()
