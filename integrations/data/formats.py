"""Numbers as people read them: thousands, 万 and 亿, decimals, percentages. Pure.

Everything rounds half up, at most two decimals where nothing else is said, and 0 has no sign.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

DASH = "—"
UP, DOWN, SAME = "↑", "↓", "→"
USUAL_DECIMALS = 2
# A larger number is a mistake.
LARGEST = Decimal(10) ** 30
_ROUNDING = Context(prec=80, rounding=ROUND_HALF_UP)
# The size of a unit, its word, and how many decimals stand before it; the largest first.
Scales = tuple[tuple[Decimal, str, int], ...]
CHINESE_SCALES: Scales = ((Decimal(10) ** 12, "万亿", 2), (Decimal(10) ** 8, "亿", 2), (Decimal(10) ** 4, "万", 1))
ENGLISH_SCALES: Scales = tuple(
    (Decimal(10) ** power, word, 1) for power, word in ((12, "T"), (9, "B"), (6, "M"), (3, "K"))
)


def round_number(number: Decimal, decimals: int) -> Decimal:
    """Round half up; −0 becomes 0. Raises OverflowError from 1e30 on."""
    if abs(number) >= LARGEST:
        raise OverflowError("number too large")
    rounded = number.quantize(Decimal(1).scaleb(-decimals), context=_ROUNDING)
    return abs(rounded) if rounded == 0 else rounded


def format_number(number: Decimal | None, decimals: int | None = None, *, grouped: bool = True) -> str:
    """Write 1,234.5. `decimals`: exactly so many; None: up to two, none of which ends in 0. A dash for None."""
    if number is None:
        return DASH
    text = format(round_number(number, USUAL_DECIMALS if decimals is None else decimals), ",f" if grouped else "f")
    return text.rstrip("0").rstrip(".") if decimals is None and "." in text else text


def format_short(number: Decimal | None, decimals: int | None = None, *, scales: Scales = CHINESE_SCALES) -> str:
    """Write 1.2万 or 3.45亿, a smaller number as it is. A dash for None.

    The unit is chosen by the rounded number: 99,999,999 is 1.00亿, not 10000.0万.
    """
    if number is None:
        return DASH
    smaller = [*scales[1:], (Decimal(1), "", USUAL_DECIMALS)]
    for (size, word, usual), (next_size, _next_word, next_usual) in zip(scales, smaller, strict=True):
        next_decimals = next_usual if decimals is None or next_size == 1 else decimals
        if abs(round_number(number / next_size, next_decimals)) * next_size >= size:
            return f"{round_number(number / size, usual if decimals is None else decimals)}{word}"
    return format_number(number, grouped=False)
