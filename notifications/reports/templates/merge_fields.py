"""Merge fields: templates of fixed shapes, which the push page inserts into a title or a text by a click; and starting
points: whole messages made of them. Pure.

`read_parts` reads a template back into texts and merge fields, so that a page can show fields by their labels. It knows
only the shapes written here; for any other template it returns None, and the template stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, tzinfo
from typing import Any

from django.utils.translation import get_language, gettext_lazy, pgettext
from django.utils.translation import gettext as _

from integrations.data.figures import (
    EARLIER,
    adds_up,
    count_distinct,
    count_known,
    find_day,
    find_newest_day,
    find_reached_day_column,
)
from integrations.data.table import Column, Kind, Month, Table
from notifications.charts.definition import COLUMNS_AT_MOST, Chart, ChartKind, Sort
from notifications.models import MessageForm

# The openings of Jinja2's tags; in a text they are written as `{{ '{{' }}`.
_OPENINGS = ("{{", "{%", "{#")
_FORMATS = ("", "thousands", "short", "percent")
RANKING_ROWS = 5
RANKING_ROWS_AT_MOST = 20
# The name of the payload in templates of inbound channels; no card has it.
PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class Field:
    """A merge field. `label`: for people; `template`: as stored."""

    label: str
    template: str


Part = str | Field


# --- Writing: one function for each shape -----------------------------------------------------------------------------


def write_aggregate(alias: str, measure: str, column: str, *, days: str = "", day_column: str = "") -> str:
    """Return an expression: sum, avg, min or max of a column. `days`: "latest", or the name of a day or period of
    RELATIVE_DATES, in `day_column`; empty: all rows."""
    return f"{_write_rows(alias, days, day_column)}.{measure}({quote_text(column)})"


def write_row_count(alias: str, *, days: str = "", day_column: str = "") -> str:
    """Return an expression: the number of rows."""
    return f"{_write_rows(alias, days, day_column)}.count"


def write_change(alias: str, column: str, *, against: str, day_column: str, measure: str = "sum") -> str:
    """Return an expression: the change to the latest day from a "day", "week", "month" or "year" before, as ↑5.0%."""
    measure_argument = "" if measure == "sum" else f", of={quote_text(measure)}"
    return f"{alias}.change({quote_text(column)}, {quote_text(against)}, by={quote_text(day_column)}{measure_argument})"


def write_change_after(expression: str, words: str) -> str:
    """Return the template that shows a change after these words; it shows nothing if the change is unknown."""
    return write_output(expression, f"prefix({quote_text(words)})")


def write_share(alias: str, column: str, whole: str, *, days: str = "", day_column: str = "") -> str:
    """Return the template that shows the total of a column as a percentage of the total of another."""
    rows = _write_rows(alias, days, day_column)
    return write_output(f"({rows}.sum({quote_text(column)}) / {rows}.sum({quote_text(whole)}))", "percent")


def write_latest_day(alias: str, day_column: str) -> str:
    """Return an expression: the latest day of the data."""
    return f"{alias}.latest({quote_text(day_column)})"


def write_output(expression: str, style: str = "") -> str:
    """Return the template that shows an expression. `style`: a format of numbers, or of a time (`date`)."""
    return f"{{{{ {expression}{f'|{style}' if style else ''} }}}}"


def write_date(expression: str, pattern: str) -> str:
    """Return the template that shows a time by a pattern of `values.format_time`."""
    return write_output(expression, f"date({quote_text(pattern)})")


def write_ranking(
    alias: str,
    name: str,
    number: str,
    *,
    order: str = "top",
    count: int | str = RANKING_ROWS,
    days: str = "",
    day_column: str = "",
) -> str:
    """Return a template of `count` lines: place, name and number of the largest ("top") or smallest ("bottom") rows. A
    row with an unknown number gets no place. `days`: as for `write_aggregate`."""
    return (
        f"{{% for row in {_write_rows(alias, days, day_column)}.{order}({count}, {quote_text(number)}).rows %}}"
        f"{{{{ '—' if row[{quote_text(number)}] is empty else loop.index ~ '.' }}}} "
        f"{{{{ row[{quote_text(name)}] }}}} {{{{ row[{quote_text(number)}]|thousands }}}}\n"
        "{% endfor %}"
    )


def write_literal(text: str) -> str:
    """Return the template of a text, in which braces stay braces."""
    for opening in _OPENINGS:
        text = text.replace(opening, _split_opening(opening))
    return text


def quote_text(text: str) -> str:
    """Return the text as a literal of an expression."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _write_rows(alias: str, days: str, day_column: str) -> str:
    if not days:
        return alias
    if days == "latest":
        return f"{alias}.on({write_latest_day(alias, day_column)}, {quote_text(day_column)})"
    return f"{alias}.{'on' if days in _DAYS else 'within'}({days}, {quote_text(day_column)})"


