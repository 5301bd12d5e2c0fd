"""Aggregates a table's rows into the points of a chart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from integrations.core.sentences import Sentence
from integrations.data.table import Kind, Table, Value
from notifications.charts.definition import (
    PARTS_AT_MOST,
    ROUND,
    SERIES_AT_MOST,
    TOP_AT_MOST,
    Aggregate,
    Chart,
    ChartError,
    ChartKind,
    Sort,
)
from notifications.charts.labels import distinct_labels, number_of, one_line, series_label, shown_within

# More places than these along an axis are counted together (times) or cut off (others).
POINTS_AT_MOST = 120
TIMED_BARS_AT_MOST = 31
# Names have a little more room: the renderer cuts none that was made to fit.
LABEL_PIXELS = 100


class Unit(StrEnum):
    """What one place on a time axis stands for."""

    MOMENT = "moment"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Point:
    """`place`: milliseconds of UTC on a time axis, else a label. `value` is None where the row had none."""

    place: str | int
    series: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Shaped:
    """`places` and `series` in their order; `rest` is the name under which what was left out is counted together.
    `negative_count`, `negative_sum`: of the parts of a whole that are none, since they are below zero."""

    points: list[Point]
    places: list[str] | None
    series: list[str]
    notes: list[str]
    unit: Unit | None = None
    rest: str = ""
    negative_count: int = 0
    negative_sum: float = 0.0


@dataclass(slots=True)
class _Sum:
    total: float = 0.0
    count: int = 0
    largest: float = float("-inf")
    smallest: float = float("inf")

    def add(self, number: float) -> None:
        self.total += number
        self.count += 1
        self.largest, self.smallest = max(self.largest, number), min(self.smallest, number)

    def join(self, other: _Sum) -> None:
        self.total += other.total
        self.count += other.count
        self.largest, self.smallest = max(self.largest, other.largest), min(self.smallest, other.smallest)

    def value(self, aggregate: Aggregate) -> float | None:
        if aggregate == Aggregate.COUNT:
            return float(self.count)
        if not self.count:
            return None
        match aggregate:
            case Aggregate.SUM:
                found = self.total
            case Aggregate.AVERAGE:
                found = self.total / self.count
            case Aggregate.MAXIMUM:
                found = self.largest
            case _:
                found = self.smallest
        return number_of(found)


@dataclass(slots=True)
class _Groups:
    """What rows come to, by place and series, both in the order in which they first appear."""

    sums: dict[tuple[str | int, str], _Sum] = field(default_factory=dict)
    places: dict[str | int, None] = field(default_factory=dict)
    series: dict[str, None] = field(default_factory=dict)
    unreadable_count: int = 0

    def of(self, place: str | int, series: str) -> _Sum:
        self.places.setdefault(place)
        self.series.setdefault(series)
        return self.sums.setdefault((place, series), _Sum())

    def weight(self, aggregate: Aggregate, *, of_series: bool) -> dict[str | int, float]:
        """How much there is of each place, or of each series, whatever its sign."""
        weights: dict[str | int, float] = dict.fromkeys(self.series if of_series else self.places, 0.0)
        for (place, series), found in self.sums.items():
            weights[series if of_series else place] += abs(found.value(aggregate) or 0.0)
        return weights

    def without_negatives(self, aggregate: Aggregate) -> tuple[_Groups, list[float]]:
        """The parts of a whole, and what those come to that are below zero."""
        found, negatives = _Groups(unreadable_count=self.unreadable_count), []
        for (place, series), its in self.sums.items():
            value = its.value(aggregate)
            if value is not None and value < 0:
                negatives.append(value)
            else:
                found.of(place, series).join(its)
        return found, negatives

    def renamed(self, name: Callable[[str | int, str], tuple[str | int, str]]) -> _Groups:
        found = _Groups(unreadable_count=self.unreadable_count)
        for (place, series), its in self.sums.items():
            found.of(*name(place, series)).join(its)
        return found


def shape(chart: Chart, table: Table, *, top_at_most: int = TOP_AT_MOST) -> Shaped:
    """The points of a chart that has an axis or parts. Raises ChartError where there is nothing to draw."""
    kinds = {column.name: column.kind for column in table.columns}
    is_timed = kinds[chart.x] in {Kind.DATE, Kind.DATETIME} and chart.kind not in ROUND
    unit = _unit(chart, table) if is_timed else None
    groups = _grouped(chart, table, unit)
    if not any(found.count for found in groups.sums.values()):
        raise ChartError(Sentence("There is nothing to draw: the data has no row with a value."))
    notes: list[str] = []
    negatives: list[float] = []
    if chart.kind in ROUND:
        groups, negatives = groups.without_negatives(chart.aggregate)
    rest = _rest_name(groups)
    groups = _few_series(chart, groups, rest, notes)
    if unit is not None:
        if unit not in {Unit.MOMENT, Unit.DAY}:
            notes.append(_UNIT_NOTES[unit]() % {"counting": _COUNTING[chart.aggregate]()})
        places: list[str] | None = None
    else:
        top = min(chart.top, top_at_most, PARTS_AT_MOST if chart.kind in ROUND else TOP_AT_MOST)
        groups, places = _few_places(chart, groups, rest, top, notes)
    notes += _doubts(groups, table)
    found = Shaped(_points(chart, groups, places), places, _series_order(groups, rest), notes, unit, rest)
    return replace(_labelled(found), negative_count=len(negatives), negative_sum=sum(negatives))


def _labelled(shaped: Shaped) -> Shaped:
    """With names that have room, each of which looks like no other."""
    # The rest comes first: it keeps its name.
    places = distinct_labels([shaped.rest, *(shaped.places or ())], LABEL_PIXELS)
    labels = distinct_labels([shaped.rest, *shaped.series], LABEL_PIXELS)
    series = {name: series_label(label) for name, label in labels.items()}
    points = [
        Point(places[point.place] if isinstance(point.place, str) else point.place, series[point.series], point.value)
        for point in shaped.points
    ]
    shown = None if shaped.places is None else [places[place] for place in shaped.places]
    return replace(shaped, points=points, places=shown, series=[series[name] for name in shaped.series])


def along(chart: Chart, table: Table) -> tuple[list[float | None], list[str]]:
    """What the rows of each place come to, and what is to be said about them: times from the first to the last, names
    as they stand. Where no column is along an axis, all rows are at one place.

    No times are counted together here: what the last day came to must not be a week's.
    """
    is_timed = bool(chart.x) and table.columns[table.position(chart.x)].kind in {Kind.DATE, Kind.DATETIME}
    groups = _grouped(replace(chart, series=""), table, Unit.MOMENT if is_timed else None)
    order = sorted(groups.places, key=_number) if is_timed else groups.places
    return [groups.of(place, "").value(chart.aggregate) for place in order], _doubts(groups, table)


def _doubts(groups: _Groups, table: Table) -> list[str]:
    notes = []
    if groups.unreadable_count:
        notes.append(_("Values without a number: %(count)d") % {"count": groups.unreadable_count})
    if table.is_cut:
        notes.append(_("The data was longer than what is fetched at most"))
    return notes


def _name_of(value: Value) -> str:
    """What stands at an axis or in a legend, at whatever length."""
    if isinstance(value, bool):
        return pgettext("value", "yes") if value else pgettext("value", "no")
    if isinstance(value, datetime):
        return f"{_moment(value):%Y-%m-%d %H:%M}"
    text = "" if value is None else str(value)
    return one_line(text, len(text) + 1) or _("(empty)")


def _grouped(chart: Chart, table: Table, unit: Unit | None) -> _Groups:
    groups = _Groups()
    for place, series, value in _cells(chart, table, unit):
        found = groups.of(place, series)
        number = number_of(value)
        if chart.aggregate == Aggregate.COUNT:
            if value is not None:
                found.count += 1
        elif number is not None:
            found.add(number)
        elif value is not None:
            groups.unreadable_count += 1
    return groups


def _cells(chart: Chart, table: Table, unit: Unit | None) -> Iterator[tuple[str | int, str, Value]]:
    at, values_at = table.position(chart.x) if chart.x else None, [(name, table.position(name)) for name in chart.y]
    series_at = table.position(chart.series) if chart.series else None
    is_single = len(values_at) == 1
    for row in table.rows:
        place = "" if at is None else _place(row[at], unit)
        if place is None:
            continue
        named = "" if series_at is None else _name_of(row[series_at])
        for name, position in values_at:
            yield place, named if is_single else _name_of(name), row[position]


def _place(value: Value, unit: Unit | None) -> str | int | None:
    if unit is None:
        return _name_of(value)
    if not isinstance(value, date):
        return None
    return _milliseconds(_floor(value, unit))


def _moment(value: date) -> datetime:
    """The wall clock that people read, as if it were UTC's."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    return local.replace(tzinfo=UTC)


