"""The definition of a chart, and the points into which a table's rows are aggregated for it. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db.models import TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext, pgettext_lazy

from integrations.core.sentences import Sentence, SentenceError
from integrations.data.figures import average, in_zone, is_unknown, make_comparison_key, total
from integrations.data.table import NUMERIC, Kind, Month, Table, Value
from notifications.charts.drawing import (
    JAVASCRIPT_NAMES,
    cut_to_width,
    lay_out_legend,
    make_distinct_labels,
    to_drawable,
    to_one_line,
    write_moment,
)

# More lines or parts could not be distinguished: the rest is combined into one, 其他 (others).
SERIES_AT_MOST = 6
PARTS_AT_MOST = 7
TOP = 10
TOP_AT_MOST = 20
# Columns in the picture of a table.
COLUMNS_AT_MOST = 6


class ChartKind(TextChoices):
    LINE = "line", gettext_lazy("line")
    AREA = "area", pgettext_lazy("chart", "area")
    BAR = "bar", gettext_lazy("bars")
    STACKED = "stacked", gettext_lazy("stacked bars")
    PIE = "pie", gettext_lazy("pie")
    DONUT = "donut", gettext_lazy("donut")
    TABLE = "table", gettext_lazy("picture of a table")
    NUMBER = "number", gettext_lazy("one large number")


class Sort(TextChoices):
    """The order of bars, parts and rows. Times always go from left to right."""

    AS_IS = "as_is", gettext_lazy("as in the data")
    LARGEST = "largest", gettext_lazy("the largest first")
    SMALLEST = "smallest", gettext_lazy("the smallest first")
    NAME = "name", gettext_lazy("by name")


class Aggregate(TextChoices):
    """The way several rows at one place of a chart become one value."""

    SUM = "sum", gettext_lazy("sum")
    AVERAGE = "average", gettext_lazy("average")
    MAXIMUM = "maximum", gettext_lazy("maximum")
    MINIMUM = "minimum", gettext_lazy("minimum")
    COUNT = "count", gettext_lazy("number of rows")


class ChartError(SentenceError, ValueError):
    """The data cannot be drawn as this chart."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `x`, `y`, `series`: names of columns. Several `y` are several lines, bars or table columns; with a
    `series` there is one `y`. `unit`: shown behind the numbers instead of the column's unit. `top`: how many bars,
    parts or rows are shown by themselves, the rest together; at most PARTS_AT_MOST in a pie or donut. `thresholds`:
    values marked by lines across a line, area or bar chart that has no series."""

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
_ONE_VALUE_COLUMN = ROUND | {ChartKind.NUMBER}


def check_chart(chart: Chart, table: Table) -> None:
    """Raise ChartError if the chart lacks a column, or names one that is missing or has no numbers to compute with."""
    if not chart.y and chart.kind != ChartKind.TABLE:
        raise ChartError(Sentence("The chart has no column of values."))
    if not chart.x and chart.kind in _NEEDS_X:
        raise ChartError(Sentence("The chart has no column for its axis."))
    kinds = {column.name: column.kind for column in table.columns}
    for name in (chart.x, chart.series, *chart.y):
        if name and name not in kinds:
            raise ChartError(Sentence("The data has no column “%(name)s”.") % {"name": name})
    if chart.kind != ChartKind.TABLE and chart.aggregate != Aggregate.COUNT:
        for name in chart.y:
            if kinds[name] not in NUMERIC and table.is_kind_known(name):
                raise ChartError(Sentence("The column “%(name)s” holds no numbers.") % {"name": name})
    if len(chart.y) > 1 and (chart.series or chart.kind in _ONE_VALUE_COLUMN):
        raise ChartError(Sentence("This chart shows one column of values only."))


def to_document(chart: Chart) -> dict[str, Any]:
    """Return the chart as a JSON document for `from_document`."""
    return asdict(chart)


def from_document(document: Mapping[str, Any]) -> Chart:
    """Return the chart that `to_document` made a document of."""
    types: dict[str, Callable[[Any], Any]] = {"kind": ChartKind, "sort": Sort, "aggregate": Aggregate}
    types |= {"y": tuple, "thresholds": tuple}
    return Chart(**{**document, **{name: make(document[name]) for name, make in types.items() if name in document}})


# The most places along an axis. If there are more, times get a longer unit, and the first names are left out.
POINTS_AT_MOST = 120
TIMED_BARS_AT_MOST = 31
# Slightly less than the room of a name, so that the renderer never cuts a name that fits.
LABEL_PIXELS = 100
_DAY = 24 * 60 * 60 * 1000


class TimeUnit(StrEnum):
    """The span of time of one place on a time axis."""

    MOMENT = "moment"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Point:
    """A value in a chart. `place`: milliseconds of UTC on a time axis, else a label. `value`: None if unknown."""

    place: str | int
    series: str
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class ChartPoints:
    """The points of a chart, its `places` (None on a time axis) and `series` in order. `time_unit`: the span of a place
    on a time axis. `rest`: the name of the place or series that combines the smaller ones. `negatives`: the values
    below zero, which a pie or donut does not show."""

    points: list[Point]
    places: list[str] | None
    series: list[str]
    notes: list[str]
    time_unit: TimeUnit | None = None
    rest: str = ""
    negatives: Sequence[Decimal] = ()


_AGGREGATORS: dict[Aggregate, Callable[[Sequence[Decimal]], Decimal | None]] = {
    Aggregate.SUM: total,
    Aggregate.AVERAGE: average,
    Aggregate.MAXIMUM: lambda numbers: max(numbers, default=None),
    Aggregate.MINIMUM: lambda numbers: min(numbers, default=None),
    Aggregate.COUNT: lambda numbers: Decimal(len(numbers)),
}


def compute_figure(aggregate: Aggregate, numbers: Sequence[Decimal]) -> Decimal | None:
    """Return the aggregate of the numbers; None if there are none, or it is too large to be drawn."""
    return to_drawable(_AGGREGATORS[aggregate](numbers))


Place = str | int
# Maps place and series, in order of first appearance, to the known values of their rows; a counted row is a 1.
Groups = dict[tuple[Place, str], list[Decimal]]


def _sum_figures(groups: Groups, chart: Chart, *, of_series: bool = False, is_size: bool = False) -> dict[Any, Any]:
    """Return for each place, or each series, the sum of its groups' aggregates. `is_size`: of their absolute values."""
    found: dict[Any, list[Decimal]] = {}
    for key, numbers in groups.items():
        values, value = found.setdefault(key[1] if of_series else key[0], []), compute_figure(chart.aggregate, numbers)
        if value is not None:
            values.append(abs(value) if is_size else value)
    return {key: total(values) for key, values in found.items()}


