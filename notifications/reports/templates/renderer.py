"""Renders titles and texts of reports in a sandbox of primitive values. Pure.

Of Jinja2's language a small part is left: what a report does not need is refused when it is saved. What is left is
bounded: in characters of the template, in what comes out, in steps, and in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import DecimalException
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from integrations.core.sentences import Sentence
from integrations.data.figures import LAST_WORKDAY, Workday, last_workday
from integrations.data.table import Table
from notifications.reports.templates import dates
from notifications.reports.templates.compiler import compiled, plain_text
from notifications.reports.templates.environment import OUTPUT_CHARACTERS, RENDERING, too_long
from notifications.reports.templates.numbers import Change
from notifications.reports.templates.placeholders import UnknownView
from notifications.reports.templates.tables import TableView
from notifications.reports.templates.values import ExpressionError, Function, TemplateError

STEPS_AT_MOST = 1_000_000
SECONDS_AT_MOST = 5.0
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "if", "else", "elif", "for", "set"})
_FUNCTIONS = {
    "change": Function(Change),
    **{name: Function(dates.of_day(period)) for name, period in dates.AROUND.items()},
}


@dataclass(frozen=True)
class Given:
    """What templates are about: the slot, its time zone, and a table for each alias; None for a card of which nothing
    is known yet. `values`: what else they know by name, as templates see it. `calendar`: says which days are workdays.
    """

    slot_at: datetime
    zone: ZoneInfo
    tables: Mapping[str, Table | None] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    calendar: Callable[[], Workday] = lambda: lambda day: day.weekday() < 5


def check(source: str, aliases: Mapping[str, object] | list[str] | tuple[str, ...] = ()) -> None:
    """Raises TemplateError for what is not a template, or names what a report with these cards has not."""
    compiled(source, frozenset({*aliases, *_time_names(), *_FUNCTIONS}))


def rendered(source: str, given: Given, form: str, *, is_cut: bool = False) -> str:
    """The text for a message of this form. Values of cells are escaped for it; empty: plain text, as of a title, in
    which marks stay as they are until a message is made of it (composing).

    `is_cut`: a text that is too long is cut and ends in "…". Raises TemplateError with the line and a sentence.
    """
    if (text := plain_text(source)) is not None:
        return text
    template = compiled(source, frozenset({*given.tables, *given.values, *_time_names(), *_FUNCTIONS}))
    work = _Rendering(form, is_cut=is_cut)
    names = dates.named_times(given.slot_at, given.zone)
    today = given.slot_at.astimezone(given.zone).date()
    if any(name in source for name in LAST_WORKDAY):
        names |= dict.fromkeys(LAST_WORKDAY, last_workday(today, given.calendar()))
    names |= {
        alias: UnknownView(given.zone, work.charge)
        if table is None
        else TableView(table, given.zone, work.charge, today)
        for alias, table in given.tables.items()
    }
    names |= {**given.values, **_FUNCTIONS, RENDERING: work}
    return work.text_of(template, names)


def reserved_names() -> frozenset[str]:
    """What no card can be called: it has a meaning already."""
    return _time_names() | {*_FUNCTIONS, "loop", "true", "false", "none", "True", "False", "None"} | _KEYWORDS


@lru_cache(maxsize=1)
def _time_names() -> frozenset[str]:
    epoch = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))
    return frozenset(dates.named_times(epoch, ZoneInfo("UTC"))) | {*LAST_WORKDAY}


class _Rendering:
    """The form of one rendering, and how much it may still do."""

    def __init__(self, form: str, *, is_cut: bool) -> None:
        self.form = form
        self._is_cut = is_cut
        self._steps_left = STEPS_AT_MOST
        self._end = time.monotonic() + SECONDS_AT_MOST

    def charge(self, steps: int) -> None:
        """Count work done. Raises ExpressionError when it is too much."""
        self._steps_left -= steps
        if self._steps_left < 0 or time.monotonic() > self._end:
            raise ExpressionError(Sentence("This goes through too many rows, or through rows within rows."))

    def text_of(self, template: Any, names: dict[str, Any]) -> str:
        """Raises TemplateError."""
        parts, size = [], 0
        try:
            for part in template.root_render_func(template.new_context(names)):
                parts.append(part)
                size += len(part)
                if size > OUTPUT_CHARACTERS and self._is_cut:
                    return f"{''.join(parts)[: OUTPUT_CHARACTERS - 1]}…"
                if size > OUTPUT_CHARACTERS:
                    raise ExpressionError(too_long())
        except ExpressionError as error:
            raise TemplateError(_line(error, template), error.sentence) from error
        except (TypeError, ValueError, ArithmeticError, DecimalException, RecursionError) as error:
            sentence = Sentence("These values cannot be used together like this, or an argument is missing.")
            raise TemplateError(_line(error, template), sentence) from error
        return "".join(parts)


def _line(error: BaseException, template: Any) -> int:
    """The template's line at which the error came up."""
    line, traceback = 0, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__jinja_template__") is template or (
            traceback.tb_frame.f_code.co_filename == template.root_render_func.__code__.co_filename
        ):
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line