def _floor(value: date, unit: Unit) -> datetime:
    moment = _moment(value)
    match unit:
        case Unit.MOMENT:
            return moment
        case Unit.HOUR:
            return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match unit:
        case Unit.WEEK:
            # The first days of year 1 have no Monday before them.
            return day - timedelta(days=min(day.weekday(), day.toordinal() - 1))
        case Unit.MONTH:
            return day.replace(day=1)
        case Unit.YEAR:
            return day.replace(month=1, day=1)
        case _:
            return day


def _milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _unit(chart: Chart, table: Table) -> Unit:
    """The finest in which the times have room side by side."""
    times = {value for value in table.values(chart.x) if isinstance(value, date)}
    limit = TIMED_BARS_AT_MOST if chart.kind in {ChartKind.BAR, ChartKind.STACKED} else POINTS_AT_MOST
    # Days often come as moments, each of them a midnight.
    has_clock = any(_moment(value) != _floor(value, Unit.DAY) for value in times)
    finest = [Unit.MOMENT, Unit.HOUR] if has_clock else []
    for unit in (*finest, Unit.DAY, Unit.WEEK, Unit.MONTH):
        if len({_floor(value, unit) for value in times}) <= limit:
            return unit
    return Unit.YEAR


_UNIT_NOTES: dict[Unit, Callable[[], str]] = {
    Unit.HOUR: lambda: _("%(counting)s of each hour"),
    Unit.WEEK: lambda: _("%(counting)s of each week"),
    Unit.MONTH: lambda: _("%(counting)s of each month"),
    Unit.YEAR: lambda: _("%(counting)s of each year"),
}
_COUNTING: dict[Aggregate, Callable[[], str]] = {
    Aggregate.SUM: lambda: pgettext("of a chart's place", "sum"),
    Aggregate.AVERAGE: lambda: pgettext("of a chart's place", "average"),
    Aggregate.MAXIMUM: lambda: pgettext("of a chart's place", "maximum"),
    Aggregate.MINIMUM: lambda: pgettext("of a chart's place", "minimum"),
    Aggregate.COUNT: lambda: pgettext("of a chart's place", "number of rows"),
}


