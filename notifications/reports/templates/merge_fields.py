"""Merge fields: what the push page inserts into a title or a text by a click, each a template of one fixed shape. Pure.

`parts_of` reads a template back into texts and merge fields, so that a page can show the fields by their labels. It
knows the shapes written here and nothing else: of any other template it says None, and the template stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

# What Jinja2 takes for the beginning of something of its own; in a text it stands as `{{ '{{' }}`.
_OPENINGS = ("{{", "{%", "{#")
_LITERAL = r"'((?:[^'\\]|\\.)*)'"
_NAME = r"([^\W\d_]\w*)"
_FORMATS = ("", "thousands", "short", "percent")
RANKING_ROWS = 5
# Under this name templates of inbound channels know what came in; no card is called so.
PAYLOAD = "payload"
RANKING_ROWS_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Field:
    """`label`: as people read it; `template`: as it is stored."""

    label: str
    template: str


Part = str | Field


# --- Writing: one function for each shape -----------------------------------------------------------------------------


def aggregate(alias: str, measure: str, column: str, *, days: str = "", day_column: str = "") -> str:
    """An expression: sum, avg, min or max of a column. `days`: "latest", or the name of a day or a period of
    `dates.MACROS`, in `day_column`; empty: of all rows."""
    return f"{_rows(alias, days, day_column)}.{measure}({quoted(column)})"


def row_count(alias: str, *, days: str = "", day_column: str = "") -> str:
    """An expression: how many rows there are."""
    return f"{_rows(alias, days, day_column)}.count"


def change(alias: str, column: str, *, against: str, day_column: str, measure: str = "sum") -> str:
    """An expression: the latest day against the same day a "day", "week", "month" or "year" before, as ↑5.0%."""
    of = "" if measure == "sum" else f", of={quoted(measure)}"
    return f"{alias}.change({quoted(column)}, {quoted(against)}, by={quoted(day_column)}{of})"


def latest_day(alias: str, day_column: str) -> str:
    """An expression: the last day that the data knows."""
    return f"{alias}.latest({quoted(day_column)})"


def shown(expression: str, style: str = "") -> str:
    """The template that shows an expression. `style`: a format of numbers, or of a time (`date`)."""
    return f"{{{{ {expression}{f'|{style}' if style else ''} }}}}"


def date(expression: str, pattern: str) -> str:
    """The template that shows a time by a pattern of `dates.written`."""
    return shown(expression, f"date({quoted(pattern)})")


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
    """A template of `count` lines: place, name and number of the largest ("top") or smallest ("bottom") rows. A row
    with an unknown number has no place. `days`: as for `aggregate`."""
    return (
        f"{{% for row in {_rows(alias, days, day_column)}.{order}({count}, {quoted(number)}).rows %}}"
        f"{{{{ '—' if row[{quoted(number)}] is empty else loop.index ~ '.' }}}} "
        f"{{{{ row[{quoted(name)}] }}}} {{{{ row[{quoted(number)}]|thousands }}}}\n"
        "{% endfor %}"
    )


def literal(text: str) -> str:
    """The template of a text, in which braces stay braces."""
    for opening in _OPENINGS:
        text = text.replace(opening, _held(opening))
    return text


def quoted(text: str) -> str:
    """A text as an expression names it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _rows(alias: str, days: str, day_column: str) -> str:
    if not days:
        return alias
    if days == "latest":
        return f"{alias}.on({latest_day(alias, day_column)}, {quoted(day_column)})"
    return f"{alias}.{'on' if days in _DAYS else 'within'}({days}, {quoted(day_column)})"


def _held(opening: str) -> str:
    """In two pieces, so that none of the openings stands in what is written for another."""
    return f"{{{{ '{opening[0]}' }}}}{{{{ '{opening[1]}' }}}}"


# --- Reading ----------------------------------------------------------------------------------------------------------


