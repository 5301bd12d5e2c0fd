"""Numbers and dates as people read them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.utils import translation

from integrations.data.figures import Change
from integrations.data.table import Column, Kind, Month
from notifications.charts.drawing import describe_change, to_drawable, write_cell, write_short


@pytest.mark.parametrize(
    ("number", "chinese", "english"),
    [
        (0, "0", "0"),
        (-0.001, "0", "0"),
        (0.125, "0.13", "0.13"),
        (123.45, "123.45", "123.45"),
        (9999.996, "1.0万", "10.0K"),
        (12345.6, "1.2万", "12.3K"),
        (99_999_999, "1.00亿", "100.0M"),
        (-2_500_000_000_000, "-2.50万亿", "-2.5T"),
        (1e20, "100000000.00万亿", "100000000.0T"),
        (float("nan"), "—", "—"),
    ],
)
def test_numbers_are_short_and_say_what_they_count_in(number: float, chinese: str, english: str) -> None:
    exact = to_drawable(number)

    assert write_short(exact) == chinese
    with translation.override("en"):
        assert write_short(exact) == english


@pytest.mark.parametrize(
    ("unit", "decimals", "text"), [("元", None, "1234.6万元"), ("元", 0, "1234.6万元"), ("%", 1, "12,345,678.9%")]
)
def test_a_percentage_is_not_counted_in_ten_thousands(unit: str, decimals: int | None, text: str) -> None:
    assert write_short(Decimal("12345678.9"), unit, decimals) == text


@pytest.mark.parametrize(
    ("kind", "decimals", "value", "text"),
    [
        (Kind.NUMBER, None, None, "—"),
        (Kind.TEXT, None, "N/A", "—"),
        (Kind.NUMBER, None, float("nan"), "—"),
        (Kind.BOOLEAN, None, True, "是"),
        (Kind.NUMBER, None, 1_234_567.5, "1,234,567.5"),
        (Kind.NUMBER, None, Decimal("-12.30"), "-12.3"),
        (Kind.NUMBER, 2, 100, "100.00"),
        (Kind.NUMBER, 0, 2.5, "3"),
        (Kind.NUMBER, None, -0.001, "0"),
        (Kind.NUMBER, None, 10**31, "1.000e+31"),
        (Kind.PERCENT, None, 12.5, "12.5%"),
        (Kind.PERCENT, 2, 12.5, "12.50%"),
        (Kind.DATE, None, date(2026, 11, 24), "2026-11-24"),
        (Kind.DATE, None, Month(2026, 11, 1), "2026-11"),
        (Kind.DATETIME, None, datetime(2026, 11, 24, 1, 5, tzinfo=UTC), "2026-11-24 09:05"),
        (Kind.DATETIME, None, datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "9999-12-31 23:59"),
        (Kind.TEXT, None, " a\n b ", "a b"),
    ],
)
def test_a_value_in_a_table(kind: Kind, decimals: int | None, value: Any, text: str) -> None:
    assert write_cell(value, Column("c", kind, decimals=decimals)) == text


@pytest.mark.parametrize(
    ("old", "new", "is_percent", "chinese", "english"),
    [
        ("100", "105", False, "↑5.0%", "↑5.0%"),
        ("100", "95", False, "↓5.0%", "↓5.0%"),
        ("100", "100", False, "→0.0%", "→0.0%"),
        ("0", "0", False, "→0.0%", "→0.0%"),
        ("40", "0", False, "↓100.0%", "↓100.0%"),
        (None, "1", False, "—", "—"),
        ("1", None, True, "—", "—"),
        ("12.5", "13.7", True, "+1.2 个百分点", "+1.2 points"),
        ("12.5", "12.5", True, "0.0 个百分点", "0.0 points"),
        ("0", "12", False, "由 0 增至 12", "from 0 up to 12"),
        ("0", "-3", False, "由 0 降至 -3", "from 0 down to -3"),
        ("-2.1", "0.3", False, "由 -2.1 升至 0.3", "from -2.1 up to 0.3"),
    ],
)
def test_a_change_is_said_as_people_say_it(
    old: str | None, new: str | None, is_percent: bool, chinese: str, english: str
) -> None:
    change = Change(Decimal(new) if new else None, Decimal(old) if old else None, is_percent)

    assert describe_change(change) == chinese
    with translation.override("en"):
        assert describe_change(change) == english
