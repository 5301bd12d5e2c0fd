"""Reports and alert rules tried in a real browser: their charts, drawn by a real worker, over a real query."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Attribute, AttributeValue, User
from integrations.models import Card, DataSource
from notifications.models import AlertRule, OwnRowsRule, Report, ReportCard, ReportChart
from tests.conftest import program_environ
from tests.e2e.policy import refusals_in
from tests.e2e.session import signed_in
from tests.e2e.stack import BIN, Program, running, wait_for_log
from tests.e2e.test_admin_accessibility import DESK, PHONE, faults_of, look
from tests.integrations.sandbox.programs import npm_modules
from tests.notifications.alerts.conftest import make_receiver
from tests.notifications.alerts.test_rules import make_rule
from tests.notifications.factories import make_corp

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[[Report | AlertRule], tuple[Page, list[str]]]


@pytest.fixture(scope="module")
def charts_worker(
    django_db_setup: None, project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """As docs/charts.md starts it."""
    celery = [str(BIN / "celery"), "-A", "guanwecom", "worker", "-Q", "charts", "-n", "charts@%h", "--loglevel", "INFO"]
    command = [*celery, "--pool", "prefork", "--concurrency", "1", "--without-mingle"]
    folder = tmp_path_factory.mktemp("charts")
    with running("charts", command, env=program_environ(), folder=folder, cwd=project_root) as program:
        yield program


@pytest.fixture
def report(transactional_db: None, tmp_path: Path, settings: Any) -> Report:
    """Of each region's sales, each person those of their own, with a chart."""
    settings.DATA_SQLITE_FOLDERS = [str(tmp_path)]
    with closing(sqlite3.connect(tmp_path / "facts.db")) as opened:
        opened.execute("CREATE TABLE sales (区域 TEXT, 门店 TEXT, 销售额 REAL)")
        rows = [("华东", "上海", 128.5), ("华东", "杭州", 96), ("华南", "广州", 64)]
        opened.executemany("INSERT INTO sales VALUES (?, ?, ?)", rows)
        opened.commit()
    source = DataSource.objects.create(name="数据仓库", kind="sql", sql_url=f"sqlite:///{tmp_path}/facts.db")
    card = Card.objects.create(source=source, name="门店销售额", sql="SELECT * FROM sales", units={"销售额": "万元"})
    body = "共 {{ sales.sum('销售额') }} 万元"
    report = Report.objects.create(title="销售日报", body=body, is_template=True, figures="")
    ReportCard.objects.create(report=report, card=card, alias="sales", title="门店销售额")
    ReportChart.objects.create(report=report, alias="sales", kind="bar", title="各门店销售额", x="门店", y="销售额")
    region = Attribute.objects.create(key="region", name="区域")
    OwnRowsRule.objects.create(report=report, alias="sales", column="区域", attribute=region)
    person = User.objects.create(username="hanmeimei", name="韩梅梅")
    AttributeValue.objects.create(user=person, attribute=region, value="华东", folded="华东", position=0)
    return report


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


def test_the_button_shows_the_chart_of_somebodys_own_rows(
    open_page: OpenPage, report: Report, charts_worker: Program
) -> None:
    wait_for_log("ready.", charts_worker)
    page, refusals = open_page(report)
    page.get_by_label("消息形式").select_option("news")

    page.get_by_role("button", name="读取数据并预览").click()
    expect(page.locator("[data-look-place] .problem")).to_contain_text("请选择以谁的身份查看")
    page.locator("[data-look-as]").fill("韩梅梅")
    page.get_by_role("button", name="读取数据并预览").click()

    expect(page.locator("[data-look-place]")).to_contain_text("可以看到 3 行中的 2 行。")
    chart, picture = page.locator(".look-chart img"), page.locator(".phone-picture img")
    for image in (chart, picture):
        expect(image).to_be_visible()
        expect(image).to_have_js_property("complete", value=True)
        assert image.evaluate("one => one.naturalWidth") == 390
    expect(chart).to_have_attribute("src", re.compile(r"/preview/[^/]+\.svg$"))
    expect(page.locator("[data-look-place] progress")).to_have_count(0)
    drawn = page.request.get(str(chart.evaluate("one => one.src"))).text()
    assert "杭州" in drawn
    assert "广州" not in drawn
    assert refusals == []
    for appearance in (PHONE, DESK):
        look(page, appearance)
        assert faults_of(page) == {}


def test_a_chart_that_cannot_be_drawn_says_why_and_a_file_can_be_opened(
    open_page: OpenPage, report: Report, charts_worker: Program
) -> None:
    wait_for_log("ready.", charts_worker)
    ReportChart.objects.update(y="成本")
    OwnRowsRule.objects.all().delete()
    page, _refusals = open_page(report)
    page.get_by_label("消息形式").select_option("xlsx")

    page.get_by_role("button", name="读取数据并预览").click()

    expect(page.locator(".look-chart .problem")).to_have_text("数据中没有列「成本」。")
    with page.expect_download() as download:
        page.get_by_role("link", name="打开文件").click()
    assert download.value.suggested_filename == "preview.xlsx"


def test_a_rule_is_tried_with_a_picture_of_its_column(
    open_page: OpenPage, report: Report, charts_worker: Program
) -> None:
    card = report.report_cards.get().card
    rule = make_rule(card, make_receiver(corp=make_corp()), "any 销售额 < 100")
    page, refusals = open_page(rule)

    page.get_by_role("button", name="立即试算").click()

    image = page.locator(".look-chart img")
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
