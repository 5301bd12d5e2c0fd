"""Conditions and filters with dates that move with the day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils.translation import override

from integrations.data.table import Column, Kind, Table
from integrations.data.table_builder import ColumnChoices, build_table
from notifications.alerts import conditions, verdicts
from notifications.alerts.conditions import Condition, ConditionError, Join, check
from notifications.alerts.verdicts import Memory
from notifications.models import WorkdayCalendar
from tests.notifications.alerts.rules import parse

TODAY = date(2026, 11, 24)
CHINA = ZoneInfo("Asia/Shanghai")
AT = datetime(2026, 11, 24, 9, tzinfo=CHINA)
DAYS = [date(2026, 10, 1), date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 18), date(2026, 11, 23), TODAY]


def table(kind: Kind) -> Table:
    """Sales of 1, 2, 4, 8, 16 and 32, a day each; with times, in the evening."""
    evening = time(23, 30)
    days = DAYS if kind is Kind.DATE else [datetime.combine(day, evening, CHINA) for day in DAYS]
    columns = (Column("日期", kind), Column("销售额", Kind.NUMBER), Column("说明", Kind.TEXT))
    rows = tuple((day, 2**number, "昨天") for number, day in enumerate(days))
    return Table(columns, rows, datetime(2026, 11, 24, 8, tzinfo=UTC))


def verdict(line: str, data: Table, at: datetime = AT) -> verdicts.Verdict:
    data = verdicts.localize(data, at.tzinfo or UTC)
    fixed = [verdicts.resolve_dates(one, data, at) for one in parse(line)]
    return verdicts.evaluate(fixed, Join.ALL, data, Memory())


@pytest.mark.django_db
def test_the_previous_working_day_goes_by_the_days_that_were_entered() -> None:
    WorkdayCalendar.objects.create(days="2026-11-19 至 2026-11-23 休")
    [found] = verdict("sum 销售额 > 0 where 日期=上一工作日", table(Kind.DATE)).found
    assert found.value == 8  # of the 18th


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [Kind.DATE, Kind.DATETIME])
@pytest.mark.parametrize(
    ("name", "sales"),
    [
        *[("今天", 32), ("昨天", 16), ("最近7天", 24), ("近7天", 24), ("本月", 60), ("上月", 3), ("上一工作日", 16)],
        *[("yesterday", 16), ("Last 7 days", 24), ("this_week", 48), ("2026年10月", 3), ("20261123", 16)],
        *[("2026/11/1", 4), ("2026年11月23日", 16)],
    ],
)
def test_narrow_the_rows_of_a_date_column(kind: Kind, name: str, sales: int) -> None:
    [found] = verdict(f"sum 销售额 > 0 where 日期={name}", table(kind)).found
    assert found.value == sales


@pytest.mark.parametrize("kind", [Kind.DATE, Kind.DATETIME])
@pytest.mark.parametrize(
    ("comparison", "rows"),
    [
        ("= 上月", (0, 1)),
        ("!= 上月", (2, 3, 4, 5)),
        ("< 昨天", (0, 1, 2, 3)),
        ("<= 昨天", (0, 1, 2, 3, 4)),
        ("> 昨天", (5,)),
        (">= 昨天", (4, 5)),
        ("between 上月 and 昨天", (0, 1, 2, 3, 4)),
        ("between 2026-10-31 and 昨天", (1, 2, 3, 4)),
        ("> 2026年10月", (2, 3, 4, 5)),
        ("= 2026-11-23", (4,)),
        ("!= 20261123", (0, 1, 2, 3, 5)),
        ("> 2026-11-23", (5,)),
        ("<= 2026-11-23", (0, 1, 2, 3, 4)),
        ("between 2026-11-23 and 2026-11-24", (4, 5)),
    ],
)
def test_are_compared_with_a_date_column(kind: Kind, comparison: str, rows: tuple[int, ...]) -> None:
    assert verdict(f"any 日期 {comparison}", table(kind)).rows == rows


def test_in_a_text_column_they_are_words() -> None:
    [found] = verdict("sum 销售额 > 0 where 说明=昨天", table(Kind.DATE)).found
    assert found.value == 63
    assert verdict("any 说明 = 昨天", table(Kind.DATE)).rows == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("line", ["any 日期 = 昨日吧", "sum 销售额 > 0 where 日期=华东", "any 日期 > 150"])
def test_what_cannot_be_a_date_is_refused_on_a_date_column(line: str) -> None:
    [condition] = parse(line)
    with pytest.raises(ConditionError, match="no_date"):
        check(condition, table(Kind.DATE))


@pytest.mark.parametrize("line", ["any 日期 = 2026-11-24 09:30", "sum 销售额 > 0 where 日期=2026-11-24T09:30"])
def test_a_time_that_no_day_can_have_is_refused(line: str) -> None:
    [condition] = parse(line)
    check(condition, table(Kind.DATETIME))
    with pytest.raises(ConditionError, match="no_times"):
        check(condition, table(Kind.DATE))


def test_the_day_is_that_of_the_slot_by_the_clock_of_the_rule() -> None:
    midnight = datetime(2026, 11, 23, 16, tzinfo=UTC)
    for at, sales in ((midnight - timedelta(minutes=5), 16), (midnight, 32)):
        [found] = verdict("sum 销售额 > 0 where 日期=今天", table(Kind.DATE), at.astimezone(CHINA)).found
        assert found.value == sales
    # 23:30 in China is 16:30 in Berlin, and 05:30 of the next day in Auckland
    for zone, day in (("Europe/Berlin", "昨天"), ("Pacific/Auckland", "今天")):
        at = datetime(2026, 11, 24, 1, tzinfo=ZoneInfo(zone))
        [found] = verdict(f"sum 销售额 > 0 where 日期={day}", table(Kind.DATETIME), at).found
        assert found.value == 16


@pytest.mark.parametrize(
    ("yesterday", "today"),
    [
        ("2026/11/23", "2026/11/24"),
        ("20261123", "20261124"),
        (20261123, 20261124),
        ("2026年11月23日", "2026年11月24日"),
        ("2026-11-23T01:00:00Z", "2026-11-24T01:00:00Z"),
        ("2026-11-22T23:00:00-02:00", "2026-11-24T09:00:00+08:00"),
        ("2026-11-23", "2026-11-24"),
    ],
)
def test_a_day_that_is_there_is_found_however_it_is_written(yesterday: Any, today: Any) -> None:
    rows = [(today, 1), (yesterday, 2), (yesterday, "-")]
    data = build_table(["日期", "销售额"], rows, fetched_at=AT, choices=ColumnChoices(zone=CHINA))

    assert verdict("count = 0 where 日期=昨天", data).holds is False
    assert verdict("sum 销售额 = 2 where 日期=2026-11-23", data).holds is True
    assert verdict("sum 销售额 rose 0 amount day where 日期=昨天", data).found[0].problem is not None
    assert verdict("sum 销售额 fell 0 amount day", data).found[0].before == 2


def test_a_day_at_the_end_of_the_calendar_is_a_day() -> None:
    until = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    data = Table((Column("有效期", Kind.DATETIME), Column("销售额", Kind.NUMBER)), ((until, 1),), AT)

    assert verdict("count = 1 where 有效期=9999-12-31", data).holds is True
    assert verdict("any 有效期 > 今天", data).holds is True
    with pytest.raises(ConditionError, match="no_earlier"):
        verdict("count fell 1 amount day where 有效期=0001-01-01", data)


@pytest.mark.django_db
def test_names_to_choose_from_are_understood() -> None:
    for language in ("zh-hans", "en"):
        with override(language):
            assert all(conditions.span_of(name, TODAY) for name in conditions.relative_names())


def test_what_is_no_relative_date_stays_as_it_is() -> None:
    [condition] = parse("any 日期 >= 2026-11-01 where 说明=x")
    assert isinstance(condition, Condition)
    assert verdicts.resolve_dates(condition, table(Kind.DATE), AT) == condition
