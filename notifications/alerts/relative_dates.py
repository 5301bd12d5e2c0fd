"""Dates that move with the day: today, yesterday, the last 7 days, this month, the month before. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from functools import cache

from django.conf import settings
from django.utils.translation import override, pgettext_lazy


class RelativeDate(StrEnum):
    TODAY = "today"
    YESTERDAY = "yesterday"
    LAST_7_DAYS = "last_7_days"
    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"


LABELS = {
    RelativeDate.TODAY: pgettext_lazy("date", "today"),
    RelativeDate.YESTERDAY: pgettext_lazy("date", "yesterday"),
    RelativeDate.LAST_7_DAYS: pgettext_lazy("date", "last 7 days"),
    RelativeDate.THIS_MONTH: pgettext_lazy("date", "this month"),
    RelativeDate.LAST_MONTH: pgettext_lazy("date", "last month"),
}


def named(text: str) -> RelativeDate | None:
    """What was typed, in any language of the interface."""
    return _names().get(_plain(text))


def span(which: RelativeDate, today: date) -> tuple[date, date]:
    """Its first and last day."""
    match which:
        case RelativeDate.TODAY:
            return today, today
        case RelativeDate.YESTERDAY:
            return today - timedelta(days=1), today - timedelta(days=1)
        case RelativeDate.LAST_7_DAYS:
            return today - timedelta(days=6), today
        case RelativeDate.THIS_MONTH:
            return today.replace(day=1), today
        case RelativeDate.LAST_MONTH:
            last = today.replace(day=1) - timedelta(days=1)
            return last.replace(day=1), last


def days(which: RelativeDate, today: date) -> list[date]:
    first, last = span(which, today)
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@cache
def _names() -> dict[str, RelativeDate]:
    found = {_plain(which.value): which for which in RelativeDate}
    for language, _name in settings.LANGUAGES:
        with override(language):
            found |= {_plain(str(label)): which for which, label in LABELS.items()}
    return found


def _plain(text: str) -> str:
    return text.casefold().replace(" ", "").replace("_", "")
