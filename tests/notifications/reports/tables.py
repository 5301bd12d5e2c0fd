"""Invented tables for tests of reports."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from integrations.data.table import Column, Kind, Table
from notifications.reports.templates.renderer import RenderContext

ZONE = ZoneInfo("Asia/Shanghai")
# 09:00 in Shanghai.
SLOT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
REGIONS = ("华东", "华南")


def sales(*, days: int = 4, as_of: datetime = SLOT) -> Table:
    """Return two regions on each day up to yesterday: 华东 has 1000 on the first, 1000 more each day, 华南 10 more."""
    first = date(2026, 11, 24) - timedelta(days=days)
    columns = (Column("日期", Kind.DATE), Column("区域", Kind.TEXT), Column("销售额", Kind.NUMBER, "元"))
    rows = tuple(
        (first + timedelta(days=day), region, Decimal(1000 * (day + 1) + 10 * place))
        for day in range(days)
        for place, region in enumerate(REGIONS)
    )
    return Table(columns, rows, as_of)


def given(table: Table | None = None, *, slot_at: datetime = SLOT, zone: ZoneInfo = ZONE) -> RenderContext:
    return RenderContext(slot_at, zone, {"sales": sales() if table is None else table})


def one_cell(value: str) -> Table:
    return Table((Column("名称", Kind.TEXT),), ((value,),), SLOT)
