"""Merge fields: templates of fixed shapes, which the push page inserts into a title or a text by a click. Pure.

`parts_of` reads a template back into texts and merge fields, so that a page can show fields by their labels. It knows
only the shapes written here; for any other template it returns None, and the template stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.utils.translation import get_language, pgettext
from django.utils.translation import gettext as _

from integrations.data.figures import adds_up
from integrations.data.table import Column, Kind, Table

# The openings of Jinja2's tags; in a text they are written as `{{ '{{' }}`.
_OPENINGS = ("{{", "{%", "{#")
_LITERAL = r"'((?:[^'\\]|\\.)*)'"
_NAME = r"([^\W\d_]\w*)"
_FORMATS = ("", "thousands", "short", "percent")
RANKING_ROWS = 5
# The name of the payload in templates of inbound channels; no card has it.
PAYLOAD = "payload"
RANKING_ROWS_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Field:
    """A merge field. `label`: for people; `template`: as stored."""

    label: str
    template: str


Part = str | Field


# --- Writing: one function for each shape -----------------------------------------------------------------------------


def aggregate(alias: str, measure: str, column: str, *, days: str = "", day_column: str = "") -> str:
    """Return an expression: sum, avg, min or max of a column. `days`: "latest", or the name of a day or period of
    RELATIVE_DATES, in `day_column`; empty: all rows."""
    return f"{_rows(alias, days, day_column)}.{measure}({quote_text(column)})"


def row_count(alias: str, *, days: str = "", day_column: str = "") -> str:
    """Return an expression: the number of rows."""
    return f"{_rows(alias, days, day_column)}.count"


def change(alias: str, column: str, *, against: str, day_column: str, measure: str = "sum") -> str:
    """Return an expression: the latest day against the same day a "day", "week", "month" or "year" before, as ↑5.0%."""
    of = "" if measure == "sum" else f", of={quote_text(measure)}"
    return f"{alias}.change({quote_text(column)}, {quote_text(against)}, by={quote_text(day_column)}{of})"


def latest_day(alias: str, day_column: str) -> str:
    """Return an expression: the latest day of the data."""
    return f"{alias}.latest({quote_text(day_column)})"


def output(expression: str, style: str = "") -> str:
    """Return the template that shows an expression. `style`: a format of numbers, or of a time (`date`)."""
    return f"{{{{ {expression}{f'|{style}' if style else ''} }}}}"


def date(expression: str, pattern: str) -> str:
    """Return the template that shows a time by a pattern of `values.format_time`."""
    return output(expression, f"date({quote_text(pattern)})")


def ranking(
    alias: str,
    name: str,
    number: str,
    *,
    order: str = "top",
    count: int = RANKING_ROWS,
    days: str = "",
    day_column: str = "",
) -> str:
    """Return a template of `count` lines: place, name and number of the largest ("top") or smallest ("bottom") rows. A
    row with an unknown number gets no place. `days`: as for `aggregate`."""
    return (
        f"{{% for row in {_rows(alias, days, day_column)}.{order}({count}, {quote_text(number)}).rows %}}"
        f"{{{{ '—' if row[{quote_text(number)}] is empty else loop.index ~ '.' }}}} "
        f"{{{{ row[{quote_text(name)}] }}}} {{{{ row[{quote_text(number)}]|thousands }}}}\n"
        "{% endfor %}"
    )


def literal(text: str) -> str:
    """Return the template of a text, in which braces stay braces."""
    for opening in _OPENINGS:
        text = text.replace(opening, _split_opening(opening))
    return text


def quote_text(text: str) -> str:
    """Return the text as a literal of an expression."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _rows(alias: str, days: str, day_column: str) -> str:
    if not days:
        return alias
    if days == "latest":
        return f"{alias}.on({latest_day(alias, day_column)}, {quote_text(day_column)})"
    return f"{alias}.{'on' if days in _DAYS else 'within'}({days}, {quote_text(day_column)})"


def _split_opening(opening: str) -> str:
    """Write an opening in two pieces, so that the result contains no other opening."""
    return f"{{{{ '{opening[0]}' }}}}{{{{ '{opening[1]}' }}}}"


# --- Reading ----------------------------------------------------------------------------------------------------------


def parts_of(template: str, headings: Mapping[str, str]) -> list[Part] | None:
    """Return the texts and merge fields of a template that the picker could have written; None for any other.

    `headings`: the heading of each card by alias. A field of another card is no field.
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
        if (found := pattern.match(template, begin)) is not None:
            match = _Match(found, headings)
            if match.is_known() and (label := label_of(match)) is not None:
                return Field(label, found[0]), found.end()
    return None, begin


class _Match:
    """A part that has a shape: its groups, unquoted, and the headings of the cards."""

    def __init__(self, found: re.Match[str], headings: Mapping[str, str]) -> None:
        self._found, self._headings = found.groupdict(default=""), headings

    def __getitem__(self, name: str) -> str:
        return self._found.get(name, "")

    def text(self, name: str) -> str:
        """Return a quoted text unquoted."""
        return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), self[name])

    @property
    def days(self) -> str:
        return self["days"] or self["period"] or ("latest" if self["latest_alias"] else "")

    def is_known(self) -> bool:
        """Return whether it names a known card and days, with the card's latest day written as here."""
        if "alias" in self._found and self["alias"] not in self._headings:
            return False
        if self["latest_alias"]:
            return (self["latest_alias"], self["latest_column"]) == (self["alias"], self["day_column"])
        return not self.days or self.days in (_DAYS if self["days"] else PERIODS)

    def make_label(self, what: str) -> str:
        """Return `what` with its days and its format; with several cards, after the card's heading."""
        label = f"{day_label(self.days)} {what}" if self.days else what
        label += {"short": _(" (in 万 or 亿)"), "percent": _(" (percent)")}.get(self["style"], "")
        return label if len(self._headings) == 1 else f"{self._headings[self['alias']]} · {label}"


