"""Take the pictures of README and guides from a running `make demo`, in both languages: `make screenshots`.

`.venv/bin/python -m tools.screenshots [LANGUAGE [NAME …]]` takes the pictures of one language (en, zh-cn). It
needs a Chromium (CHROMIUM names its path), and the DEMO_WEB_PORT and DEMO_SANDBOX_PORT of `make demo`. Phone pages
have 390 px, the others 1440 px.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from gettext import translation
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

SITE = f"http://localhost:{os.environ.get('DEMO_WEB_PORT', 3001)}"
SANDBOX = f"http://127.0.0.1:{os.environ.get('DEMO_SANDBOX_PORT', 3002)}"
PASSWORD = "guanwecom-demo"  # noqa: S105  # printed by make demo
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
DESKTOP = {"width": 1440, "height": 900}
TALL_DESKTOP = {"width": 1440, "height": 1500}
PHONE = {"width": 390, "height": 844}
ROOT = Path(__file__).resolve().parents[1]
LOCALES = {"en": "en-US", "zh-cn": "zh-CN"}
# Catalogues with the words that the script clicks; the demo's data have Chinese names in both languages.
CATALOGUES = [translation("django", ROOT / app / "locale", ["zh_Hans"]) for app in ("notifications", "integrations")]
ALL_PICTURES = "() => Promise.all([...document.images].map(image => image.decode()))"
_language = ["zh-cn"]  # the one whose pictures are taken; main() sets it


def translate_label(english: str, context: str = "") -> str:
    """Translate a page's text into the language of the pictures."""
    if _language[0] != "zh-cn":
        return english
    texts = (one.pgettext(context, english) if context else one.gettext(english) for one in CATALOGUES)
    return next(text for text in texts if text != english)


def open_admin(page: Page, path: str) -> None:
    """Open a page below /admin/ as the demo's administrator."""
    page.goto(f"{SITE}/admin/login/")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", PASSWORD)
    page.click("#login-form [type=submit]")
    page.goto(f"{SITE}/admin/{path}")


def open_corp(page: Page) -> None:
    open_admin(page, "integrations/corp/")
    page.locator("#result_list tbody th a").first.click()
    page.locator("#state-of-diagnosis .pill-good").wait_for()


def run_diagnosis(page: Page) -> None:
    """Run all checks, and show their list."""
    open_corp(page)
    page.locator("[data-part-tabs]").get_by_role("link", name=translate_label("Diagnosis", "company")).click()
    page.click("[data-run-all]")
    waiting = page.locator("[data-diagnosis-summary] .pill-next")
    waiting.first.wait_for()
    waiting.first.wait_for(state="detached")
    page.locator("[data-diagnosis-summary] .pill-busy").wait_for(state="detached")


def open_card(page: Page) -> None:
    """Open a BI card with the rows that its test fetched."""
    open_admin(page, "integrations/card/")
    page.get_by_role("link", name="每日库存").click()
    page.locator("#test form button").click()
    page.locator("#test table").wait_for()
    page.locator("#test").evaluate("section => section.scrollIntoView({block: 'start'})")


def open_card_choice(page: Page) -> Page:
    """Open the list of cards on a BI page, in the tab that the form of a card opens."""
    open_admin(page, "integrations/card/add/")
    page.locator(".choices li a").first.click()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=translate_label("Choose in the BI…")).click()
    tab = opened.value
    ask = tab.get_by_role("button", name=translate_label("Ask the BI"), exact=True)
    listed = tab.get_by_role("button", name="库存总览")
    ask.or_(listed).first.wait_for()
    if ask.count():
        ask.click()
    listed.click()
    tab.get_by_role("button", name="每日库存").first.wait_for()
    return tab


def open_new_push(page: Page) -> None:
    """Open the page of a new push with its choice of data; discard a draft of an earlier picture."""
    open_admin(page, "notifications/subscription/add/")
    drop = page.get_by_role("button", name=translate_label("Drop them"))
    if drop.count():
        drop.click()
        drop.wait_for(state="detached")
    page.locator("[data-choices] button[data-page]").first.wait_for()
    page.evaluate("document.activeElement.blur()")


