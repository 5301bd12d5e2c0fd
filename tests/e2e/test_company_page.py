"""The page of a company in a real browser: what only a browser shows."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import User
from integrations.companies import links
from integrations.models import CheckRun, ConsoleWrite, Corp
from notifications.delivery.rendering.render import render_run
from notifications.models import CorpQueue
from tests.e2e.waiting import stand_still
from tests.notifications.factories import make_person, make_run, make_subscription

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PASSWORD = "a long enough password"
# So long a button says that it has copied.
SAID_MS = 1_500
REFUSE_THE_CLIPBOARD = "void (navigator.clipboard.writeText = async () => { throw new Error('refused'); })"


@pytest.fixture
def browser_context_args() -> dict[str, object]:
    """Read by pytest-playwright."""
    return {"locale": "zh-CN", "permissions": ["clipboard-read", "clipboard-write"]}


@pytest.fixture
def corp(transactional_db: None) -> Corp:
    return Corp.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret")


@pytest.fixture
def address(live_server: LiveServer, page: Page, corp: Corp) -> str:
    """The page of the company, open, by an administrator who signed in."""
    User.objects.create_superuser("root", password=PASSWORD)
    base = live_server.url.replace("127.0.0.1", "localhost")
    url = f"{base}/admin/integrations/corp/{corp.pk}/change/"
    page.goto(url)
    page.fill("[name=username]", "root")
    page.fill("[name=password]", PASSWORD)
    page.click("#login-form [type=submit]")
    expect(page.locator("#corp_form")).to_be_attached()
    page.wait_for_load_state()
    open_all(page)
    return url


def open_all(page: Page) -> None:
    """Every folded part of the page."""
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")


def test_who_copies_by_keyboard_stays_where_they_are(page: Page, address: str) -> None:
    stand_still(page)
    page.focus("[data-copy=value-domain]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="已复制")).to_be_visible()
    page.keyboard.press("Enter")  # once more while it says so
    page.evaluate("navigator.clipboard.readText()")  # answered after what was written before

    expect(page.locator("[data-copy=value-domain]")).to_be_focused()
    page.clock.run_for(SAID_MS)
    expect(page.locator("[data-copy=value-domain]")).to_have_text("复制")
    expect(page.locator("[data-copy=value-domain]")).to_be_focused()


def test_a_browser_that_refuses_the_clipboard_copies_the_older_way(page: Page, address: str, corp: Corp) -> None:
    page.evaluate(REFUSE_THE_CLIPBOARD)
    stand_still(page)

    page.click("[data-copy=value-home-page]")

    expect(page.locator("[data-copy=value-home-page]")).to_have_text("已复制")
    expect(page.locator("[data-copy=value-home-page]")).to_be_focused()
    assert page.evaluate("navigator.clipboard.readText()") == links.home_page_link(corp)


def test_nothing_is_called_copied_where_no_way_works(page: Page, address: str) -> None:
    page.evaluate(REFUSE_THE_CLIPBOARD)
    page.evaluate("void (document.execCommand = () => false)")

    page.click("[data-copy=value-domain]")

    # The value is selected, to be copied by hand.
    expect(page.locator("#value-domain")).to_be_focused()
    expect(page.locator("[data-copy=value-domain]")).to_have_text("复制")


def test_a_preview_survives_a_server_that_is_away_for_a_moment_and_says_when_it_stays_away(
    page: Page, address: str, corp: Corp
) -> None:
    now = timezone.now()
    write = ConsoleWrite.objects.create(corp=corp, kind="menu", status="waiting", requested_at=now)
    failures = [502, 502]
    page.route(
        "**/state/",
        lambda route: route.fulfill(status=failures.pop()) if failures else route.fallback(),
    )
    page.goto(address.replace("change/", f"console/{write.pk}/preview/"))
    expect(page.locator("[data-live] .pill")).to_have_text("正在读取")

    ConsoleWrite.objects.update(status="failed", problem="outdated", finished_at=now)

    expect(page.locator("[data-live] .pill-bad")).to_be_visible(timeout=60_000)
    assert failures == []
    ConsoleWrite.objects.update(status="waiting", problem="")
    failures.extend([502] * 9)
    page.reload()
    expect(page.locator("[data-live] [role=alert]")).to_have_text(
        "页面与服务器的连接已断开，请刷新页面。", timeout=60_000
    )


def test_the_result_of_a_test_appears_while_one_looks(page: Page, address: str, corp: Corp) -> None:
    result, step = page.locator("[data-check=token]"), page.locator("#state-of-credentials")
    expect(result.locator(".pill")).to_have_text("未检查")
    expect(step.locator(".pill")).to_have_class("pill pill-warn")

    page.get_by_role("button", name="测试连接").click()

    expect(result.locator(".pill")).not_to_have_text("未检查")
    assert CheckRun.objects.filter(corp=corp).update(status="ok", finished_at=timezone.now()) == 2  # and the network
    expect(page.locator("#token-result .pill")).to_have_class("pill pill-good", timeout=60_000)
    expect(result.locator(".pill")).to_have_class("pill pill-good")
    # The step turns, too, and another one is the next.
    expect(step.locator(".pill")).to_have_class("pill pill-good", timeout=60_000)
    expect(page.locator(".corp-next a")).to_have_text("2 · 校验文件")


def test_a_test_that_no_worker_takes_says_so(page: Page, address: str) -> None:
    page.get_by_role("button", name="测试连接").click()

    expect(page.locator("[data-check=token]")).to_contain_text("worker", timeout=60_000)


def test_the_page_fits_a_phone(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})

    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0


def test_the_language_is_switched_in_place(page: Page, address: str) -> None:
    page.get_by_role("button", name="English").click()

    expect(page).to_have_url(address)
    expect(page.get_by_role("heading", name=re.compile("Full test"))).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name=re.compile("完整测试"))).to_be_visible()


def test_a_run_and_its_company_say_what_calls_met_and_turn_without_a_reload(
    page: Page, address: str, corp: Corp
) -> None:
    Corp.objects.update(is_enabled=True)
    now = timezone.now()
    run = make_run(make_subscription(make_person(corp, "LiLei")), now, trigger="manual")
    page.goto(address.partition("/admin/")[0] + f"/admin/notifications/run/{run.pk}/change/")
    progress, facts = page.locator(".log-page > [data-live]"), page.locator("#log-parts .log-facts")
    expect(progress).to_contain_text("正在准备")
    expect(facts).not_to_contain_text("接收人")

    render_run(run_id=run.pk, now=now)
    CorpQueue.objects.create(corp=corp, blocked_since=now, blocked_errcode=40001)

    expect(progress).to_contain_text("正在发送：1 人中已有 0 人得出结果")
    expect(facts).to_contain_text("接收人1")
    expect(page.locator("#log-parts .errornote")).to_contain_text("“北山制造”：凭证被拒绝 · 自")
    page.goto(address)
    expect(page.locator("#corp-state a")).to_contain_text("起有 1 人次在等待 · 更新 Secret")
    expect(page.locator("#state-of-credentials .pill")).to_have_text("有误")

    CorpQueue.objects.update(blocked_since=None)

    expect(page.locator("#corp-state a")).to_have_count(0)
    expect(page.locator("#state-of-credentials .pill")).not_to_have_text("有误")
    expect(page.locator("#corp-reach")).to_contain_text("接收消息")