def _rename_groups(groups: Groups, name: Callable[[Place, str], tuple[Place, str]]) -> Groups:
    found: Groups = defaultdict(list)
    for key, numbers in groups.items():
        found[name(*key)] += numbers
    return found


def build_points(chart: Chart, table: Table, *, top_at_most: int = TOP_AT_MOST) -> ChartPoints:
    """Return the points of a chart with an axis or parts. Raises ChartError if there is nothing to draw."""
    unit = None
    if table.find_column(chart.x).is_temporal and chart.kind not in ROUND:
        # The finest unit in which the times fit side by side. Days often come as moments at midnight.
        times = {value for value in table.list_values(chart.x) if isinstance(value, date)}
        has_clock = any(_to_wall_clock(value) != _floor_moment(value, TimeUnit.DAY) for value in times)
        units = [*([TimeUnit.MOMENT, TimeUnit.HOUR] if has_clock else []), TimeUnit.DAY, TimeUnit.WEEK, TimeUnit.MONTH]
        units = [TimeUnit.MONTH] if _has_only_months(times) else units
        limit = TIMED_BARS_AT_MOST if chart.kind in {ChartKind.BAR, ChartKind.STACKED} else POINTS_AT_MOST
        fitting = (one for one in units if len({_floor_moment(value, one) for value in times}) <= limit)
        unit = next(fitting, TimeUnit.YEAR)
    groups = _group_rows(chart, table, unit)
    if not any(groups.values()):
        raise ChartError(Sentence("There is nothing to draw: the data has no row with a value."))
    notes: list[str] = []
    negatives: list[Decimal] = []
    if chart.kind in ROUND:
        figures = {key: compute_figure(chart.aggregate, numbers) for key, numbers in groups.items()}
        negatives = [value for value in figures.values() if value is not None and value < 0]
        groups = {key: groups[key] for key, value in figures.items() if value is None or value >= 0}
    # 其他, or a variant of it that the data does not use.
    rest = _("others")
    while any(rest in key for key in groups):
        rest += "…"
    if len({name for _place, name in groups}) > SERIES_AT_MOST:
        sizes = _sum_figures(groups, chart, of_series=True, is_size=True)
        kept = set(_rank_places(sizes)[: SERIES_AT_MOST - 1])
        notes.append(_describe_rest(len(sizes) - len(kept), chart.series, rest))
        groups = _rename_groups(groups, lambda place, name: (place, name if name in kept else rest))
    series = list(dict.fromkeys(name for _place, name in groups))
    if unit is not None:
        if unit not in {TimeUnit.MOMENT, TimeUnit.DAY} and not (
            unit is TimeUnit.MONTH and _has_only_months(table.list_values(chart.x))
        ):
            notes.append(_TIME_UNIT_NOTES[unit]() % {"counting": _AGGREGATE_NAMES[chart.aggregate]()})
        places: list[str] | None = None
    else:
        top = min(chart.top, top_at_most, PARTS_AT_MOST if chart.kind in ROUND else TOP_AT_MOST)
        groups, places = _limit_places(chart, groups, rest, top, notes)
    notes += _write_cut_notes(table)
    points, place_labels, series_labels = _make_points(chart, groups, places, series, rest)
    return ChartPoints(points, place_labels, series_labels, notes, unit, rest, negatives)