def parts_of(template: str, headings: Mapping[str, str]) -> list[Part] | None:
    """The texts and merge fields of a template that the picker could have written; None of any other.

    `headings`: by the alias of each card its heading. A field of a card that is not among them is no field.
    """
    parts = list(_parts(template, headings))
    return None if None in parts else _joined([part for part in parts if part is not None])


def template_of(parts: list[Part]) -> str:
    """The template of which `parts_of` makes these parts."""
    return "".join(part.template if isinstance(part, Field) else literal(part) for part in parts)


def _parts(template: str, headings: Mapping[str, str]) -> Iterator[Part | None]:
    position = 0
    while position < len(template):
        begin = min((at for opening in _OPENINGS if (at := template.find(opening, position)) >= 0), default=None)
        if begin is None:
            yield template[position:]
            return
        if template.startswith(_OPENINGS, begin + 1):  # a brace of the text, right before what begins
            begin += 1
        if begin > position:
            yield template[position:begin]
        part, position = _part_at(template, begin, headings)
        yield part
        if part is None:
            return


def _part_at(template: str, begin: int, headings: Mapping[str, str]) -> tuple[Part | None, int]:
    """What begins there, and where it ends."""
    for opening in _OPENINGS:
        if template.startswith(_held(opening), begin):
            return opening, begin + len(_held(opening))
    for shape in _SHAPES:
        found = shape.pattern.match(template, begin)
        label = None if found is None else shape.label(_Match(found, headings))
        if found is not None and label is not None:
            return Field(label, found[0]), found.end()
    return None, begin


def _joined(parts: list[Part]) -> list[Part]:
    """Texts that follow one another as one."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


class _Match:
    """One place that has a shape: its groups, unquoted, and the headings of the cards."""

    def __init__(self, found: re.Match[str], headings: Mapping[str, str]) -> None:
        self._found, self._headings = found, headings

    def __getitem__(self, name: str) -> str:
        return self._found[name] or ""

    def text(self, name: str) -> str:
        """A quoted text as it reads."""
        return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), self[name])

    def has_card(self) -> bool:
        return self["alias"] in self._headings

    def of_card(self, label: str) -> str:
        """Among several cards a label begins with the card's heading."""
        return label if len(self._headings) == 1 else f"{self._headings[self['alias']]} · {label}"


@dataclass(frozen=True, slots=True)
class _Shape:
    """`label`: of a match; None where it only looks like a field."""

    pattern: re.Pattern[str]
    label: Callable[[_Match], str | None]


def _aggregate_label(found: _Match) -> str | None:
    if not found.has_card() or not _is_days(found):
        return None
    what = aggregate_label(found["measure"], found.text("column"))
    return found.of_card(_of_days(found, what) + _styled(found["style"]))


def _count_label(found: _Match) -> str | None:
    if not found.has_card() or not _is_days(found):
        return None
    return found.of_card(_of_days(found, _("number of rows")) + _styled(found["style"]))


def _change_label(found: _Match) -> str | None:
    if not found.has_card() or found["against"] not in AGAINST:
        return None
    what = aggregate_label(found["measure"] or "sum", found.text("column"))
    return found.of_card(change_label(what, found["against"]))


def _date_label(found: _Match) -> str | None:
    if found["name"] not in _named_days():
        return None
    return day_label(found["name"])


def _latest_label(found: _Match) -> str | None:
    return found.of_card(day_label("latest")) if found.has_card() else None


def _ranking_label(found: _Match) -> str | None:
    if not found.has_card() or not _is_days(found) or not 0 < int(found["count"]) <= RANKING_ROWS_AT_MOST:
        return None
    what = ranking_label(found["order"], int(found["count"]), found.text("name"), found.text("number"))
    return found.of_card(_of_days(found, what))


def _field_label(found: _Match) -> str | None:
    """Of what came into an inbound channel, which has no columns: the field by its place."""
    if not found.has_card() or found["alias"] != PAYLOAD:
        return None
    return found.text("field").lstrip(".").replace("['", ".").replace("']", "").lstrip(".") + _styled(found["style"])


