"""Reference of the template language, for the help beside its form. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from integrations.data.figures import RELATIVE_DATES
from notifications.reports.templates import dates, environment
from notifications.reports.templates.dates import Period


@dataclass(frozen=True)
class Entry:
    """`source`: as one writes it; `chinese`: the other name, where there is one; `gives`: what comes of it."""

    source: str
    chinese: str
    gives: str


def times(now: datetime, zone: ZoneInfo) -> list[Entry]:
    """Each time macro with its value if the slot were now."""
    named = dates.named_times(now, zone)
    names = [(dates.SLOT, dates.SLOT_CHINESE), *((one.name, one.chinese) for one in RELATIVE_DATES)]
    return [Entry(name, chinese if _is_chinese() else "", _shown(named[name])) for name, chinese in names]


def formats() -> list[Entry]:
    """The formats of numbers, each with an example. 万 and 亿 are for who reads Chinese."""
    return [
        Entry(f"{one.example}|{one.name}", one.chinese if _is_chinese() else "", str(one.call(Decimal(one.example))))
        for one in environment.FORMATS
        if one.example and (_is_chinese() or one.name not in {"wan", "yi", "short"})
    ]


def of_cards() -> list[Entry]:
    """What can be asked of a card that is called sales."""
    row = "行" if _is_chinese() else "row"
    return [
        Entry('sales.sum("amount")', "", _("the sum of a column; avg, min, max likewise")),
        Entry("sales.count", "", _("how many rows there are")),
        Entry('sales.distinct("region")', "", _("how many different values")),
        Entry('sales.value("amount", 0)', "", _("a cell: column and row, the first row is 0")),
        Entry('sales.where("region", "East")', "", _("some of the rows, here those of one region")),
        Entry('sales.where("amount", ">", 100)', "", _("with a comparison: = != > >= < <=")),
        Entry("sales.on(yesterday)", "", _("the rows of a day; within(last_week): of a period")),
        Entry('sales.top(3, "amount")', "", _("the three largest; bottom: the smallest; head(3): the first")),
        Entry(
            'sales.change("amount", "week")',
            "",
            _("the latest day against the same day a week before, ↑5.0%; “day”, “month”, “year” likewise"),
        ),
        Entry("month_of(sales.latest())", "", _("the month of the latest day; week_of, quarter_of, year_of likewise")),
        Entry("change(120, 100)", "", _("of any two numbers: ↑20.0%")),
        Entry(f'{{% for {row} in sales.rows %}}{{{{ {row}["amount"] }}}}{{% endfor %}}', "", _("row by row")),
        Entry("{% if sales.is_empty %}…{% endif %}", "", _('only if; is_empty, as_of, unit("amount")')),
        Entry(
            'today|date("M月D日")' if _is_chinese() else 'today|date("D.M.")',
            _("date"),
            _("a time's format: YYYY, MM, M, DD, D, HH, mm, ddd, W, Q"),
        ),
    ]


def _is_chinese() -> bool:
    return (get_language() or "").startswith("zh")


def _shown(value: date | Period) -> str:
    return value.shown() if isinstance(value, Period) else dates.written(value)
