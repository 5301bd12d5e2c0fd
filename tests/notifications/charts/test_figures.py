"""Numbers and dates as people read them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from integrations.data.figures import Change
from notifications.charts.labels import describe_change, number_of, short, text_of


@pytest.mark.parametrize(
    ("number", "chinese", "english"),
    [
        (0, "0", "0"),
        (-0.0, "0", "0"),
        (0.5, "0.5", "0.5"),
        (0.00012, "0.0001", "0.0001"),
        (123.45, "123.5", "123.5"),
        (9999, "9,999", "10K"),
        (9999.99, "1万", "10K"),
        (12345.6, "1.23万", "12.35K"),
        (123_456_789, "1.23亿", "123.5M"),
        (-2_500_000_000_000, "-2.5万亿", "-2.5T"),
        (1e20, "1e+08万亿", "1e+08T"),
    ],
)
def test_numbers_are_short_and_say_what_they_count_in(number: float, chinese: str, english: str) -> None:
    assert (short(number, language="zh-hans"), short(number, language="en")) == (chinese, english)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),  # noqa: RUF001  # the dash that stands for nothing
        (True, "是"),
        (1_234_567.5, "1,234,567.5"),
        (Decimal("-12.30"), "-12.3"),
        (100, "100"),
        (250_000_000, "2.5亿"),
        (float("nan"), "非数字"),
        (Decimal("1e9999"), "非数字"),
        (date(2026, 11, 24), "2026-11-24"),
        (datetime(2026, 11, 24, 1, 5, tzinfo=UTC), "2026-11-24 09:05"),
        (" a\n b ", "a b"),
    ],
)
def test_a_value_in_a_table(value: Any, text: str) -> None:
    assert text_of(value, language="zh-hans") == text


@given(st.integers() | st.floats() | st.decimals() | st.booleans() | st.text() | st.none())
def test_only_numbers_that_can_be_drawn_are_numbers(value: Any) -> None:
    found = number_of(value)

    assert found is None or abs(found) < 1e300
    assert text_of(value, language="zh-hans") is not None


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
        ("-1", "-3.25", True, "-2.3 个百分点", "-2.3 points"),
        ("0", "12", False, "由 0 增至 12", "from 0 up to 12"),
        ("0", "-3", False, "由 0 降至 -3", "from 0 down to -3"),
        ("-2.1", "0.3", False, "由 -2.1 升至 0.3", "from -2.1 up to 0.3"),
        ("3", "-1234", False, "由 3 降至 -1,234", "from 3 down to -1,234"),
    ],
)
def test_a_change_is_said_as_people_say_it(
    old: str | None, new: str | None, is_percent: bool, chinese: str, english: str
) -> None:
    change = Change(Decimal(new) if new else None, Decimal(old) if old else None, is_percent)

    assert describe_change(change) == chinese
    with translation.override("en"):
        assert describe_change(change) == english
