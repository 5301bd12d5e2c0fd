"""The login page with WeCom's own panel (@wecom/jssdk as we serve it); its fixed host leads to the sandbox."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, Route, expect

from integrations.models import Corp
from tests.e2e.joined import Joined
from tests.e2e.waiting import stand_still, until_loaded

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PANEL_HOST = "https://login.work.weixin.qq.com"
FRAME = "[data-panel-frame] iframe"


def lead(context: BrowserContext, host: str, address: str) -> None:
    """Route requests of the context's pages for `host` to `address`. Both have a scheme and no path."""

    def answer(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(host, address)))

    context.route(f"{host}/**", answer)


def close(context: BrowserContext) -> None:
    """Close a context with routes.

    Without this, Playwright raises an unfinished answer as an error in the next test.
    """
    context.unroute_all(behavior="ignoreErrors")
    context.close()


@pytest.fixture
def base(joined: Joined) -> str:
    return joined.base


@pytest.fixture
def corp(joined: Joined) -> Corp:
    """A company with WeCom's own QR page, the only one that the component frames."""
    joined.corp.qr_base_url = PANEL_HOST
    joined.corp.save(update_fields=["qr_base_url"])
    return joined.corp


@pytest.fixture
def context(browser: Browser, joined: Joined) -> Iterator[BrowserContext]:
    """A browser for which the sandbox is WeCom's host."""
    context = browser.new_context(locale="zh-CN")
    lead(context, PANEL_HOST, joined.sandbox.base_url)
    yield context
    close(context)


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def panel_of(page: Page) -> FrameLocator:
    return page.frame_locator(FRAME)


def state_of(page: Page) -> str:
    source = page.locator(FRAME).get_attribute("src")
    found = re.search(r"[?&]state=([A-Za-z0-9]+)", source or "")
    assert found is not None
    return found[1]


def scan(page: Page, answer: str = "确认登录") -> None:
    until_loaded(page.locator(FRAME))
    panel_of(page).get_by_role("button", name="李雷 LiLei").click()
    panel_of(page).get_by_role("button", name=answer).click()


def renewed(page: Page, times: int) -> None:
    expect(page.locator("[data-panel]")).to_have_attribute("data-renewed", str(times))
    expect(page.locator(FRAME)).to_have_count(1)


def test_whoever_refuses_is_back_on_the_login_page(page: Page, base: str, corp: Corp) -> None:
    page.goto(f"{base}/login/")

    scan(page, "拒绝")

    page.wait_for_url(re.compile(r"/login/\?.*declined=1"))
    expect(page.locator(".notice-warning")).to_be_visible()


def test_a_scan_signs_in_however_long_the_page_stays_open_and_leads_to_the_page_asked_for(
    page: Page, base: str, corp: Corp
) -> None:
    stand_still(page)
    page.goto(f"{base}/login/?next=/%3Fq%3D1")
    renewed(page, 0)
    states = [state_of(page)]

    for time in range(1, 3):
        page.clock.fast_forward(239_000)
        renewed(page, time - 1)
        page.clock.fast_forward(1_500)
        renewed(page, time)
        states.append(state_of(page))
    page.clock.resume()
    # After sleep the page gets a new state when it is visible again.
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 3600e3; }")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    renewed(page, 3)
    states.append(state_of(page))
    scan(page)

    page.wait_for_url(f"{base}/?q=1")
    expect(page.locator(".who")).to_have_text("李雷")
    assert len(set(states)) == 4


def test_where_the_panel_cannot_load_the_plain_link_is_the_button(
    page: Page, context: BrowserContext, base: str, corp: Corp
) -> None:
    link = page.get_by_role("link", name="打开企业微信的扫码页面")
    # If the component is missing, the link appears at once.
    context.route("**/wecom.global.prod*.js", lambda route: route.abort())
    page.goto(f"{base}/login/")
    expect(page.locator("[data-panel]")).to_have_attribute("data-state", "failed")
    expect(link).to_have_class("button")

    context.unroute("**/wecom.global.prod*.js")
    context.unroute(f"{PANEL_HOST}/**")
    context.route(f"{PANEL_HOST}/**", lambda route: route.abort())
    page.clock.install()
    page.goto(f"{base}/login/")
    page.clock.fast_forward(12_500)
    expect(page.locator("[data-panel-words]")).to_have_text("此处无法显示二维码，请点击下方按钮打开。")
    expect(link).to_have_class("button")
    assert link.get_attribute("href") == f"/wecom/{corp.pk}/start/?next=%2F"


def test_an_open_wecom_on_the_computer_is_said(page: Page, base: str, corp: Corp) -> None:
    """WeCom's panel offers the one click itself; it tells us whether WeCom's client is signed in here."""
    page.add_init_script(
        "window.addEventListener('message', (event) => {"
        "  if (typeof event.data !== 'string' || !event.data.includes('isWeComLogin')) return; }, true);"
        "const post = MessagePort.prototype.postMessage; const open = JSON.stringify;"
        "MessagePort.prototype.postMessage = function (text) {"
        "  return post.call(this, String(text).replace('\"isWeComLogin\":false', '\"isWeComLogin\":true')); };"
    )

    page.goto(f"{base}/login/")

    expect(page.locator("[data-panel-words]")).to_have_text("这台电脑已登录企业微信，在那里点一下即可登录。")


def test_works_at_phone_width_by_keyboard_and_in_the_dark(
    browser: Browser, context: BrowserContext, base: str, corp: Corp
) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.goto(f"{base}/login/")
    expect(page.locator("[data-panel]")).to_have_attribute("data-state", "ready")

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    frame = page.locator(FRAME)
    until_loaded(frame)
    expect(frame).to_have_attribute("title", "企业微信扫码登录")
    box = frame.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.locator(".brand").focus()
    panel = panel_of(page)
    for _tab in range(20):
        page.keyboard.press("Tab")
        if panel.locator("[data-userid=LiLei]:focus").count():
            break
    page.keyboard.press("Enter")
    panel.locator("#approve").press("Enter")
    page.wait_for_url(f"{base}/")
