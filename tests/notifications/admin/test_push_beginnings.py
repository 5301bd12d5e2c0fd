"""Choosing data proposes a finished message. reports/test_starting_points.py has tables of more shapes."""

import re
from datetime import date, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.data.table import Column, Kind, Table, Value
from integrations.models.datasources import compress_table
from notifications.models import MessageForm
from tests.notifications.preview_pages import preview_over
from tests.notifications.reports.places import make_card, page_values

pytestmark = pytest.mark.django_db
PREVIEW = reverse("admin:notifications_subscription_preview")
TEXTS = ("title", "body", "figures")
DAY, REGION, SALES = Column("日期", Kind.DATE), Column("区域", Kind.TEXT), Column("销售额", Kind.NUMBER, "元")


def ago(days: int) -> date:
    return timezone.localdate() - timedelta(days=days)


def on(day: date) -> str:
    return f"{day.month}月{day.day}日"


def propose(root: Client, table: Table) -> tuple[str, list[str], dict[str, Any]]:
    """Choose a card with these rows. Return the point that the page begins with, the message's texts, the answer."""
    values = page_values(make_card(name="日报"), **dict.fromkeys(TEXTS, ""), time_zone="Asia/Shanghai")
    found = preview_over(root, PREVIEW, values, content=compress_table(table))
    [point] = [one for one in found["points"] if one["key"] == found["start"]] or [None]
    if point is None:
        return "", [], found
    charts = {"charts-TOTAL_FORMS": len(point["charts"])}
    usual = {"top": 10, "aggregate": "sum", "alias": "c0"}
    for number, chart in enumerate(point["charts"]):
        charts |= {f"charts-{number}-{name}": value for name, value in {**usual, **chart, "position": number}.items()}
    texts = {name: point[name] for name in TEXTS}
    sent = {**values, **texts, **charts, "message_form": point["message_form"]}
    answer = preview_over(root, PREVIEW, sent, content=compress_table(table))
    message = answer["message"].partition('<div class="phone-message')[2].partition("</div>\n  </div>")[0]
    parts = re.split(r"<[^>]*>", re.sub(r"<(?:br|/?b|/?dt|/?dd)[^>]*>", "\n", message.partition(">")[2]))
    return (
        found["start"],
        [text for part in parts for line in part.split("\n") if (text := unescape(line.strip()))],
        answer,
    )


def make(columns: tuple[Column, ...], *rows: tuple[Value, ...]) -> Table:
    return Table(columns, rows, timezone.now() - timedelta(hours=1))


FIGURES, RATE = Column("订单数", Kind.NUMBER), Column("完成率", Kind.PERCENT, "%")
SHOP = Column("门店", Kind.TEXT)


def wide() -> Table:
    columns = (DAY, *(Column(f"列{number}", Kind.NUMBER) for number in range(1, 200)))
    return make(columns, *((ago(days), *range(100 * (3 - days), 100 * (3 - days) + 199)) for days in (2, 1)))


CASES: dict[str, Any] = {
    "one row": (
        lambda: make((SALES, FIGURES, RATE), (118_853, 168, Decimal("99.0"))),
        "key_figures",
        lambda: ["日报", "118,853 元", "销售额", "订单数", "168", "完成率", "99%"],
    ),
    "rates of several by day": (
        lambda: make((DAY, REGION, RATE), (ago(2), "华东", 80), (ago(1), "华东", 90), (ago(1), "华南", 70)),
        "ranking",
        lambda: [f"日报 {on(ago(1))}", "1. 华东 90%", "2. 华南 70%"],
    ),
    "from zero": (
        lambda: make((DAY, FIGURES), (ago(2), 0), (ago(1), 12)),
        "key_figures",
        lambda: [f"日报 {on(ago(1))}", "12", "订单数", "较前一天 由 0 增至 12"],
    ),
    "no date": (
        lambda: make((REGION, SALES), ("华东", 1000), ("华南", 3000)),
        "ranking",
        lambda: ["日报", "1. 华南 3,000", "2. 华东 1,000"],
    ),
    "200 columns": (
        wide,
        "key_figures",
        lambda: [
            *(f"日报 {on(ago(1))}", "200", "列1", "列1 较前一天 ↑100.0%", "列2 较前一天 ↑99.0%"),
            *("列3 较前一天 ↑98.0%", "列2", "201", "列3", "202"),
        ],
    ),
    "names only": (
        lambda: make((REGION,), ("华东",), ("华南",), ("华北",)),
        "table",
        lambda: ["日报", "共 3 行"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_choosing_data_proposes_a_finished_message(root: Client, case: str) -> None:
    table, start, expected = CASES[case]

    begun, texts, answer = propose(root, table())

    assert begun == start
    # A picture is being drawn, and a card leads to the page.
    before, after = {"table": (["正在生成…"], []), "ranking": ([], ["查看全部"])}.get(start, ([], ["查看全部", "›"]))
    assert texts == [*before, *expected(), *after]
    assert not answer["limits"]


def test_a_table_without_columns_begins_nothing(root: Client) -> None:
    assert propose(root, make(()))[:2] == ("", [])


def test_another_form_gets_the_figures_into_its_text(root: Client) -> None:
    table = make((DAY, SALES, FIGURES), (ago(2), 10, 4), (ago(1), 20, 5))
    _start, _texts, found = propose(root, table)
    [point] = [one for one in found["points"] if one["key"] == "key_figures"]
    values = page_values(make_card(), title=point["title"], body=point["plain_body"], message_form=MessageForm.TEXT)

    message = preview_over(root, PREVIEW, values, content=compress_table(table))["message"]

    assert "销售额 20 元 较前一天 ↑100.0%<br>订单数 5 较前一天 ↑25.0%" in message


def test_the_newest_rows_stand_first_beside_the_form(root: Client) -> None:
    table = make((DAY, SALES), *((ago(days), days) for days in range(20, 0, -1)))
    values = page_values(make_card(), **dict.fromkeys(TEXTS, ""))

    rows = preview_over(root, PREVIEW, values, content=compress_table(table))["rows"]

    assert re.findall(r"<td>(\d{4}-\d\d-\d\d)</td>", rows) == [ago(days).isoformat() for days in range(1, 9)]