def _split_opening(opening: str) -> str:
    """Write an opening in two pieces, so that the result contains no other opening."""
    return f"{{{{ '{opening[0]}' }}}}{{{{ '{opening[1]}' }}}}"


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_parts(template: str, headings: Mapping[str, str]) -> list[Part] | None:
    """Return the texts and merge fields of a template that the picker could have written; None for any other.

    `headings`: the heading of each card by alias. A template with a field of another card cannot be read.
    """
    parts: list[Part] = []
    position = 0
    while position < len(template):
        part, position = _read_part(template, position, headings)
        if part is None:
            return None
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def _read_part(template: str, begin: int, headings: Mapping[str, str]) -> tuple[Part | None, int]:
    """Return the part at `begin` (a field, or one letter of a text) and its end."""
    # A brace right before an opening is text.
    if not template.startswith(_OPENINGS, begin) or template.startswith(_OPENINGS, begin + 1):
        return template[begin], begin + 1
    for opening in _OPENINGS:
        if template.startswith(_split_opening(opening), begin):
            return opening, begin + len(_split_opening(opening))
    for pattern, label_of in _SHAPES:
        if (found := pattern.match(template, begin)) is not None and (label := label_of(_Match(found))) is not None:
            alias = found.groupdict().get("alias")
            if alias is not None and alias not in headings:
                return None, begin
            # With several cards the label names the card.
            label = f"{headings[alias]} · {label}" if alias is not None and len(headings) > 1 else label
            return Field(label, found[0]), found.end()
    return None, begin


class _Match:
    """A match of a shape. Its groups are given with quoted texts unescaped."""

    def __init__(self, found: re.Match[str]) -> None:
        self._found = found.groupdict(default="")

    def __getitem__(self, name: str) -> str:
        text = self._found.get(name, "")
        return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), text)

    def make_label(self, what: str) -> str:
        """Return `what` with its days and its format."""
        days = self["days"] or self["period"] or ("latest" if self["latest_column"] else "")
        label = f"{label_day(days)} {what}" if days else what
        return label + {"short": _(" (in 万 or 亿)"), "percent": _(" (percent)")}.get(self["style"], "")


def _label_ranking(found: _Match) -> str | None:
    """Return the label of a ranking; None if it has more rows than the picker offers."""
    count = int(found["count"])
    if not 0 < count <= RANKING_ROWS_AT_MOST:
        return None
    words = {"count": count, "name": found["name"], "number": found["number"]}
    if found["order"] == "top":
        return found.make_label(_("top %(count)d: %(name)s by %(number)s") % words)
    return found.make_label(_("bottom %(count)d: %(name)s by %(number)s") % words)


_DAYS = (
    *("today", "yesterday", "day_before_yesterday"),
    *("same_day_last_week", "same_day_last_month", "same_day_last_year"),
)
# The periods of RELATIVE_DATES that the picker offers.
PERIODS = ("last_7_days", "last_30_days", "week_to_date", "last_week", "month_to_date", "last_month", "year_to_date")
AGAINST = ("day", "week", "month", "year")
_CHANGE_LABELS = {
    "day": gettext_lazy("%(figure)s vs the day before"),
    "week": gettext_lazy("%(figure)s vs the week before"),
    "month": gettext_lazy("%(figure)s vs the month before"),
    "year": gettext_lazy("%(figure)s vs the year before"),
}
_CHANGE_WORDS = {
    "day": gettext_lazy("vs the day before"),
    "week": gettext_lazy("vs the week before"),
    "month": gettext_lazy("vs the month before"),
    "year": gettext_lazy("vs the year before"),
}
_ALIAS = r"(?P<alias>[^\W\d_]\w*)"
_TEXT = r"(?:[^'\\]|\\.)*"
# What the names in a shape stand for; other names are quoted texts.
_PARTS = {
    "alias": _ALIAS,
    "rows": (
        rf"(?P<rows>{_ALIAS}(?:\.on\("
        rf"(?:(?P<days>{'|'.join(_DAYS)})|(?P=alias)\.latest\('(?P<latest_column>{_TEXT})'\)), "
        rf"'(?(latest_column)(?P=latest_column)|{_TEXT})'\)|\.within\((?P<period>{'|'.join(PERIODS)}), '{_TEXT}'\))?)"
    ),
    "measure": "(?P<measure>sum|avg|min|max)",
    "against": f"(?P<against>{'|'.join(AGAINST)})",
    "order": "(?P<order>top|bottom)",
    "count": r"(?P<count>\d{1,2})",
    "named": r"(?P<named>[a-z_0-9]+)",
}