def aggregate_places(chart: Chart, table: Table) -> tuple[list[Decimal | None], list[str]]:
    """Return the aggregate of each place along the axis, and notes. Times are in ascending order, names in the order of
    the data. Without a column for the axis, all rows are at one place.

    Times are not grouped into weeks or months, so the last value is that of the last day alone. Rows after the data's
    day are plans, and left out.
    """
    is_timed = bool(chart.x) and table.find_column(chart.x).is_temporal
    groups = _group_rows(replace(chart, series=""), table, TimeUnit.MOMENT if is_timed else None)
    order = [place for place, _series in groups]
    if is_timed:
        end = _to_milliseconds(_floor_moment(table.as_of, TimeUnit.DAY)) + _DAY
        order = sorted((place for place in order if _to_number(place) < end), key=_to_number)
    return [compute_figure(chart.aggregate, groups[place, ""]) for place in order], _write_cut_notes(table)


def is_planned(value: Value, table: Table) -> bool:
    """Return whether a day or time is after the data's day, so that its row is a plan."""
    today = _floor_moment(table.as_of, TimeUnit.DAY)
    return isinstance(value, date) and _to_wall_clock(value) >= today + timedelta(days=1)


def find_number_format(chart: Chart, table: Table) -> tuple[str, int | None]:
    """Return the unit of the chart's numbers and their number of decimals; None: up to two."""
    # A count has no unit.
    names = () if chart.aggregate == Aggregate.COUNT else chart.y
    columns = [column for column in table.columns if column.name in names]
    units = {"%" if column.kind is Kind.PERCENT else column.unit for column in columns}
    decimals = {column.decimals for column in columns}
    decimal_count = decimals.pop() if len(decimals) == 1 else None
    if chart.aggregate == Aggregate.AVERAGE:
        decimal_count = decimal_count or None  # averages of whole numbers may have decimals
    return to_one_line(chart.unit or (units.pop() if len(units) == 1 else ""), 20), decimal_count