# Labels of a match; None if it only looks like a field.


def _label_change(found: _Match) -> str | None:
    what = aggregate_label(found["measure"] or "sum", found.text("column"))
    return found.make_label(change_label(what, found["against"])) if found["against"] in AGAINST else None


def _label_ranking(found: _Match) -> str | None:
    count = int(found["count"])
    label = ranking_label(found["order"], count, found.text("name"), found.text("number"))
    return found.make_label(label) if 0 < count <= RANKING_ROWS_AT_MOST else None


def _label_field(found: _Match) -> str | None:
    """Label a field of an inbound channel's payload, which has no columns, by its path."""
    place = found.text("field").lstrip(".").replace("['", ".").replace("']", "").lstrip(".")
    return found.make_label(place) if found["alias"] == PAYLOAD else None


def _quoted_group(name: str) -> str:
    return _LITERAL.replace("(", f"(?P<{name}>", 1)


_ALIAS = _NAME.replace("(", "(?P<alias>", 1)
_STYLE = rf"(?:\|(?P<style>{'|'.join(filter(None, _FORMATS))}))?"
_ROWS = (
    rf"{_ALIAS}(?:\.on\((?:(?P<days>[a-z_]+)|{_NAME.replace('(', '(?P<latest_alias>', 1)}\.latest\("
    rf"{_quoted_group('latest_column')}\)), {_quoted_group('day_column')}\)"
    rf"|\.within\((?P<period>[a-z_0-9]+), {_LITERAL}\))?"
)
_SHAPES: tuple[tuple[re.Pattern[str], Callable[[_Match], str | None]], ...] = (
    (
        re.compile(rf"\{{\{{ {_ALIAS}(?P<field>(?:\.[A-Za-z]\w*|\[\d+\]|\[{_LITERAL}\])+){_STYLE} \}}\}}"),
        _label_field,
    ),
    (
        re.compile(rf"\{{\{{ {_ROWS}\.(?P<measure>sum|avg|min|max)\({_quoted_group('column')}\){_STYLE} \}}\}}"),
        lambda found: found.make_label(aggregate_label(found["measure"], found.text("column"))),
    ),
    (
        re.compile(rf"\{{\{{ {_ROWS}\.count{_STYLE} \}}\}}"),
        lambda found: found.make_label(_("number of rows")),
    ),
    (
        re.compile(
            rf"\{{\{{ {_ALIAS}\.change\({_quoted_group('column')}, '(?P<against>[a-z]+)', by={_LITERAL}"
            r"(?:, of='(?P<measure>avg|min|max)')?\) \}\}"
        ),
        _label_change,
    ),
    (
        re.compile(rf"\{{\{{ (?P<name>[a-z_0-9]+)(?:\|date\({_LITERAL}\))? \}}\}}"),
        lambda found: _named_days().get(found["name"]),
    ),
    (
        re.compile(rf"\{{\{{ {_ALIAS}\.latest\({_LITERAL}\)(?:\|date\({_LITERAL}\))? \}}\}}"),
        lambda found: found.make_label(day_label("latest")),
    ),
    (
        re.compile(
            rf"\{{% for row in {_ROWS}\.(?P<order>top|bottom)"
            rf"\((?P<count>\d{{1,2}}), {_quoted_group('number')}\)\.rows %\}}"
            r"\{\{ '—' if row\['(?P=number)'\] is empty else loop\.index ~ '\.' \}\} "
            rf"\{{\{{ row\[{_quoted_group('name')}\] \}}\}} "
            r"\{\{ row\['(?P=number)'\]\|thousands \}\}\n\{% endfor %\}"
        ),
        _label_ranking,
    ),
)
# --- Labels -----------------------------------------------------------------------------------------------------------

_DAYS = (
    *("today", "yesterday", "day_before_yesterday"),
    *("same_day_last_week", "same_day_last_month", "same_day_last_year"),
)
# The periods of RELATIVE_DATES that the picker offers.
PERIODS = ("last_7_days", "last_30_days", "week_to_date", "last_week", "month_to_date", "last_month", "year_to_date")
AGAINST = ("day", "week", "month", "year")


