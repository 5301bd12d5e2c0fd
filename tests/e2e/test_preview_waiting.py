"""Previews of a report while nobody fetches, and without scripts, in a real browser with a real worker of the data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import Card, CardData
from notifications.models import OwnRowsRule, Report
from tests.e2e.policy import refusals_in
from tests.e2e.sales import data_worker, sales_report
from tests.e2e.session import signed_in
from tests.e2e.stack import wait_for_log
from tests.e2e.test_admin_accessibility import DESK, PHONE, faults_of, look
from tests.e2e.waiting import eventually
from tests.sandbox.programs import npm_modules

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def report(transactional_db: None, warehouse: str) -> Report:
    report = sales_report(warehouse)
    OwnRowsRule.objects.all().delete()
    return report


def change_page(report: Report) -> str:
    return f"/admin/notifications/report/{report.pk}/change/"


def test_the_page_says_that_no_worker_fetches_and_shows_the_report_once_one_does(
    browser: Browser, live_server: LiveServer, report: Report, tmp_path: Path, project_root: Path
) -> None:
    context = browser.new_context(locale="zh-CN", **DESK)
    context.add_init_script((npm_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    refusals = refusals_in(context)
    page = context.new_page()
    page.goto(signed_in(context, live_server) + change_page(report))
    page.locator("[name=title]").fill("还没有保存的标题")
    place = page.locator("[data-preview-place]")

    expect(place).to_contain_text("正在读取数据…")
    expect(place.locator("progress")).to_be_visible()
    expect(place.locator("[data-elapsed]")).to_have_text(re.compile(r"^([2-9]|[1-9][0-9]+) 秒$"))
    expect(place.locator(".problem")).to_contain_text("是否有 worker 在处理队列“data”")
    assert refusals == []
    for appearance in (PHONE, DESK):
        look(page, appearance)
        assert faults_of(page) == {}
    refusals.clear()  # axe-core's own
    with data_worker(project_root, tmp_path) as worker:
        wait_for_log("ready.", worker)
        expect(place).to_contain_text("还没有保存的标题")
        expect(place).to_contain_text("共 288.5 万元")
    assert Report.objects.get().title == "销售日报"
    assert CardData.objects.get().slot_at is None
    assert refusals == []
    context.close()


def test_a_source_that_fails_is_said_with_what_to_do(
    browser: Browser, live_server: LiveServer, report: Report, tmp_path: Path, project_root: Path
) -> None:
    Card.objects.update(sql="SELECT * FROM renamed")
    context = browser.new_context(locale="zh-CN", **DESK)
    page = context.new_page()
    page.goto(signed_in(context, live_server) + change_page(report))

    with data_worker(project_root, tmp_path) as worker:
        wait_for_log("ready.", worker)
        expect(page.locator("[data-preview-place] .problem")).to_contain_text("卡片“门店销售额”没有数据：数据库拒绝")
    context.close()


def test_without_scripts_the_preview_has_a_page_of_its_own(
    browser: Browser, live_server: LiveServer, report: Report, tmp_path: Path, project_root: Path
) -> None:
    page = without_scripts(browser, live_server, change_page(report))
    page.locator("[name=title]").fill("还没有保存的标题")

    with page.context.expect_page() as opened:
        page.get_by_role("button", name="在单独的页面中查看").click()

    own = opened.value
    expect(own.get_by_text("正在读取数据…")).to_be_visible()

    def is_shown() -> bool:
        with own.expect_navigation():
            own.get_by_role("button", name="刷新").click()
        return own.get_by_text("共 288.5 万元").count() > 0

    with data_worker(project_root, tmp_path) as worker:
        eventually(is_shown, [worker])
        expect(own.locator(".phone")).to_contain_text("还没有保存的标题")
        own.get_by_label("消息形式").select_option("markdown")
        own.get_by_role("button", name="读取数据并预览").click()
        expect(own.get_by_label("消息形式")).to_have_value("markdown")
    assert own.url.endswith("/admin/notifications/report/preview/")
    expect(page.locator("[name=title]")).to_have_value("还没有保存的标题")
    page.context.close()


def without_scripts(browser: Browser, live_server: LiveServer, path: str) -> Page:
    context = browser.new_context(locale="zh-CN")
    base = signed_in(context, live_server)
    state: Any = context.storage_state()
    context.close()
    page = browser.new_context(java_script_enabled=False, storage_state=state, locale="zh-CN").new_page()
    page.goto(base + path)
    return page