def _write_cut_notes(table: Table) -> list[str]:
    return [_("The data was longer than what is fetched at most")] if table.is_cut else []


def _write_name(value: Value) -> str:
    """Return the text at an axis or in a legend, in full length."""
    if isinstance(value, bool):
        return pgettext("value", "yes") if value else pgettext("value", "no")
    text = write_moment(value) if isinstance(value, datetime) else "" if value is None else str(value)
    return to_one_line(text, len(text) + 1) or _("(empty)")


def _find_group_name(value: Value, names: dict[Value, str]) -> str:
    """Return the name of a value's group: the text of the group's first value. `names`: the names so far, by value and
    by comparison key."""
    if value not in names:
        key = make_comparison_key(value, timezone.get_current_timezone())
        names[value] = names.setdefault(key, _write_name(None if key is None else value))
    return names[value]


def _group_rows(chart: Chart, table: Table, unit: TimeUnit | None) -> Groups:
    at, values_at = (
        table.find_position(chart.x) if chart.x else None,
        [(name, table.find_position(name)) for name in chart.y],
    )
    series_at = table.find_position(chart.series) if chart.series else None
    is_count, is_single = chart.aggregate == Aggregate.COUNT, len(values_at) == 1
    place_names: dict[Value, str] = {}
    series_names: dict[Value, str] = {}
    groups: Groups = defaultdict(list)
    for row in table.rows:
        place: Place = ""
        if at is not None:
            value = row[at]
            if unit is None:
                place = _find_group_name(value, place_names)
            elif isinstance(value, date):
                place = _to_milliseconds(_floor_moment(value, unit))
            else:
                continue
        named = "" if series_at is None else _find_group_name(row[series_at], series_names)
        for name, position in values_at:
            numbers = groups[place, named if is_single else _write_name(name)]
            number = to_drawable((None if is_unknown(row[position]) else 1) if is_count else row[position])
            if number is not None:
                numbers.append(number)
    return groups


