"""The page of a report's message: whole, with the recipient's own rows, and for nobody else."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from accounts.models import User
from accounts.templatetags.pages import in_words
from integrations.data.table import Column, Kind, Table
from integrations.data.table_builder import build_table
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Report, ReportChart, Run
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription, make_superuser
from tests.notifications.reports.places import answer, make_data_report, make_region, place, split
from tests.notifications.reports.tables import sales

pytestmark = pytest.mark.django_db


def sent(report: Report, *people: User) -> None:
    render_run(run_id=make_run(make_subscription(*people, report=report)).pk, now=NOW)
    Delivery.objects.update(status=Delivery.Status.ACCEPTED, settled_at=NOW)


def page_of(person: User, delivery: Delivery, query: str = "") -> tuple[int, str]:
    response = client_of(person).get(f"/m/{delivery.mark}/{query}")
    return response.status_code, response.content.decode()


def test_shows_text_figures_and_tables_as_they_were_when_it_was_sent() -> None:
    report = make_data_report(
        figures="合计: {{ c }}\n截至: 08:30".replace("c", "sales.sum('销售额')|千分位"), link="/bi/page/x"
    )
    person = make_person(make_corp(), "a")
    answer(report)
    sent(report, person)
    answer(report, sales(days=0))

    status, page = page_of(person, Delivery.objects.get())

    assert status == 200
    for piece in (
        *(
            "11月23日销售",
            "合计 20,040 元",
            "<dd>20,040</dd>",
            "<dd>08:30</dd>",
            "各区域销售",
            ">4,010</td>",
            "数据截至",
        ),
        *('<span class="unit">元</span>', 'href="/bi/page/x"', "查看详情"),
    ):
        assert piece in page


def test_each_reads_their_own_rows_and_nobody_elses() -> None:
    report, region, corp = make_data_report(), make_region(), make_corp()
    split(report, region)
    people = [make_person(corp, name) for name in ("a", "b")]
    for person, value in zip(people, ["华东", "华南"], strict=True):
        place(person, region, value)
    answer(report)
    sent(report, *people)
    first, second = Delivery.objects.order_by("pk")

    assert "华南" not in page_of(people[0], first)[1]
    assert "华南" in page_of(people[1], second)[1]
    assert page_of(people[0], second)[0] == 404


def test_figures_and_pictures_come_first_and_the_newest_rows_before_older_ones() -> None:
    report, person = make_data_report(figures="合计: {{ sales.sum('销售额') }}"), make_person(make_corp(), "a")
    ReportChart.objects.create(report=report, alias="sales", kind="bar", x="区域", y="销售额", title="图")
    answer(report)
    sent(report, person)

    page = page_of(person, Delivery.objects.get())[1]

    parts = (
        '<dl class="figures">',
        '<figure class="chart">',
        '<div class="message-body">',
        '<section class="report-table"',
    )
    assert [page.count(part) for part in parts] == [1, 1, 1, 1]
    assert sorted(parts, key=page.index) == list(parts)
    rows = re.findall(r'<tr><td class="short">([\d-]+)</td><td class="short">(\w+)</td>', page)
    days = ("2026-11-23", "2026-11-22", "2026-11-21", "2026-11-20")
    assert rows == [(day, region) for day in days for region in ("华东", "华南")]


@pytest.mark.parametrize(
    ("days", "words"), [(0, "今天 07:59"), (1, "昨天 07:59"), (2, "{:%Y-%m-%d} 07:59"), (-1, "明天 07:59")]
)
def test_says_times_as_people_do(days: int, words: str) -> None:
    at = timezone.localtime().replace(hour=7, minute=59, second=3) - timedelta(days=days)

    written = in_words(at)

    assert written.endswith(f">{words.format(at)}</time>")
    assert f'title="{at:%Y-%m-%d} 07:59"' in written


def test_many_rows_come_in_pages() -> None:
    report, person = make_data_report(), make_person(make_corp(), "a")
    answer(report, sales(days=125))
    sent(report, person)
    delivery = Delivery.objects.get()

    pages = [page_of(person, delivery, f"?page={number}")[1] for number in ("1", "3", "99", "x", "-1")]

    assert [page.count("<tr>") - 1 for page in pages] == [100, 50, 50, 100, 100]
    assert "第 3 页，共 3 页" in pages[1]
    assert 'rel="next"' not in pages[1]


MOMENT = Table((Column("时刻", Kind.DATETIME),), ((datetime(2026, 11, 24, 0, 30, tzinfo=UTC),),), NOW)
DAY = Table(
    (Column("日期", Kind.DATE),), ((date(2026, 11, 23),),), datetime(2026, 11, 24, tzinfo=ZoneInfo("Asia/Shanghai"))
)


@pytest.mark.parametrize(
    ("table", "zone", "words"),
    [
        (MOMENT, "America/New_York", [">2026-11-23 19:30</td>", '-05:00">2026-11-23 20:00</time>', "数据截至 <time"]),
        (Table(MOMENT.columns, MOMENT.rows, NOW, False, True), "Asia/Shanghai", ["取数时间 <time"]),
        (DAY, "Asia/Shanghai", ['数据截至 <time datetime="2026-11-23">2026-11-23</time>']),
    ],
    ids=["of its zone", "of fetching", "of a day"],
)
def test_shows_times_of_the_zone_for_which_it_was_written_as_what_they_are(
    table: Table, zone: str, words: list[str]
) -> None:
    report, person = make_data_report(body="x"), make_person(make_corp(), "a")
    answer(report, table)
    subscription = make_subscription(person, report=report, time_zone=zone)
    render_run(run_id=make_run(subscription).pk, now=NOW)
    subscription.delete()

    page = page_of(person, Delivery.objects.get())[1]

    assert [word for word in words if word not in page] == []


@pytest.mark.parametrize("number", ["-1e30", "98765432109876543210987654321098765"])
def test_one_huge_number_does_not_take_the_page_away(number: str) -> None:
    report, person = make_data_report(body="x"), make_person(make_corp(), "a")
    rows = ((Decimal(number),), (Decimal("1234.5"),))
    answer(report, Table((Column("值", Kind.NUMBER),), rows, NOW))
    sent(report, person)

    status, page = page_of(person, Delivery.objects.get())

    assert status == 200
    assert f">{Decimal(number):.4g}</td>" in page
    assert ">1,234.5</td>" in page


def test_the_run_counts_values_that_do_not_fit_and_the_page_of_the_card_shows_them() -> None:
    report, person = make_data_report(body="x"), make_person(make_corp(), "a")
    rows = [(number, "华东") for number in (*range(20), "sim-待定")]
    answer(report, build_table(["值", "区域"], rows, fetched_at=NOW))
    sent(report, person)
    run, admin = Run.objects.get(), client_of(make_superuser())

    page = admin.get(f"/admin/notifications/run/{run.pk}/change/").content.decode()
    card = admin.get(f"/admin/integrations/card/{report.report_cards.get().card_id}/change/").content.decode()

    assert "与列类型不符的值" in page
    assert "值: 1" in page
    assert "sim-待定" not in page
    assert "“值”有 1 个值与该列的类型不符，视为未知：sim-待定" in card
