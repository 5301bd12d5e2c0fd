"""Starting points of a push: a whole message made from a table's own columns and their kinds. Pure.

    for point in starting_points("sales", "销售日报", table):
        if not point.lacks:
            ...                              # its message form, its templates and its charts work with this table

All texts are written in merge fields (templates.merge_fields), which the push page shows by their labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from django.utils.translation import gettext as _

from integrations.data.figures import adds_up
from integrations.data.table import Column, Kind, Table
from notifications.charts.definition import COLUMNS_AT_MOST, Chart, ChartKind, Sort
from notifications.models import MessageForm
from notifications.reports.templates import merge_fields
from notifications.reports.templates.merge_fields import aggregate, change, date, latest_day, literal, output

# WeCom's cards show one large number and up to six below it; three can be read at a glance.
NUMBERS_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A message to start from. `lacks`: a sentence that says why it does not fit the data; empty if it does."""

    key: str
    label: str
    description: str
    message_form: MessageForm
    title: str = ""
    body: str = ""
    figures: str = ""
    charts: tuple[Chart, ...] = ()
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a table by their use in a message. `day`: empty without a column of days."""

    alias: str
    heading: str
    day: str
    names: list[str]
    numbers: list[Column]
    every: tuple[str, ...]

    @property
    def days(self) -> str:
        return "latest" if self.day else ""


def offered_points() -> list[StartingPoint]:
    """Return the labels and descriptions, before there is any data."""
    return starting_points("card", "", Table((), (), datetime.min.replace(tzinfo=UTC)))


def starting_points(alias: str, heading: str, table: Table) -> list[StartingPoint]:
    """Return the four starting points in order. `alias`: of the card in templates; `heading`: its name for people."""
    names = [column.name for column in table.columns if column.kind is Kind.TEXT]
    numbers = [column for column in table.columns if column.is_numeric]
    columns = _Columns(alias, heading, merge_fields.day_column_of(table), names, numbers, table.names)
    no_columns = "" if table.names else _("This data has no columns.")
    no_numbers = "" if numbers else _("This data has no column of numbers.")
    no_names = "" if names else _("This data has no column of names.")
    no_day = "" if columns.day else _("This data has no column of dates.")
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
    return [point if point.lacks else _fill(point, columns) for point in points]


def _fill(point: StartingPoint, columns: _Columns) -> StartingPoint:
    body = _numbers_text(columns)
    charts: tuple[Chart, ...] = ()
    match point.key:
        case "table":
            body = _("%(count)s rows in all") % {"count": output(merge_fields.row_count(columns.alias), "thousands")}
            others = tuple(name for name in columns.every if name != columns.day)[:COLUMNS_AT_MOST]
            order = Sort.LARGEST if columns.day else Sort.AS_IS
            charts = (Chart(ChartKind.TABLE, columns.day, others, sort=order),)
        case "trend":
            charts = (Chart(ChartKind.LINE, columns.day, (columns.numbers[0].name,)),)
        case "ranking":
            name, number = columns.names[0], columns.numbers[0].name
            body = merge_fields.ranking(columns.alias, name, number, days=columns.days, day_column=columns.day)
            charts = (Chart(ChartKind.BAR, name, (number,), sort=Sort.LARGEST),)
    return replace(point, title=_title(columns), body=body, figures=_figures(columns), charts=charts)


def _title(columns: _Columns) -> str:
    if not columns.day:
        return literal(columns.heading)
    day = date(latest_day(columns.alias, columns.day), merge_fields.usual_date_pattern())
    return f"{literal(columns.heading)} {day}"


def _figures(columns: _Columns) -> str:
    """Write a line `name: number` for each number."""
    return "\n".join(
        f"{literal(_without_colons(number.name))}: {_figure(columns, number)}"
        for number in columns.numbers[:NUMBERS_AT_MOST]
    )


def _numbers_text(columns: _Columns) -> str:
    """Write a line for each number, with its change against the day before if there are days."""
    lines = []
    for number in columns.numbers[:NUMBERS_AT_MOST]:
        line = f"{literal(number.name)} {_figure(columns, number)}"
        if columns.day:
            day = {"against": "day", "day_column": columns.day, "measure": _measure(number)}
            line += f" {literal(_('vs the day before'))} {output(change(columns.alias, number.name, **day))}"
        lines.append(line)
    return "\n".join(lines)


def _figure(columns: _Columns, number: Column) -> str:
    figure = aggregate(columns.alias, _measure(number), number.name, days=columns.days, day_column=columns.day)
    return output(figure, "thousands")


def _measure(number: Column) -> str:
    """Return the proposed aggregate of a column: its total, or the mean if a total means nothing."""
    return "sum" if adds_up(number) else "avg"


def _without_colons(name: str) -> str:
    """Remove colons, because one separates the name of a key figure from its number."""
    return " ".join(name.replace(":", " ").replace("：", " ").split())  # noqa: RUF001  # both
