"""Number formats of templates: 千分位, 万, 亿, percent, changes with arrows. Pure."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from integrations.core.sentences import Sentence
from notifications.reports.templates.values import DASH, NOTHING, Exposed, ExpressionError, exposed_of, to_number

UP, DOWN, SAME = "↑", "↓", "→"
# A number without a format is shown with no more decimals than this, and none that are 0.
USUAL_DECIMALS = 2
MOST_DECIMALS = 10
WAN, YI = Decimal(10_000), Decimal(100_000_000)
# Digits enough for whatever a BI adds up; more is a mistake, or somebody who wants the machine to be busy.
ARITHMETIC = Context(prec=40, rounding=ROUND_HALF_UP)
LARGEST = Decimal(10) ** 30


def plain(value: Any) -> str:
    """A number as it stands in a text where no format is named: 12, 12.35, −3."""
    number = to_number(value)
    if number is None:
        return DASH
    text = _fixed(number, USUAL_DECIMALS)
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: Any, decimals: int = 0) -> str:
    """Without decimals, or with as many as named."""
    number, places = to_number(value), _decimals(decimals)
    return DASH if number is None else _fixed(number, places)


def thousands(value: Any, decimals: int | None = None) -> str:
    """1,234,567.8: with as many decimals as the number has (two at most), or as named."""
    number = to_number(value)
    if number is None:
        return DASH
    text = plain(number) if decimals is None else _fixed(number, _decimals(decimals))
    whole, dot, rest = text.lstrip("-").partition(".")
    sign = "-" if text.startswith("-") else ""
    return f"{sign}{int(whole):,}{dot}{rest}"


def in_wan(value: Any, decimals: int = 1) -> str:
    """In units of 10,000; what is less than one unit as it is."""
    return _divided(value, WAN, decimals, "万")


def in_yi(value: Any, decimals: int = 2) -> str:
    """In units of 100,000,000; what is less than one unit as it is."""
    return _divided(value, YI, decimals, "亿")


def short(value: Any, decimals: int = 1) -> str:
    """In 亿 from 100,000,000 on, in 万 from 10,000 on, else as it is."""
    number = to_number(value)
    is_in_yi = number is not None and abs(number) >= YI
    return in_yi(number, decimals) if is_in_yi else in_wan(number, decimals)


def percent(value: Any, decimals: int = 1) -> str:
    """0.123 is 12.3%."""
    number, places = to_number(value), _decimals(decimals)
    return DASH if number is None else f"{_fixed(ARITHMETIC.multiply(number, Decimal(100)), places)}%"


def signed(value: Any, decimals: int = 1) -> str:
    """+1.5, -1.5, 0.0."""
    number, places = to_number(value), _decimals(decimals)
    if number is None:
        return DASH
    text = _fixed(number, places)
    return f"+{text}" if Decimal(text) > 0 else text


class Change(Exposed):
    """From `before` to `now`. Shown as ↑5.0%, ↓5.0% or →0.0%; as a dash where there is nothing to compare with."""

    __slots__ = ("_before", "_now")

    def __init__(self, now: Any, before: Any) -> None:
        self._now, self._before = to_number(now), to_number(before)

    @property
    def difference(self) -> Decimal | None:
        if self._now is None or self._before is None:
            return None
        return ARITHMETIC.subtract(self._now, self._before)

    @property
    def share(self) -> Decimal | None:
        """Of what was before: 0.05 is 5 % more. None without a base, and of a base of 0 unless nothing changed."""
        difference = self.difference
        if difference is None or self._before is None:
            return None
        if self._before == 0:
            return Decimal(0) if difference == 0 else None
        return ARITHMETIC.divide(difference, abs(self._before))

    @property
    def arrow(self) -> str:
        """Which way it went: one of ↑ ↓ →, or a dash."""
        difference = self.difference
        if difference is None:
            return DASH
        if difference == 0:
            return SAME
        return UP if difference > 0 else DOWN

    def exposed(self, name: str) -> Any:
        return exposed_of(
            {
                "arrow": self.arrow,
                "difference": _or_nothing(self.difference),
                "percent": _or_nothing(self.share),
                "now": _or_nothing(self._now),
                "before": _or_nothing(self._before),
            },
            name,
        )

    def shown(self) -> str:
        return DASH if self.share is None else f"{self.arrow}{percent(abs(self.share))}"


def _or_nothing(number: Decimal | None) -> Any:
    return NOTHING if number is None else number


def _divided(value: Any, by: Decimal, decimals: int, unit: str) -> str:
    number, places = to_number(value), _decimals(decimals)
    if number is None or abs(number) < by:
        return plain(number)
    return f"{_fixed(ARITHMETIC.divide(number, by), places)}{unit}"


def _fixed(number: Decimal, decimals: int) -> str:
    if abs(number) >= LARGEST:
        raise ExpressionError(Sentence("This number is too large."))
    text = format(number.quantize(Decimal(1).scaleb(-decimals), context=Context(prec=60, rounding=ROUND_HALF_UP)), "f")
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def _decimals(decimals: Any) -> int:
    if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= MOST_DECIMALS:
        raise ExpressionError(Sentence("The number of decimals is from 0 to %(most)d.") % {"most": MOST_DECIMALS})
    return decimals