def _compile(shape: str) -> re.Pattern[str]:
    """Return the pattern of a template in which `<name>` stands for a part; a repeated `<name>` for the same text."""
    known: set[str] = set()
    pattern, *pieces = re.split(r"<(\w+)>", re.escape(shape))
    for name, text in zip(pieces[::2], pieces[1::2], strict=True):
        part = f"(?P={name})" if name in known else _PARTS.get(name, f"(?P<{name}>{_TEXT})")
        pattern += part + text
        known.add(name)
    pattern = pattern.replace(r"\|STYLE", rf"(?:\|(?P<style>{'|'.join(filter(None, _FORMATS))}))?")
    return re.compile(pattern.replace(r"\|date\('PATTERN'\)", rf"(?:\|date\('{_TEXT}'\))?"))


_CHANGE = {"against": "<against>", "day_column": "<day_column>"}
_SHAPES: tuple[tuple[re.Pattern[str], Callable[[_Match], str | None]], ...] = (
    (
        re.compile(
            rf"\{{\{{ (?P<alias>{PAYLOAD})(?P<field>(?:\.[A-Za-z]\w*|\[\d+\]|\['{_TEXT}'\])+)"
            rf"(?:\|(?P<style>{'|'.join(filter(None, _FORMATS))}))? \}}\}}"
        ),
        # A field of an inbound channel's payload, which has no columns, by its path.
        lambda found: found.make_label(found["field"].lstrip(".").replace("['", ".").replace("']", "").lstrip(".")),
    ),
    (
        _compile(write_output(write_aggregate("<rows>", "<measure>", "<column>"), "STYLE")),
        lambda found: found.make_label(label_aggregate(found["measure"], found["column"])),
    ),
    (_compile(write_output(write_row_count("<rows>"), "STYLE")), lambda found: found.make_label(_("number of rows"))),
    *(
        (
            _compile(shape),
            lambda found: (
                _CHANGE_LABELS[found["against"]]
                % {"figure": label_aggregate(found["measure"] or "sum", found["column"])}
            ),
        )
        for expression in (
            write_change("<alias>", "<column>", **_CHANGE),
            write_change("<alias>", "<column>", measure="<measure>", **_CHANGE),
        )
        for shape in (write_output(expression), write_change_after(expression, "<words>"))
    ),
    (
        _compile(write_share("<rows>", "<column>", "<whole>")),
        lambda found: found.make_label(
            _("%(column)s as a share of %(whole)s") % {"column": found["column"], "whole": found["whole"]}
        ),
    ),
    (_compile(write_date("<named>", "PATTERN")), lambda found: _label_named_days().get(found["named"])),
    (_compile(write_date(write_latest_day("<alias>", "<column>"), "PATTERN")), lambda _found: label_day("latest")),
    (_compile(write_ranking("<rows>", "<name>", "<number>", order="<order>", count="<count>")), _label_ranking),
)
# --- Labels -----------------------------------------------------------------------------------------------------------


def label_aggregate(measure: str, column: str) -> str:
    """Return the label of an aggregate of a column."""
    return {
        "sum": pgettext("figure", "%(column)s total"),
        "avg": pgettext("figure", "%(column)s average"),
        "min": pgettext("figure", "%(column)s minimum"),
        "max": pgettext("figure", "%(column)s maximum"),
    }[measure] % {"column": column}


def label_day(name: str) -> str:
    """Return the label of a named day or period; the name itself if it has none."""
    return _label_named_days().get(name) or name