def aggregate_label(measure: str, column: str) -> str:
    return {
        "sum": pgettext("figure", "%(column)s total"),
        "avg": pgettext("figure", "%(column)s average"),
        "min": pgettext("figure", "%(column)s minimum"),
        "max": pgettext("figure", "%(column)s maximum"),
    }[measure] % {"column": column}


def change_label(what: str, against: str) -> str:
    return {
        "day": _("%(figure)s vs the day before"),
        "week": _("%(figure)s vs the week before"),
        "month": _("%(figure)s vs the month before"),
        "year": _("%(figure)s vs the year before"),
    }[against] % {"figure": what}


def ranking_label(order: str, count: int, name: str, number: str) -> str:
    words = {"count": count, "name": name, "number": number}
    if order == "top":
        return _("top %(count)d: %(name)s by %(number)s") % words
    return _("bottom %(count)d: %(name)s by %(number)s") % words


def day_label(name: str) -> str:
    return _named_days().get(name) or name


def _named_days() -> dict[str, str]:
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


# For a wide table only the first columns are offered with days and comparisons, and fewer as rankings: a list of
# thousands of choices helps nobody. Others can be written as a template.
COLUMNS_COMBINED = 20
COLUMNS_RANKED = 5


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields that belong together. `is_number`: one of `formats` may replace `thousands`."""

    label: str
    fields: tuple[Field, ...]
    is_number: bool = False


def formats() -> list[tuple[str, str]]:
    """Return the formats of inserted numbers: name in templates, and label. 万 and 亿 are for readers of Chinese."""
    in_wan = [("short", _("in 万 or 亿, by its size"))] if is_chinese() else []
    return [("thousands", _("1,234.5")), *in_wan, ("percent", _("percent (0.12 is 12%)")), ("", _("as it is"))]


def groups_of(table: Table, alias: str) -> list[FieldGroup]:
    """Return the fields of a card's table, the most usual first."""
    every = [column for column in table.columns if column.is_numeric]
    numbers = every[:COLUMNS_COMBINED]
    day = day_column_of(table)
    groups = [FieldGroup(_("Of all rows"), _aggregates(alias, every, "", ""), is_number=True)]
    if day:
        groups += [
            FieldGroup(day_label(days), _aggregates(alias, numbers, days, day), is_number=True)
            for days in ("latest", "yesterday", "today", *PERIODS)
        ]
        groups.append(FieldGroup(_("Compared"), tuple(_changes(alias, numbers, day))))
    names = [column.name for column in table.columns if column.kind is Kind.TEXT][:COLUMNS_RANKED]
    ranked = [column.name for column in numbers[:COLUMNS_RANKED]]
    groups.append(FieldGroup(_("Rankings"), tuple(_rankings(alias, names, ranked, day))))
    return [group for group in groups if group.fields]


def day_fields(tables: Mapping[str, Table]) -> FieldGroup:
    """Return days and times, which need no data, and the latest day of each card with a column of days."""
    pattern = usual_date_pattern()
    fields = [Field(day_label(name), date(name, pattern)) for name in ("today", "yesterday")]
    fields += [
        Field(day_label("latest"), date(latest_day(alias, day), pattern))
        for alias, table in tables.items()
        if (day := day_column_of(table))
    ]
    fields += [Field(day_label(name), date(name, pattern)) for name in ("last_week", "last_month", "month_to_date")]
    return FieldGroup(_("Dates"), tuple(fields))


def usual_date_pattern() -> str:
    return "M月D日" if is_chinese() else "D.M."


def is_chinese() -> bool:
    """Return whether the active language is Chinese."""
    return (get_language() or "").startswith("zh")


def day_column_of(table: Table) -> str:
    """Return the first column of days or moments; empty if there is none."""
    return next((column.name for column in table.columns if column.is_temporal), "")


def _aggregates(alias: str, numbers: list[Column], days: str, day: str) -> tuple[Field, ...]:
    lead = f"{day_label(days)} " if days else ""
    found = [
        Field(
            lead + aggregate_label(measure, column.name),
            output(aggregate(alias, measure, column.name, days=days, day_column=day), "thousands"),
        )
        for column in numbers
        for measure in (("sum", "avg", "max", "min") if adds_up(column) else ("avg", "max", "min"))
    ]
    count = Field(lead + _("number of rows"), output(row_count(alias, days=days, day_column=day), "thousands"))
    return (*found, count)


def _changes(alias: str, numbers: list[Column], day: str) -> Iterator[Field]:
    for column in numbers:
        for against in AGAINST:
            measure = "sum" if adds_up(column) else "avg"
            label = change_label(aggregate_label(measure, column.name), against)
            yield Field(label, output(change(alias, column.name, against=against, day_column=day, measure=measure)))


def _rankings(alias: str, names: list[str], numbers: list[str], day: str) -> Iterator[Field]:
    """Yield rankings, of the latest day if there are days: over several days names would repeat."""
    days, lead = ("latest", f"{day_label('latest')} ") if day else ("", "")
    for name in names:
        for number in numbers:
            for order in ("top", "bottom"):
                label = lead + ranking_label(order, RANKING_ROWS, name, number)
                yield Field(label, ranking(alias, name, number, order=order, days=days, day_column=day))