def _rest_name(groups: _Groups) -> str:
    """其他, or where the data has one of its own something that is not in it."""
    name = _("others")
    while name in groups.places or name in groups.series:
        name += "…"
    return name


def _few_series(chart: Chart, groups: _Groups, rest: str, notes: list[str]) -> _Groups:
    if len(groups.series) <= SERIES_AT_MOST:
        return groups
    kept = set(_largest(groups.weight(chart.aggregate, of_series=True), SERIES_AT_MOST - 1))
    left = len(groups.series) - len(kept)
    notes.append(_("%(count)d of %(name)s count as “%(rest)s”") % _counted(left, chart.series, rest))
    return groups.renamed(lambda place, series: (place, series if series in kept else rest))


def _few_places(chart: Chart, groups: _Groups, rest: str, top: int, notes: list[str]) -> tuple[_Groups, list[str]]:
    places = list(groups.places)
    if chart.kind in {ChartKind.LINE, ChartKind.AREA}:
        return _last_places(chart, groups, places, notes)
    weights = groups.weight(chart.aggregate, of_series=False)
    has_rest = len(places) > top
    if has_rest:
        kept = set(_largest(weights, top))
        notes.append(_("%(count)d of %(name)s count as “%(rest)s”") % _counted(len(places) - top, chart.x, rest))
        groups = groups.renamed(lambda place, series: (place if place in kept else rest, series))
        places = [place for place in places if place in kept]
    ordered = [str(place) for place in _ordered(chart.sort, places, weights)]
    return groups, [*ordered, rest] if has_rest else ordered


def _last_places(chart: Chart, groups: _Groups, places: list[str | int], notes: list[str]) -> tuple[_Groups, list[str]]:
    """A line that is no line in time: what is too long for it is cut off before its last places."""
    ordered = [str(place) for place in _ordered(chart.sort, places, groups.weight(chart.aggregate, of_series=False))]
    if len(ordered) > POINTS_AT_MOST:
        notes.append(_("the last %(count)d of %(total)d") % {"count": POINTS_AT_MOST, "total": len(ordered)})
        ordered = ordered[-POINTS_AT_MOST:]
    shown = set(ordered)
    groups.sums = {key: found for key, found in groups.sums.items() if key[0] in shown}
    return groups, ordered


def _counted(count: int, name: str, rest: str) -> dict[str, object]:
    return {"count": count, "name": shown_within(_name_of(name), LABEL_PIXELS), "rest": rest}


def _largest(weights: dict[str | int, float], count: int) -> list[str | int]:
    return sorted(weights, key=lambda key: -weights[key])[:count]


def _ordered(sort: Sort, places: Sequence[str | int], weights: dict[str | int, float]) -> list[str | int]:
    match sort:
        case Sort.LARGEST:
            return sorted(places, key=lambda place: -weights[place])
        case Sort.SMALLEST:
            return sorted(places, key=lambda place: weights[place])
        case Sort.NAME:
            return sorted(places, key=str)
        case _:
            return list(places)


def _series_order(groups: _Groups, rest: str) -> list[str]:
    named = [series for series in groups.series if series != rest]
    return [*named, rest] if rest in groups.series else named


def _points(chart: Chart, groups: _Groups, places: Iterable[str | int] | None) -> list[Point]:
    order = sorted(groups.places, key=_number) if places is None else list(places)
    is_filled = chart.kind in {ChartKind.AREA, ChartKind.STACKED}
    points = []
    for place in order:
        for series in groups.series:
            found = groups.sums.get((place, series))
            if found is not None:
                value = found.value(chart.aggregate)
                points.append(Point(place, series, 0.0 if value is None and is_filled else value))
            elif is_filled:
                # Areas lie on one another: one that is missing somewhere would tear the others down.
                points.append(Point(place, series, 0.0))
    return points


def _number(place: str | int) -> int:
    return place if isinstance(place, int) else 0
