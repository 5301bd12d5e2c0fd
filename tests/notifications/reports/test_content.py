"""A content is the same after it was stored and read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from integrations.data.table import Column, Kind, Table
from notifications.reports.contents import dump_content, load_content
from notifications.sources import CardContent, Content, Figure

AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
TABLE = Table(
    (Column("日期", Kind.DATE), Column("区域", Kind.TEXT), Column("销售额", Kind.NUMBER, "元")),
    ((date(2026, 11, 23), "华东", Decimal("12.30")), (None, None, None)),
    AT,
)


def test_comes_back_equal_with_its_tables_in_the_order_of_the_report() -> None:
    cards = (CardContent("sales", "销售", TABLE), CardContent("a", "A", TABLE.with_rows([])))
    content = Content("日报", "正文 **1**", cards, (Figure("销售额", "12.3 元"),), AT, "数据已过期")

    assert load_content(dump_content(content)) == content
    assert list(content.tables) == ["sales", "a"]
    assert load_content(dump_content(Content("日报", "正文"))) == Content("日报", "正文")
