"""Definition of a chart: kind, columns, aggregate, sorting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from integrations.core.sentences import Sentence, SentenceError
from integrations.data.table import NUMERIC, Table

# More lines or parts than these nobody tells apart: the rest is one, 其他.
SERIES_AT_MOST = 6
PARTS_AT_MOST = 7
TOP = 10
TOP_AT_MOST = 20
COLUMNS_AT_MOST = 6


class ChartKind(StrEnum):
    LINE = "line"
    AREA = "area"
    BAR = "bar"
    STACKED = "stacked"
    PIE = "pie"
    DONUT = "donut"
    TABLE = "table"
    NUMBER = "number"


class Sort(StrEnum):
    """The order of bars, parts and rows. Times always go from left to right."""

    AS_IS = "as_is"
    LARGEST = "largest"
    SMALLEST = "smallest"
    NAME = "name"


class Aggregate(StrEnum):
    """What becomes of several rows that stand at the same place of a chart."""

    SUM = "sum"
    AVERAGE = "average"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    COUNT = "count"


class ChartError(SentenceError, ValueError):
    """This data cannot be drawn so."""


@dataclass(frozen=True, slots=True)
class Chart:
    """`x`, `y`, `series`: names of columns. `y`: several are several lines, bars or columns of the table; only one
    beside a `series`. `unit`: behind the numbers, else the column's own. `top`: how many bars, parts or rows before
    the rest is one; of a pie or a donut no more than PARTS_AT_MOST. `thresholds`: lines across a line, an area or bars
    without a series."""

    kind: ChartKind
    x: str = ""
    y: tuple[str, ...] = ()
    series: str = ""
    unit: str = ""
    top: int = TOP
    sort: Sort = Sort.AS_IS
    aggregate: Aggregate = Aggregate.SUM
    title: str = ""
    thresholds: tuple[float, ...] = ()


_NEEDS_X = frozenset({ChartKind.LINE, ChartKind.AREA, ChartKind.BAR, ChartKind.STACKED, ChartKind.PIE, ChartKind.DONUT})
ROUND = frozenset({ChartKind.PIE, ChartKind.DONUT})
_ONE_VALUE = ROUND | {ChartKind.NUMBER}


def check(chart: Chart, table: Table) -> None:
    """Raises ChartError where the chart names columns that the table does not have, or cannot count with."""
    if not chart.y and chart.kind != ChartKind.TABLE:
        raise ChartError(Sentence("The chart has no column of values."))
    if not chart.x and chart.kind in _NEEDS_X:
        raise ChartError(Sentence("The chart has no column to stand along its axis."))
    kinds = {column.name: column.kind for column in table.columns}
    for name in (chart.x, chart.series, *chart.y):
        if name and name not in kinds:
            raise ChartError(Sentence("The data has no column “%(name)s”.") % {"name": name})
    if chart.kind != ChartKind.TABLE and chart.aggregate != Aggregate.COUNT:
        for name in chart.y:
            if kinds[name] not in NUMERIC and table.is_kind_known(name):
                raise ChartError(Sentence("The column “%(name)s” holds no numbers.") % {"name": name})
    if len(chart.y) > 1 and (chart.series or chart.kind in _ONE_VALUE):
        raise ChartError(Sentence("This chart shows one column of values only."))


def to_document(chart: Chart) -> dict[str, Any]:
    """As a row keeps it; `from_document` gives it back."""
    document: dict[str, Any] = {
        "kind": chart.kind.value,
        "x": chart.x,
        "y": list(chart.y),
        "series": chart.series,
        "unit": chart.unit,
        "top": chart.top,
        "sort": chart.sort.value,
        "aggregate": chart.aggregate.value,
        "title": chart.title,
    }
    # Left out where there is none: the recipes of charts without one stay as they were.
    return document | ({"thresholds": list(chart.thresholds)} if chart.thresholds else {})


def from_document(document: Mapping[str, Any]) -> Chart:
    """A chart that `to_document` wrote."""
    return Chart(
        kind=ChartKind(document["kind"]),
        x=document.get("x", ""),
        y=tuple(document.get("y", ())),
        series=document.get("series", ""),
        unit=document.get("unit", ""),
        top=document.get("top", TOP),
        sort=Sort(document.get("sort", Sort.AS_IS)),
        aggregate=Aggregate(document.get("aggregate", Aggregate.SUM)),
        title=document.get("title", ""),
        thresholds=tuple(document.get("thresholds", ())),
    )
