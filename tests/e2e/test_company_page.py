"""The page of a company in a real browser: behaviour that needs scripts."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import CheckRun, Corp, Job
from notifications.delivery.rendering.render import render_run
from notifications.models import CorpQueue
from tests.e2e.axe import unfold
from tests.e2e.session import signed_in
from tests.notifications.factories import make_person, make_run, make_subscription

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def corp(transactional_db: None) -> Corp:
    return Corp.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret")


@pytest.fixture
def address(live_server: LiveServer, page: Page, corp: Corp) -> str:
    """The open page of the company, with all parts unfolded."""
    url = f"{signed_in(page.context, live_server)}/admin/integrations/corp/{corp.pk}/change/"
    page.goto(url)
    page.wait_for_load_state()
    unfold(page)
    return url


def test_a_preview_survives_a_server_that_is_away_for_a_moment_and_says_when_it_stays_away(
    page: Page, address: str, corp: Corp
) -> None:
    now = timezone.now()
    columns = {"payload": {"kind": "menu"}, "requested_at": now, "due_at": now}
    write = Job.objects.create(corp=corp, kind="console.write", key=f"{corp.pk}:menu", **columns)
    failures = [502, 502]
    page.route("**/state/", lambda route: route.fulfill(status=failures.pop()) if failures else route.fallback())
    page.goto(address.replace("change/", f"console/{write.pk}/preview/"))
    expect(page.locator("[data-live] .pill")).to_have_text("进行中")

    Job.objects.update(status="failed", problem="outdated", finished_at=now)

    expect(page.locator("[data-live] .pill-bad")).to_be_visible()
    assert failures == []
    Job.objects.update(status="waiting", problem="")
    failures.extend([502] * 9)
    page.reload()
    expect(page.locator("[data-live] [role=alert]")).to_have_text("页面与服务器的连接已断开，请刷新页面。")


def test_a_test_that_no_worker_takes_says_so_and_its_result_appears_while_one_looks(
    page: Page, address: str, corp: Corp
) -> None:
    result, step = page.locator("[data-check=token]"), page.locator("#state-of-credentials")
    expect(result.locator(".pill")).to_have_text("等待")
    expect(step.locator(".pill")).to_have_class("pill pill-next")

    page.get_by_role("button", name="测试连接").click()

    expect(result).to_contain_text("没有后台进程响应")
    assert CheckRun.objects.filter(corp=corp).update(status="ok", finished_at=timezone.now()) == 2  # and network check
    expect(page.locator("#token-result .pill")).to_have_class("pill pill-good")
    expect(result.locator(".pill")).to_have_class("pill pill-good")
    # The step changes, too, and another one is next.
    expect(step.locator(".pill")).to_have_class("pill pill-good")
    expect(page.locator(".corp-next a")).to_have_text("2 · 校验文件")

    page.get_by_role("button", name="English").click()
    expect(page).to_have_url(address)
    expect(page.get_by_role("heading", name=re.compile("Full test"))).to_be_visible()


def test_a_run_and_its_company_say_what_calls_met_and_turn_without_a_reload(
    page: Page, address: str, corp: Corp
) -> None:
    Corp.objects.update(is_enabled=True)
    now = timezone.now()
    run = make_run(make_subscription(make_person(corp, "LiLei")), now, trigger="manual")
    page.goto(address.partition("/admin/")[0] + f"/admin/notifications/run/{run.pk}/change/")
    progress, facts = page.locator(".run-head [data-live]"), page.locator("#log-parts .log-facts")
    expect(progress).to_contain_text("正在准备")
    expect(facts).not_to_contain_text("接收人")

    render_run(run_id=run.pk, now=now)
    CorpQueue.objects.create(corp=corp, blocked_since=now, blocked_errcode=40001)

    expect(progress).to_contain_text("正在发送：0 / 1")
    expect(progress.get_by_role("progressbar")).to_have_attribute("max", "1")
    expect(progress.get_by_role("link", name="更新 Secret")).to_be_visible()
    expect(facts).to_contain_text("接收人1")
    expect(page.locator("#log-parts .errornote")).to_contain_text("“北山制造”：凭证被拒绝 · 自")
    page.goto(address)
    expect(page.locator("#corp-state .notice")).to_contain_text("起有 1 人次在等待")
    expect(page.locator("#corp-state a")).to_have_text("更新 Secret")
    expect(page.locator("#state-of-credentials .pill")).to_have_text("失败")

    CorpQueue.objects.update(blocked_since=None)

    expect(page.locator("#corp-state a")).to_have_count(0)
    expect(page.locator("#state-of-credentials .pill")).not_to_have_text("失败")
    expect(page.locator("#corp-reach")).to_contain_text("接收消息")


def test_what_must_be_put_right_is_focused_and_leads_into_a_part_that_is_folded(page: Page, address: str) -> None:
    page.goto(address.partition("/admin/")[0] + "/admin/integrations/corp/add/")
    page.fill("[name=name]", "北山制造")
    page.click("fieldset:has([name=api_base_url]) summary")
    page.fill("[name=api_base_url]", "no address")
    page.click("[name=_save]")

    problems = page.locator("#content .errornote")
    expect(problems).to_be_focused()
    problems.locator("a[href='#id_api_base_url']").click()
    expect(page.locator("[name=api_base_url]")).to_be_in_viewport()
    assert page.input_value("[name=name]") == "北山制造"
