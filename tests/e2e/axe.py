"""Checks of pages with axe-core, in light and dark mode, at the width of a phone and of a desk."""

from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from tests.sandbox.programs import npm_modules

SERIOUS = {"serious", "critical"}
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PHONE: dict[str, Any] = {"color_scheme": "light", "viewport": {"width": 390, "height": 844}}
TABLET: dict[str, Any] = {"color_scheme": "light", "viewport": {"width": 768, "height": 1024}}
DESK: dict[str, Any] = {"color_scheme": "dark", "viewport": {"width": 1440, "height": 900}}
# The bar with the buttons leaves the window's foot, where it covers a part of what one can scroll out from under it.
# Results that pass are not computed in full, nor transferred.
VIOLATIONS = """async (levels) => {
  for (const bar of document.querySelectorAll(".submit-row")) bar.style.position = "static";
  return (await axe.run({ runOnly: levels, resultTypes: ["violations"] })).violations;
}"""
# Those of fading colours end; that of a bar without an end does not.
FINISH_ANIMATIONS = """() => document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime !== Infinity).forEach((one) => one.finish())"""
# The inner width stays the phone's even if a wide child makes the browser zoom out.
OVERFLOW = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((one) => `${one.localName}.${one.className}#${one.id}`).slice(0, 5)"""


def open_context(browser: Browser, appearance: dict[str, Any]) -> BrowserContext:
    """Open a Chinese browser whose pages contain axe-core."""
    context = browser.new_context(locale="zh-CN", **appearance)
    context.add_init_script((npm_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    return context


def assert_no_faults(page: Page) -> None:
    for appearance in (PHONE, DESK):
        look(page, appearance)
        faults = faults_of(page)
        assert faults == {}, faults


def look(page: Page, appearance: dict[str, Any]) -> None:
    page.emulate_media(color_scheme=appearance["color_scheme"])
    page.set_viewport_size(appearance["viewport"])
    page.evaluate(FINISH_ANIMATIONS)  # for fading colours


def unfold(page: Page) -> None:
    """Open all parts of a page but menus, which lie over what stands below them."""
    page.evaluate("for (const one of document.querySelectorAll('details:not(.more)')) one.open = true")


def faults_of(page: Page) -> dict[str, str]:
    """Return the faults of the open page as it is drawn now: rule and element, and the reason."""
    found: dict[str, str] = {}
    for one in page.evaluate(VIOLATIONS, LEVELS):
        if one["impact"] in SERIOUS:
            found |= {f"{one['id']} {node['html'][:200]}": node["failureSummary"] for node in one["nodes"]}
    return found | overflow_of(page) | english_of(page)


def english_of(page: Page) -> dict[str, str]:
    """Return the icons with English texts on a Chinese page."""
    icons = "[...document.images].filter((one) => /^(True|False|None|Search)$/.test(one.alt)).map((one) => one.alt)"
    return {f"an icon says {word}": "" for word in page.evaluate(icons)}


def overflow_of(page: Page) -> dict[str, str]:
    is_too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return {f"too wide {page.evaluate(OVERFLOW)}": ""} if is_too_wide else {}
