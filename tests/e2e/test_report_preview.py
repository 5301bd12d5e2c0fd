"""Reports and alert rules tried, and alerts, in a real browser: charts drawn by a real worker over a real query."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Attribute, User, WeComAccount
from integrations.data.table import Column, Kind, Table
from notifications import tasks
from notifications.models import AlertRule, Incident, Medium, OwnRowsRule, Report, ReportChart
from tests.conftest import program_environ
from tests.e2e import sales
from tests.e2e.one_page.test_push_page import choose_person
from tests.e2e.policy import refusals_in
from tests.e2e.session import signed_in
from tests.e2e.stack import BIN, Program, running, wait_for_log
from tests.e2e.test_admin_accessibility import DESK, PHONE, faults_of, look
from tests.e2e.waiting import eventually
from tests.notifications.alerts.conftest import make_receiver
from tests.notifications.alerts.rules import check, make_rule
from tests.notifications.factories import make_corp
from tests.sandbox.programs import npm_modules

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[[Report | AlertRule], tuple[Page, list[str]]]


@pytest.fixture(scope="module")
def charts_worker(
    django_db_setup: None, project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """As docs/en/charts.md starts it."""
    celery = [str(BIN / "celery"), "-A", "guanwecom", "worker", "-Q", "charts", "-n", "charts@%h", "--loglevel", "INFO"]
    command = [*celery, "--pool", "prefork", "--concurrency", "1", "--without-mingle"]
    folder = tmp_path_factory.mktemp("charts")
    with running("charts", command, env=program_environ(), folder=folder, cwd=project_root) as program:
        yield program


@pytest.fixture(scope="module", autouse=True)
def data_worker(
    django_db_setup: None, project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    with sales.data_worker(project_root, tmp_path_factory.mktemp("data")) as program:
        yield program


@pytest.fixture
def report(transactional_db: None, warehouse: str) -> Report:
    return sales.sales_report(warehouse)


@pytest.fixture
def open_page(browser: Browser, live_server: LiveServer) -> Iterator[OpenPage]:
    contexts: list[BrowserContext] = []

    def act(row: Report | AlertRule) -> tuple[Page, list[str]]:
        context = browser.new_context(locale="zh-CN", **DESK)
        context.add_init_script((npm_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
        contexts.append(context)
        refusals = refusals_in(context)
        page = context.new_page()
        page.goto(f"{signed_in(context, live_server)}/admin/notifications/{row._meta.model_name}/{row.pk}/change/")
        return page, refusals

    yield act
    for context in contexts:
        context.close()


def test_the_page_shows_the_chart_of_somebodys_own_rows(
    open_page: OpenPage, report: Report, charts_worker: Program
) -> None:
    wait_for_log("ready.", charts_worker)
    page, refusals = open_page(report)
    page.get_by_label("消息形式").select_option("news")

    expect(page.locator("[data-preview-place] .problem")).to_contain_text("请选择以谁的身份预览")
    choose_person(page, "韩梅梅")

    expect(page.locator("[data-preview-place]")).to_contain_text("可以看到 3 行中的 2 行。")
    chart, picture = page.locator(".preview-chart img"), page.locator(".phone-picture img")
    for image in (chart, picture):
        expect(image).to_be_visible()
        expect(image).to_have_js_property("complete", value=True)
        assert image.evaluate("one => one.naturalWidth") == 390
    expect(chart).to_have_attribute("src", re.compile(r"/preview/[^/]+\.svg$"))
    expect(page.locator("[data-preview-place] progress")).to_have_count(0)
    drawn = page.request.get(str(chart.evaluate("one => one.src"))).text()
    assert "杭州" in drawn
    assert "广州" not in drawn
    assert refusals == []
    for appearance in (PHONE, DESK):
        look(page, appearance)
        assert faults_of(page) == {}


def test_a_chart_without_its_column_is_refused_as_by_a_run_and_a_file_can_be_opened(
    open_page: OpenPage, report: Report, charts_worker: Program
) -> None:
    wait_for_log("ready.", charts_worker)
    ReportChart.objects.update(y="成本")
    OwnRowsRule.objects.all().delete()
    page, _refusals = open_page(report)
    page.get_by_label("消息形式").select_option("xlsx")

    expect(page.locator("[data-preview-place] .problem")).to_contain_text("没有列“成本”。")
    page.locator("[name=charts-0-y]").fill("销售额")
    expect(page.locator(".preview-chart img")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="打开文件").click()
    assert download.value.suggested_filename == "preview.xlsx"


def test_a_rule_is_tried_with_a_picture_of_its_column(
    open_page: OpenPage, report: Report, charts_worker: Program
) -> None:
    wait_for_log("ready.", charts_worker)
    card = report.report_cards.get().card
    rule = make_rule(card, make_receiver(corp=make_corp()), "any 销售额 < 100")
    page, refusals = open_page(rule)

    image = page.locator(".preview-chart img")
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", value=True)
    assert image.evaluate("one => one.naturalWidth") == 390
    drawn = page.request.get(str(image.evaluate("one => one.src"))).text()
    assert "广州" in drawn
    assert "stroke-dasharray" in drawn
    assert refusals == []
    for appearance in (PHONE, DESK):
        look(page, appearance)
        assert faults_of(page) == {}


def test_an_alert_shows_the_data_over_which_it_fired_on_a_phone_and_in_the_administration(
    browser: Browser, live_server: LiveServer, report: Report, charts_worker: Program
) -> None:
    wait_for_log("ready.", charts_worker)
    corp, card, person = make_corp(), report.report_cards.get().card, User.objects.get(username="hanmeimei")
    WeComAccount.objects.create(user=person, corp=corp, userid="hanmeimei")
    split = {"split_column": "区域", "split_attribute": Attribute.objects.get(key="region")}
    rule = make_rule(card, make_receiver(person, corp=corp), "any 销售额 < 100", **split)
    columns = (Column("区域", Kind.TEXT), Column("门店", Kind.TEXT), Column("销售额", Kind.NUMBER, "万元"))
    rows = (("华东", "上海", 128.5), ("华东", "杭州", 96), ("华南", "广州", 64))
    check(rule, timezone.now(), Table(columns, rows, timezone.now()))
    incident = Incident.objects.get(part="华东")
    context = browser.new_context(locale="zh-CN", **PHONE)
    context.add_init_script((npm_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    refusals, page = refusals_in(context), context.new_page()
    address = f"{signed_in(context, live_server, 'hanmeimei')}/alerts/{incident.pk}/"

    page.goto(address)
    expect(page.locator("figure.chart")).to_contain_text("仍在绘制")
    tasks._make_media(timezone.now())  # what the next tick does
    eventually(lambda: not Medium.objects.filter(status="waiting").exists())
    page.reload()

    image = page.locator("figure.chart img")
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", value=True)
    assert image.evaluate("one => one.naturalWidth") == 390
    drawn = page.request.get(str(image.evaluate("one => one.src"))).text()
    assert "杭州" in drawn
    assert "广州" not in drawn
    assert "stroke-dasharray" in drawn
    assert page.request.get(str(page.locator("figure.chart a").evaluate("one => one.href"))).body()[:4] == b"\x89PNG"
    assert refusals == []
    for appearance in (PHONE, DESK):
        look(page, appearance)
        assert faults_of(page) == {}
    page.goto(f"{signed_in(context, live_server)}/admin/notifications/incident/{incident.pk}/change/")
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", value=True)
    assert image.evaluate("one => one.naturalWidth") == 390
    context.close()