def _label_named_days() -> dict[str, str]:
    return {
        "today": _("today"),
        "yesterday": _("yesterday"),
        "day_before_yesterday": _("the day before yesterday"),
        "same_day_last_week": _("the same day last week"),
        "same_day_last_month": _("the same day last month"),
        "same_day_last_year": _("the same day last year"),
        "last_7_days": _("the last 7 days"),
        "last_30_days": _("the last 30 days"),
        "week_to_date": _("this week so far"),
        "last_week": _("last week"),
        "month_to_date": _("this month so far"),
        "last_month": _("last month"),
        "year_to_date": _("this year so far"),
        "latest": _("the latest day"),
        "slot": _("time of sending"),
    }


# Only the first columns of a wide table are offered with days and comparisons, and fewer as rankings, because nobody
# can use a list of thousands. For the others, a template can be written by hand.
COLUMNS_COMBINED = 20
COLUMNS_RANKED = 5


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields that belong together."""

    label: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class ColumnFields:
    """Fields of a column (or of the rows, or of dates) that can be inserted. The first group is used most."""

    label: str
    groups: tuple[FieldGroup, ...]


def list_column_fields(table: Table, alias: str) -> list[ColumnFields]:
    """Return the fields of a card's table: of its numbers, of the number of its rows, and rankings of its names."""
    numeric, day_column = [column for column in table.columns if column.is_numeric], find_day_column(table)
    numbers = numeric[:COLUMNS_COMBINED]
    found = [
        ColumnFields(one.name, _group_fields(alias, one, day_column, numbers if one in numbers else []))
        for one in numeric
    ]
    counts = (
        write_output(write_row_count(alias, days=days, day_column=day_column), "thousands")
        for days in _list_offered_days(day_column)
    )
    found.append(ColumnFields(_("number of rows"), (FieldGroup(_("Most used"), _read_fields(counts, alias)),)))
    # Rankings are over the latest day if there are days: over several days names would repeat.
    days = "latest" if day_column else ""
    for name in [column for column in table.columns if column.kind is Kind.TEXT][:COLUMNS_RANKED]:
        rankings = (
            write_ranking(alias, name.name, number.name, order=order, days=days, day_column=day_column)
            for number in numbers[:COLUMNS_RANKED]
            for order in ("top", "bottom")
        )
        if fields := _read_fields(rankings, alias):
            found.append(ColumnFields(name.name, (FieldGroup(_("Rankings"), fields),)))
    return found


def _group_fields(alias: str, column: Column, day_column: str, others: Sequence[Column]) -> tuple[FieldGroup, ...]:
    """Return the fields of a column of numbers. `others`: the columns that it can be a share of; empty for a column
    beyond COLUMNS_COMBINED, which is offered over all rows only."""
    measure, days = choose_measure(column), "latest" if day_column and others else ""
    usual = [
        write_output(write_aggregate(alias, measure, column.name, days=one, day_column=day_column), "thousands")
        for one in dict.fromkeys((days, ""))
    ]
    changes, shares = list[str](), list[str]()
    if days:
        changes = [
            write_output(write_change(alias, column.name, against=one, day_column=day_column, measure=measure))
            for one in AGAINST
        ]
    if column.kind is Kind.NUMBER:
        wholes = [one.name for one in others if one.kind is Kind.NUMBER and one != column]
        shares = [write_share(alias, column.name, whole, days=days, day_column=day_column) for whole in wholes]
    groups = {_("Most used"): [*usual, *changes[:1], *shares[:1]], _("Compared"): changes[1:], _("Shares"): shares[1:]}
    measures = ("sum", "avg", "max", "min") if adds_up(column) else ("avg", "max", "min")
    for one in _list_offered_days(day_column if others else ""):
        templates = [
            write_output(write_aggregate(alias, each, column.name, days=one, day_column=day_column), "thousands")
            for each in measures
        ]
        groups[label_day(one) if one else _("Of all rows")] = [each for each in templates if each not in usual]
    return tuple(FieldGroup(label, fields) for label, each in groups.items() if (fields := _read_fields(each, alias)))


def _list_offered_days(day_column: str) -> tuple[str, ...]:
    return ("latest", "", "yesterday", "today", *PERIODS) if day_column else ("",)


def list_day_fields(tables: Mapping[str, Table]) -> ColumnFields:
    """Return days and times, which need no data, and the latest day of each card with a column of days."""
    latest = [
        ("latest", write_latest_day(alias, day)) for alias, table in tables.items() if (day := find_day_column(table))
    ]
    plain = [(name, name) for name in ("today", "yesterday", "last_week", "last_month", "month_to_date")]
    found = [*plain[:2], *latest, *plain[2:]]
    pattern = choose_date_pattern()
    fields = tuple(Field(label_day(name), write_date(days, pattern)) for name, days in found)
    return ColumnFields(_("Dates"), (FieldGroup(_("Most used"), fields),))


