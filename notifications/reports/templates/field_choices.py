"""What can be inserted into a title or a text of a push: the merge fields that a card's table offers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from integrations.data.figures import adds_up
from integrations.data.table import Column, Kind, Table
from notifications.reports.templates.merge_fields import (
    AGAINST,
    PERIODS,
    RANKING_ROWS,
    Field,
    aggregate,
    aggregate_label,
    change,
    change_label,
    date,
    day_label,
    latest_day,
    ranking,
    ranking_label,
    row_count,
    shown,
)

# Of a wide table the first columns are offered with days and comparisons, and fewer as rankings: a list of thousands of
# choices helps nobody. Whoever needs another one writes it as a template.
COLUMNS_COMBINED = 20
COLUMNS_RANKED = 5


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields that belong together. `is_number`: one of `formats` may take the place of `thousands`."""

    label: str
    fields: tuple[Field, ...]
    is_number: bool = False


def formats() -> list[tuple[str, str]]:
    """The formats that a number may be inserted with: its name in templates, and how it is called. 万 and 亿 are for
    who reads Chinese."""
    in_wan = [("short", _("in 万 or 亿, by its size"))] if _is_chinese() else []
    return [("thousands", _("1,234.5")), *in_wan, ("percent", _("percent (0.12 is 12%)")), ("", _("as it is"))]


def groups_of(table: Table, alias: str) -> list[FieldGroup]:
    """What can be inserted of a card's table, the most usual first."""
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
    if names := [column.name for column in table.columns if column.kind is Kind.TEXT]:
        groups.append(
            FieldGroup(
                _("Rankings"),
                tuple(_rankings(alias, names[:COLUMNS_RANKED], [one.name for one in numbers[:COLUMNS_RANKED]], day)),
            )
        )
    return [group for group in groups if group.fields]


def day_fields(tables: Mapping[str, Table]) -> FieldGroup:
    """Days and times, which need no data; and the latest day of each card that has one column of days."""
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
    return "M月D日" if _is_chinese() else "D.M."


def _is_chinese() -> bool:
    return (get_language() or "").startswith("zh")


def day_column_of(table: Table) -> str:
    """The first column of days or moments; empty where there is none."""
    return next((column.name for column in table.columns if column.is_temporal), "")


def _aggregates(alias: str, numbers: list[Column], days: str, day: str) -> tuple[Field, ...]:
    lead = f"{day_label(days)} " if days else ""
    found = [
        Field(
            lead + aggregate_label(measure, column.name),
            shown(aggregate(alias, measure, column.name, days=days, day_column=day), "thousands"),
        )
        for column in numbers
        for measure in (("sum", "avg", "max", "min") if adds_up(column) else ("avg", "max", "min"))
    ]
    count = Field(lead + _("number of rows"), shown(row_count(alias, days=days, day_column=day), "thousands"))
    return (*found, count)


def _changes(alias: str, numbers: list[Column], day: str) -> Iterator[Field]:
    for column in numbers:
        for against in AGAINST:
            measure = "sum" if adds_up(column) else "avg"
            label = change_label(aggregate_label(measure, column.name), against)
            yield Field(label, shown(change(alias, column.name, against=against, day_column=day, measure=measure)))


def _rankings(alias: str, names: list[str], numbers: list[str], day: str) -> Iterator[Field]:
    """Of the latest day, where there are days: of several, names would come more than once."""
    days, lead = ("latest", f"{day_label('latest')} ") if day else ("", "")
    for name in names:
        for number in numbers:
            for order in ("top", "bottom"):
                label = lead + ranking_label(order, RANKING_ROWS, name, number)
                yield Field(label, ranking(alias, name, number, order=order, days=days, day_column=day))