def make_push(page: Page) -> None:
    """Make a push from a card, with its preview."""
    open_new_push(page)
    page.locator("[data-choices] button[data-card]", has_text="每日销售").first.click()
    page.locator("[data-point=ranking]:not([disabled]), [data-point=key_figures]:not([disabled])").first.click()
    page.locator("[data-phone] .phone-title").wait_for()
    choose_everyone(page)


def make_page_push(page: Page) -> None:
    """Choose a BI page for a new push, and wait for its preview."""
    open_new_push(page)
    page.locator("[data-choices] button[data-page]").first.click()
    page.locator("button[data-picture=page]").click()
    choose_everyone(page)
    page.locator("[data-phone] .phone-picture img").wait_for(timeout=120_000)


def choose_everyone(page: Page) -> None:
    page.get_by_role("checkbox", name=translate_label("everyone linked to WeCom")).check()
    page.locator("[data-outlook-place] .pill-good").wait_for()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


def open_push_with_chart(page: Page) -> None:
    """Open a push whose message has a chart."""
    open_admin(page, "notifications/subscription/")
    page.get_by_role("link", name="销售日报").first.click()
    page.locator("[data-phone] img").first.wait_for()
    page.evaluate(ALL_PICTURES)


def open_alert_rule(page: Page) -> None:
    """Open the demo's alert rule with its message and its values over time."""
    open_admin(page, "notifications/alertrule/")
    page.get_by_role("link", name="库存告急", exact=True).click()
    page.locator("[data-past-picture] svg").wait_for()
    page.locator("[data-trial] .preview-chart img").first.wait_for()
    page.evaluate(ALL_PICTURES)
    page.locator("#rule-conditions").evaluate("heading => heading.scrollIntoView()")


def acknowledge_alert(page: Page) -> Page:
    """Tap the app in the workbench of a person on duty, acknowledge an alert, and return its page."""
    page.goto(f"{SANDBOX}/phone")
    page.locator("ul.rows a.row").first.click()
    page.goto(f"{SANDBOX}/phone/workbench")
    with page.context.expect_page() as opened:
        page.locator("a[href*='authorize']").first.click()
    own_page = opened.value
    own_page.wait_for_load_state()
    own_page.goto(f"{SITE}/alerts/")
    own_page.get_by_role("link", name="库存告急").first.click()
    acknowledge = own_page.get_by_role("button", name=translate_label("Take", "button of an alert"), exact=True)
    if acknowledge.count():
        acknowledge.click()
        acknowledge.wait_for(state="detached")
    own_page.evaluate(ALL_PICTURES)
    return own_page


# Functions that open a page, and sizes of the screen. If a function returns a page, the picture shows that one.
PICTURES: dict[str, tuple[Callable[[Page], object], dict[str, int]]] = {
    "corp": (open_corp, DESKTOP),
    "diagnosis": (run_diagnosis, DESKTOP),
    "card": (open_card, DESKTOP),
    "choosing": (open_card_choice, DESKTOP),
    "push-data": (open_new_push, DESKTOP),
    "push": (make_push, TALL_DESKTOP),
    "page-picture": (make_page_push, TALL_DESKTOP),
    "report": (open_push_with_chart, TALL_DESKTOP),
    "week": (lambda page: open_admin(page, "notifications/subscription/week/"), DESKTOP),
    "alert-rule": (open_alert_rule, DESKTOP),
    "alert": (acknowledge_alert, PHONE),
}


def main() -> None:
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for language in sys.argv[1:2] or LOCALES:
            _language[0] = language
            folder = ROOT / "docs" / language / "screenshots"
            folder.mkdir(exist_ok=True)
            for name in sys.argv[2:] or PICTURES:
                open_page, size = PICTURES[name]
                context = browser.new_context(viewport=size, locale=LOCALES[language], timezone_id="Asia/Shanghai")  # type: ignore[arg-type]  # a ViewportSize
                page = context.new_page()
                opened = open_page(page)
                (opened if isinstance(opened, Page) else page).screenshot(path=folder / f"{name}.png")
                context.close()
                print(folder / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