def _read_fields(templates: Iterable[str], alias: str) -> tuple[Field, ...]:
    """Return the fields of templates, with the labels under which they are read back."""
    found = (_read_part(template, 0, {alias: ""})[0] for template in templates)
    return tuple(part for part in found if isinstance(part, Field))


def choose_date_pattern() -> str:
    """Return the usual pattern of a day in the active language."""
    return "M月D日" if is_chinese() else "D.M."


def is_chinese() -> bool:
    """Return whether the active language is Chinese."""
    return (get_language() or "").startswith("zh")


def find_day_column(table: Table) -> str:
    """Return the first column of days or moments; empty if there is none."""
    return next((column.name for column in table.columns if column.is_temporal), "")


def choose_measure(column: Column) -> str:
    """Return the proposed aggregate of a column: its total, or the mean if a total means nothing."""
    return "sum" if adds_up(column) else "avg"


# --- Starting points of a push: whole messages made from a table's own columns and their kinds ------------------------

# WeCom's cards show one large number and up to six below it; three can be read at a glance.
NUMBERS_AT_MOST = 3
# Columns of numbers that name or order rows and are no figures.
_NO_FIGURE = re.compile(
    r"(id|no\.?|年|年份|月|月份|周|year|month)|.*(序号|编号|编码|代码|排名|名次|_id| id)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A message to start from. `plain_body`: the body in a form that shows no key figures. `lacks`: a sentence that
    says why it does not fit the data; empty if it does."""

    key: str
    label: str
    description: str
    message_form: MessageForm
    title: str = ""
    body: str = ""
    plain_body: str = ""
    figures: str = ""
    charts: tuple[Chart, ...] = ()
    lacks: str = ""


@dataclass(frozen=True)
class _Outline:
    """Facts of a table on `today`. `day_column`: the first with a day up to today, empty if there is none; `newest`:
    the rows of the newest such day, else all rows. `numbers`: the columns to show; `names`: the column whose values
    distinguish rows, if any. `against`: the earlier day with which the newest is compared, empty if there is none."""

    day_column: str
    newest: Table
    numbers: list[Column]
    names: str
    against: str

    @classmethod
    def of(cls, table: Table, today: date, zone: tzinfo) -> _Outline:
        day_column = find_reached_day_column(table, today=today, zone=zone)
        days = [find_day(value, zone) for value in table.list_values(day_column)] if day_column else []
        at = find_newest_day(days, until=today, zone=zone)
        rows = [row for row, day in zip(table.rows, days, strict=True) if day == at] if day_column else table.rows
        newest = table.replace_rows(rows)
        numeric = [one for one in table.columns if one.is_numeric]
        known = [
            one for one in numeric if count_known(newest.list_values(one.name)) and not _NO_FIGURE.fullmatch(one.name)
        ]
        texts = [
            one.name for one in table.columns if one.kind is Kind.TEXT and count_known(newest.list_values(one.name))
        ]
        names = next((name for name in texts if count_distinct(newest.list_values(name)) == len(newest.rows)), "")
        against = next((one for one in AGAINST if at is not None and EARLIER[one](at) in days), "")
        return cls(day_column, newest, known or numeric, names or next(iter(texts), ""), against)


def make_starting_points(
    alias: str, heading: str, table: Table, *, today: date | None = None, zone: tzinfo = UTC
) -> tuple[list[StartingPoint], str]:
    """Return the four starting points in order, and the key of the one to begin with, empty if none fits.

    `alias`: of the card in templates; `heading`: its name for people; `today`: later days are a plan.
    """
    outline = _Outline.of(table, today or table.as_of.astimezone(zone).date(), zone)
    has_numbers = any(column.is_numeric for column in table.columns)
    has_names = any(column.kind is Kind.TEXT for column in table.columns)
    no_columns = "" if table.names else _("This data has no columns.")
    no_numbers = "" if has_numbers else _("This data has no column of numbers.")
    no_names = "" if has_names else _("This data has no column of names.")
    no_day = "" if find_day_column(table) else _("This data has no column of dates.")
    form = MessageForm
    points = [
        StartingPoint(*point, lacks=lacks)
        for point, lacks in (
            (("key_figures", _("Key figures"), _("One large number, others below it"), form.TEXT_NOTICE), no_numbers),
            (("table", _("Table"), _("A picture of the rows, the newest first"), form.NEWS), no_columns),
            (("trend", _("Trend"), _("A line over time, with key figures"), form.NEWS_NOTICE), no_day or no_numbers),
            (("ranking", _("Ranking"), _("The largest, one a line"), form.TEXTCARD), no_numbers or no_names),
        )
    ]
    if table.names and not any(map(table.is_kind_known, table.names)):
        unknown = _("What the columns of this data hold is not known before there are rows.")
        points = [replace(point, lacks=unknown) if point.lacks else point for point in points]
    # Key figures suit one row or the newest day, a ranking rows with names, and a table all else.
    start = "table"
    first = next((one for one in outline.numbers if count_known(outline.newest.list_values(one.name))), None)
    is_plan = not outline.day_column and any(column.is_temporal for column in table.columns)
    if first is not None and not is_plan:
        has_named_rows = bool(outline.names) and len(outline.newest.rows) > 1
        start = "ranking" if has_named_rows and (not outline.day_column or not adds_up(first)) else "key_figures"
    fitting = {point.key for point in points if not point.lacks}
    start = next((key for key in (start, "table") if key in fitting), "")
    return [
        point if point.lacks else _fill_starting_point(point, alias, heading, table, outline) for point in points
    ], start


def _fill_starting_point(
    point: StartingPoint, alias: str, heading: str, table: Table, outline: _Outline
) -> StartingPoint:
    """Write the texts and charts: a figure for each number, and its change against an earlier day."""
    numbers, day_column = outline.numbers, outline.day_column
    days, is_one_row = "latest" if day_column else "", len(outline.newest.rows) <= 1
    lines, figures, changes = [], [], []
    shown = numbers[:NUMBERS_AT_MOST]
    for number in shown:
        measure = choose_measure(number)
        aggregate = write_aggregate(alias, measure, number.name, days=days, day_column=day_column)
        figure = write_output(aggregate, "thousands")
        figure += f" {write_literal(number.unit)}" if number.unit and number.kind is Kind.NUMBER else ""
        is_mean = measure == "avg" and not is_one_row and "均" not in number.name
        name = _("average %(column)s") % {"column": number.name} if is_mean else number.name
        line = f"{write_literal(name)} {figure}"
        if outline.against:
            words = _CHANGE_WORDS[outline.against]
            changed = write_change(alias, number.name, against=outline.against, day_column=day_column, measure=measure)
            changes.append(write_change_after(changed, f"{words} " if len(shown) == 1 else f"{name} {words} "))
            line += write_change_after(changed, f" {words} ")
        lines.append(line)
        # Without colons, because one separates the name of a key figure from its number.
        caption = " ".join(re.split(r"[\s:：]+", name)).strip()
        figures.append(f"{write_literal(caption)}: {figure}")
    title = write_literal(heading)
    if day_column:
        pattern = choose_date_pattern()
        if any(isinstance(value, Month) for value in table.list_values(day_column)):  # months are written without a day
            pattern = "YYYY年M月" if is_chinese() else "M/YYYY"
        title += f" {write_date(write_latest_day(alias, day_column), pattern)}"
    body, plain_body, charts = "\n".join(changes), "\n".join(lines), list[Chart]()
    match point.key:
        case "table":
            axis = day_column or find_day_column(table)
            body = plain_body = _("%(count)s rows in all") % {
                "count": write_output(write_row_count(alias), "thousands")
            }
            others = tuple(name for name in table.names if name != axis)[:COLUMNS_AT_MOST]
            order = Sort.LARGEST if day_column else Sort.SMALLEST if axis else Sort.AS_IS
            charts = [Chart(ChartKind.TABLE, axis, others, sort=order)]
        case "trend":
            charts = [Chart(ChartKind.LINE, day_column or find_day_column(table), (numbers[0].name,))]
        case "ranking":
            name = outline.names or next(column.name for column in table.columns if column.kind is Kind.TEXT)
            body = plain_body = write_ranking(alias, name, numbers[0].name, days=days, day_column=day_column)
            charts = [Chart(ChartKind.BAR, name, (numbers[0].name,), sort=Sort.LARGEST)]
    texts: dict[str, Any] = {"title": title, "body": body, "plain_body": plain_body, "figures": "\n".join(figures)}
    return replace(point, **texts, charts=tuple(charts))
