"""Number formats of templates: 千分位, 万, 亿, percent, changes with arrows. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from integrations.core.sentences import Sentence
from integrations.data import figures, table
from integrations.data.figures import ARITHMETIC
from integrations.data.table import DASH, DOWN, SAME, UP, Column, Kind
from notifications.charts.labels import describe_change
from notifications.reports.templates.values import NOTHING, Exposed, ExpressionError, exposed_of, to_number

MOST_DECIMALS = 10
WAN, YI = Decimal(10_000), Decimal(100_000_000)


class Figure(Decimal):
    """A number of a column: it knows how many decimals the column shows, and whether it is a percentage."""

    __slots__ = ("decimals", "is_percent")

    decimals: int | None
    is_percent: bool

    @classmethod
    def of(cls, number: Decimal, column: Column, *, keeps_decimals: bool = True) -> Decimal:
        """Return the number with what its column says. `keeps_decimals`: not of a mean, which has more of them."""
        is_percent, decimals = column.kind is Kind.PERCENT, column.decimals if keeps_decimals else None
        if not is_percent and decimals is None:
            return number
        figure = cls(number)
        figure.is_percent, figure.decimals = is_percent, decimals
        return figure


def plain(value: Any) -> str:
    """A number as it stands in a text where no format is named: 12, 12.35, -3; 12.5% of a column of percentages."""
    return _format(value, lambda number: table.format_number(number, _decimals_of(value), grouped=False))


def rounded(value: Any, decimals: int = 0) -> str:
    """Write without decimals, or with as many as named."""
    places = _decimals(decimals)
    return _format(value, lambda number: table.format_number(number, places, grouped=False))


def thousands(value: Any, decimals: int | None = None) -> str:
    """1,234,567.8: with as many decimals as the column shows or the number has (two at most), or as named."""
    places = _decimals_of(value) if decimals is None else _decimals(decimals)
    return _format(value, lambda number: table.format_number(number, places))


def in_wan(value: Any, decimals: int = 1) -> str:
    """Write in units of 10,000; what is less than one unit as it is."""
    return _divide(value, WAN, decimals, "万")


def in_yi(value: Any, decimals: int = 2) -> str:
    """Write in units of 100,000,000; what is less than one unit as it is."""
    return _divide(value, YI, decimals, "亿")


def short(value: Any, decimals: int | None = None) -> str:
    """Write in 亿 or 万, as the rounded number asks for it, else as it is."""
    places = None if decimals is None else _decimals(decimals)
    return _format(value, lambda number: table.format_short(number, places))


def percent(value: Any, decimals: int = 1) -> str:
    """0.123 is 12.3%; a number of a column of percentages is one already."""
    places = _decimals(decimals)
    if getattr(value, "is_percent", False):
        return rounded(value, places)
    return _format(value, lambda number: f"{table.format_number(number * 100, places, grouped=False)}%")


def signed(value: Any, decimals: int = 1) -> str:
    """+1.5, -1.5, 0.0."""
    text = rounded(value, decimals)
    return f"+{text}" if text not in (DASH, "") and text[0] != "-" and text.strip("0.%") else text


class Change(Exposed):
    """A change from `before` to `now`, shown as ↑5.0%, ↓5.0% or →0.0%; in words where there is no percentage; as a dash
    where there is nothing to compare with.
    """

    __slots__ = ("_change",)

    def __init__(self, now: Any, before: Any) -> None:
        is_percent = getattr(now, "is_percent", False) and getattr(before, "is_percent", False)
        self._change = figures.Change(to_number(now), to_number(before), is_percent=is_percent)

    @property
    def arrow(self) -> str:
        """Which way it went: one of ↑ ↓ →, or a dash."""
        difference = self._change.difference
        if difference is None:
            return DASH
        return SAME if difference == 0 else UP if difference > 0 else DOWN

    def exposed(self, name: str) -> Any:
        change = self._change
        known = {"difference": change.difference, "percent": change.ratio, "now": change.new, "before": change.old}
        return exposed_of(
            {"arrow": self.arrow, **{key: NOTHING if one is None else one for key, one in known.items()}}, name
        )

    def shown(self) -> str:
        return describe_change(self._change)


def _decimals_of(value: Any) -> int | None:
    return getattr(value, "decimals", None)


def _format(value: Any, write: Callable[[Decimal], str]) -> str:
    number = to_number(value)
    if number is None:
        return DASH
    try:
        return write(number) + ("%" if getattr(value, "is_percent", False) else "")
    except OverflowError as error:
        raise ExpressionError(Sentence("This number is too large.")) from error


def _divide(value: Any, by: Decimal, decimals: int, unit: str) -> str:
    number, places = to_number(value), _decimals(decimals)
    if number is None or abs(number) < by:
        return plain(value)
    return _format(
        ARITHMETIC.divide(number, by), lambda one: f"{table.format_number(one, places, grouped=False)}{unit}"
    )


def _decimals(decimals: Any) -> int:
    if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= MOST_DECIMALS:
        raise ExpressionError(Sentence("The number of decimals is from 0 to %(most)d.") % {"most": MOST_DECIMALS})
    return decimals