def _is_days(found: _Match) -> bool:
    days = found["days"] or found["period"]
    same = found["latest_alias"] == found["alias"] and found["latest_column"] == found["day_column"]
    return (not days or days in (_DAYS if found["days"] else PERIODS)) and (not found["latest_alias"] or same)


def _of_days(found: _Match, what: str) -> str:
    days = found["days"] or found["period"] or ("latest" if found["latest_alias"] else "")
    return f"{day_label(days)} {what}" if days else what


def _quoted_group(name: str) -> str:
    return _LITERAL.replace("(", f"(?P<{name}>", 1)


_ALIAS = _NAME.replace("(", "(?P<alias>", 1)
_STYLE = rf"(?:\|(?P<style>{'|'.join(filter(None, _FORMATS))}))?"
_ROWS = (
    rf"{_ALIAS}(?:\.on\((?:(?P<days>[a-z_]+)|{_NAME.replace('(', '(?P<latest_alias>', 1)}\.latest\("
    rf"{_quoted_group('latest_column')}\)), {_quoted_group('day_column')}\)"
    rf"|\.within\((?P<period>[a-z_0-9]+), {_LITERAL}\))?"
)
_SHAPES = (
    _Shape(
        re.compile(
            rf"\{{\{{ {_ALIAS}(?P<field>(?:\.[A-Za-z]\w*|\[\d+\]|\[{_LITERAL}\])+){_STYLE} \}}\}}",
        ),
        _field_label,
    ),
    _Shape(
        re.compile(rf"\{{\{{ {_ROWS}\.(?P<measure>sum|avg|min|max)\({_quoted_group('column')}\){_STYLE} \}}\}}"),
        _aggregate_label,
    ),
    _Shape(re.compile(rf"\{{\{{ {_ROWS}\.count{_STYLE} \}}\}}"), _count_label),
    _Shape(
        re.compile(
            rf"\{{\{{ {_ALIAS}\.change\({_quoted_group('column')}, '(?P<against>[a-z]+)', by={_LITERAL}"
            r"(?:, of='(?P<measure>avg|min|max)')?\) \}\}"
        ),
        _change_label,
    ),
    _Shape(re.compile(rf"\{{\{{ (?P<name>[a-z_0-9]+)(?:\|date\({_LITERAL}\))? \}}\}}"), _date_label),
    _Shape(re.compile(rf"\{{\{{ {_ALIAS}\.latest\({_LITERAL}\)(?:\|date\({_LITERAL}\))? \}}\}}"), _latest_label),
    _Shape(
        re.compile(
            rf"\{{% for row in {_ROWS}\.(?P<order>top|bottom)"
            rf"\((?P<count>\d{{1,2}}), {_quoted_group('number')}\)\.rows %\}}"
            r"(?:\{\{ '—' if row\['(?P=number)'\] is empty else loop\.index ~ '\.' \}\}|\{\{ loop\.index \}\}\.) "
            rf"\{{\{{ row\[{_quoted_group('name')}\] \}}\}} "
            r"\{\{ row\['(?P=number)'\]\|thousands \}\}\n\{% endfor %\}"
        ),
        _ranking_label,
    ),
)


# --- Labels -----------------------------------------------------------------------------------------------------------

_DAYS = (
    "today",
    "yesterday",
    "day_before_yesterday",
    "same_day_last_week",
    "same_day_last_month",
    "same_day_last_year",
)
# Of the periods of `dates.MACROS` those that a list of choices can hold.
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
    text = (
        _("top %(count)d: %(name)s by %(number)s") if order == "top" else _("bottom %(count)d: %(name)s by %(number)s")
    )
    return text % {"count": count, "name": name, "number": number}


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


def _styled(style: str) -> str:
    return {
        "short": _(" (in 万 or 亿)"),
        "percent": _(" (percent)"),
    }.get(style, "")