def _to_wall_clock(value: date) -> datetime:
    """Return the wall clock time that people read, as if it were UTC."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return in_zone(value, timezone.get_current_timezone()).replace(tzinfo=UTC)


def _floor_moment(value: date, unit: TimeUnit) -> datetime:
    moment = _to_wall_clock(value)
    if unit is TimeUnit.MOMENT:
        return moment
    if unit is TimeUnit.HOUR:
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit is TimeUnit.WEEK:  # the first days of year 1 have no Monday before them
        return day - timedelta(days=min(day.weekday(), day.toordinal() - 1))
    if unit is TimeUnit.YEAR:
        return day.replace(month=1, day=1)
    return day.replace(day=1) if unit is TimeUnit.MONTH else day


def _to_milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _has_only_months(values: Iterable[Value]) -> bool:
    return all(value is None or isinstance(value, Month) for value in values)


_TIME_UNIT_NOTES: dict[TimeUnit, Callable[[], str]] = {
    TimeUnit.HOUR: lambda: _("%(counting)s of each hour"),
    TimeUnit.WEEK: lambda: _("%(counting)s of each week"),
    TimeUnit.MONTH: lambda: _("%(counting)s of each month"),
    TimeUnit.YEAR: lambda: _("%(counting)s of each year"),
}
_AGGREGATE_NAMES: dict[Aggregate, Callable[[], str]] = {
    Aggregate.SUM: lambda: pgettext("of a chart's place", "sum"),
    Aggregate.AVERAGE: lambda: pgettext("of a chart's place", "average"),
    Aggregate.MAXIMUM: lambda: pgettext("of a chart's place", "maximum"),
    Aggregate.MINIMUM: lambda: pgettext("of a chart's place", "minimum"),
    Aggregate.COUNT: lambda: pgettext("of a chart's place", "number of rows"),
}


def _limit_places(chart: Chart, groups: Groups, rest: str, top: int, notes: list[str]) -> tuple[Groups, list[str]]:
    """Keep the last POINTS_AT_MOST places of a line or area, and the `top` largest of other charts, with the rest as
    one place. Return the groups and the places in order. Adds to `notes`."""
    figures = _sum_figures(groups, chart)
    places = list(figures)
    if chart.kind in {ChartKind.LINE, ChartKind.AREA}:
        ordered = _order_places(chart.sort, places, figures)
        if len(ordered) > POINTS_AT_MOST:
            notes.append(_("the last %(count)d of %(total)d") % {"count": POINTS_AT_MOST, "total": len(ordered)})
            ordered = ordered[-POINTS_AT_MOST:]
        return groups, ordered
    if len(places) <= top:
        return groups, _order_places(chart.sort, places, figures)
    sizes = figures if chart.sort == Sort.LARGEST else _sum_figures(groups, chart, is_size=True)
    kept = set(_rank_places(sizes)[:top])
    notes.append(_describe_rest(len(places) - top, chart.x, rest))
    groups = _rename_groups(groups, lambda place, series: (place if place in kept else rest, series))
    return groups, [*_order_places(chart.sort, [place for place in places if place in kept], figures), rest]


def _describe_rest(count: int, name: str, rest: str) -> str:
    words = {"count": count, "name": cut_to_width(_write_name(name), LABEL_PIXELS), "rest": rest}
    return _("%(count)d of %(name)s count as “%(rest)s”") % words


def _rank_places(figures: Mapping[Any, Decimal | None], *, is_descending: bool = True) -> list[Any]:
    """Return places by value; equal ones keep their order, unknown ones come last."""
    known = {place: value for place, value in figures.items() if value is not None}
    return [
        *sorted(known, key=known.__getitem__, reverse=is_descending),
        *(place for place in figures if place not in known),
    ]


def _order_places(sort: Sort, places: Sequence[Any], figures: Mapping[Any, Decimal | None]) -> list[str]:
    if sort in {Sort.LARGEST, Sort.SMALLEST}:
        return _rank_places({place: figures[place] for place in places}, is_descending=sort == Sort.LARGEST)
    return sorted(places, key=str) if sort == Sort.NAME else list(places)


def _make_points(
    chart: Chart, groups: Groups, places: Sequence[str] | None, series: Sequence[str], rest: str
) -> tuple[list[Point], list[str] | None, list[str]]:
    """Return the points, the labels of the places (None on a time axis), and the labels of the series, rest last."""
    # Names are shortened to the room that they have, each distinct. The rest comes first, so it keeps its name.
    place_labels = make_distinct_labels([rest, *(places or ())], LABEL_PIXELS)
    ordered = sorted(series, key=lambda name: name == rest)
    series_labels = {
        # The renderer groups by labels. A name of JavaScript's own properties would fail: it gets an invisible space.
        name: f"{label} " if label in JAVASCRIPT_NAMES else label
        for name, label in make_distinct_labels([rest, *ordered], lay_out_legend(ordered)[1], keeps_ends=True).items()
    }
    order = sorted({place for place, _series in groups}, key=_to_number) if places is None else places
    # Areas are stacked, so a missing value counts as 0: otherwise the areas above it would have a gap.
    is_filled = chart.kind in {ChartKind.AREA, ChartKind.STACKED} and len(series) > 1
    points = []
    for place in order:
        for name in series:
            numbers = groups.get((place, name))
            if numbers is not None or is_filled:
                value = compute_figure(chart.aggregate, numbers or [])
                label = place_labels[place] if isinstance(place, str) else place
                points.append(Point(label, series_labels[name], Decimal(0) if value is None and is_filled else value))
    labels = None if places is None else [place_labels[place] for place in places]
    return points, labels, [series_labels[name] for name in ordered]


def _to_number(place: str | int) -> int:
    """Return the milliseconds of a place on a time axis, for sorting; 0 for a label."""
    return place if isinstance(place, int) else 0
