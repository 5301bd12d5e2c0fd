"""Previews of pushes, trials of alert rules, and alerts in a real browser: real workers fetch and draw."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import BrowserContext, Locator, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Attribute, User, WeComAccount
from integrations.data.table import Column, Kind, Table
from integrations.models import Card
from notifications import tasks
from notifications.models import AlertRule, Incident, Medium, OwnRowsRule, Report, ReportChart, Subscription
from tests.conftest import program_environ
from tests.e2e import sales
from tests.e2e.axe import PHONE, assert_no_faults, look
from tests.e2e.policy import refusals_in
from tests.e2e.session import signed_in
from tests.e2e.stack import BIN, Program, running, wait_for_log
from tests.e2e.waiting import eventually
from tests.notifications.alerts.rules import check, make_rule
from tests.notifications.factories import make_corp, make_subscription

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[[Subscription | AlertRule], Page]


@pytest.fixture(scope="module")
def charts_worker(
    django_db_setup: None, project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """A worker started as in docs/en/charts.md."""
    celery = [str(BIN / "celery"), "-A", "guanwecom", "worker", "-Q", "charts", "-n", "charts@%h", "--loglevel", "INFO"]
    command = [*celery, "--pool", "prefork", "--concurrency", "1", "--without-mingle"]
    folder = tmp_path_factory.mktemp("charts")
    with running("charts", command, env=program_environ(), folder=folder, cwd=project_root) as program:
        wait_for_log("ready.", program)
        yield program


@pytest.fixture(scope="module")
def data_worker(
    django_db_setup: None, project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    with sales.data_worker(project_root, tmp_path_factory.mktemp("data")) as program:
        wait_for_log("ready.", program)
        yield program


@pytest.fixture
def report(transactional_db: None, warehouse: str) -> Report:
    return sales.sales_report(warehouse)


@pytest.fixture
def refusals(desk: BrowserContext) -> list[str]:
    return refusals_in(desk)


@pytest.fixture
def open_page(desk: BrowserContext, refusals: list[str], live_server: LiveServer) -> OpenPage:
    def act(row: Subscription | AlertRule) -> Page:
        page = desk.new_page()
        page.goto(f"{signed_in(desk, live_server)}/admin/notifications/{row._meta.model_name}/{row.pk}/change/")
        return page

    return act


def drawn_in(image: Locator) -> str:
    """Wait for the picture and return its content."""
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", value=True)
    assert image.evaluate("one => one.naturalWidth") == 390
    return image.page.request.get(str(image.evaluate("one => one.src"))).text()


def test_what_fails_is_said_with_what_to_do_and_a_file_can_be_opened(
    open_page: OpenPage, refusals: list[str], report: Report, request: pytest.FixtureRequest
) -> None:
    """Says first that no worker fetches the data, and shows the message once one does."""
    sql = Card.objects.get().sql
    Card.objects.update(sql="SELECT * FROM renamed")
    ReportChart.objects.update(y="成本")
    OwnRowsRule.objects.all().delete()
    page = open_page(make_subscription(report=report))
    problem = page.locator("[data-phone] .problem")
    expect(problem).to_contain_text("是否有后台进程负责“data”")
    assert refusals == []
    request.getfixturevalue("data_worker")
    request.getfixturevalue("charts_worker")
    expect(problem).to_contain_text("没有取到“门店销售额”的数据：数据库拒绝")

    Card.objects.update(sql=sql)
    page.reload()
    page.get_by_label("消息形式").select_option("xlsx")
    expect(problem).to_contain_text("没有列“成本”。")
    page.locator("[name=charts-0-y]").evaluate("one => one.closest('details').open = true")
    page.locator("[name=charts-0-y]").fill("销售额")
    expect(page.locator(".preview-chart img")).to_have_js_property("naturalWidth", 390)
    with page.expect_download() as download:
        page.get_by_role("link", name="打开文件").click()
    assert download.value.suggested_filename == "preview.xlsx"


def test_a_rule_is_tried_with_a_picture_of_its_column(
    open_page: OpenPage, refusals: list[str], report: Report, data_worker: Program, charts_worker: Program
) -> None:
    card = report.report_cards.get().card
    page = open_page(make_rule(card, (), "any 销售额 < 100", corp=make_corp()))

    drawn = drawn_in(page.locator(".preview-chart img"))
    assert "广州" in drawn
    assert "stroke-dasharray" in drawn
    assert refusals == []
    assert_no_faults(page)


def test_an_alert_shows_the_data_over_which_it_fired_on_a_phone_and_in_the_administration(
    desk: BrowserContext, refusals: list[str], live_server: LiveServer, report: Report, charts_worker: Program
) -> None:
    corp, card, person = make_corp(), report.report_cards.get().card, User.objects.get(username="hanmeimei")
    WeComAccount.objects.create(user=person, corp=corp, userid="hanmeimei")
    split = {"split_column": "区域", "split_attribute": Attribute.objects.get(key="region")}
    rule = make_rule(card, [person], "any 销售额 < 100", corp=corp, **split)
    columns = (Column("区域", Kind.TEXT), Column("门店", Kind.TEXT), Column("销售额", Kind.NUMBER, "万元"))
    rows = (("华东", "上海", 128.5), ("华东", "杭州", 96), ("华南", "广州", 64))
    check(rule, timezone.now(), Table(columns, rows, timezone.now()))
    incident, page = Incident.objects.get(part="华东"), desk.new_page()
    look(page, PHONE)

    page.goto(f"{signed_in(desk, live_server, 'hanmeimei')}/alerts/{incident.pk}/")
    expect(page.locator("figure.chart")).to_contain_text("仍在绘制")
    tasks._make_media(timezone.now())  # what the next tick does
    eventually(lambda: not Medium.objects.filter(status="waiting").exists())
    page.reload()

    image = page.locator("figure.chart img")
    drawn = drawn_in(image)
    assert [words in drawn for words in ("杭州", "广州", "stroke-dasharray")] == [True, False, True]
    assert page.request.get(str(page.locator("figure.chart a").evaluate("one => one.href"))).body()[:4] == b"\x89PNG"
    assert refusals == []
    assert_no_faults(page)
    page.goto(f"{signed_in(desk, live_server)}/admin/notifications/incident/{incident.pk}/change/")
    assert drawn_in(image)
