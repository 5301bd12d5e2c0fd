"""A card's table in templates: cells, rows, aggregates, changes against earlier days. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from integrations.core.sentences import Sentence
from integrations.data import figures
from integrations.data.figures import (
    EARLIER,
    Change,
    Period,
    find_day,
    fold_text,
    is_unknown,
    make_comparison_key,
)
from integrations.data.table import LARGEST, NUMERIC, TEMPORAL, Column, Kind, Table
from notifications.reports.templates.values import (
    NOTHING,
    ColumnGoneError,
    ColumnNumber,
    Exposed,
    ExpressionError,
    Nothing,
    compare_values,
    find_exposed,
    from_cell,
    to_number,
)

# Called with the number of rows to read, because a rendering may read a limited number.
Charge = Callable[[int], None]
# Converts a cell for a comparison; None if it cannot be compared, such as an empty one.
Convert = Callable[[Any], Any]
# Reading the values of a column again is charged a tenth of the first time.
CHEAPER_AGAIN = 10

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


class RowView(Exposed):
    """A row: `row["column"]`, or `row.column` if the column's name is a word."""

    __slots__ = ("_row", "_view")

    def __init__(self, row: tuple[Any, ...], view: TableView) -> None:
        self._row, self._view = row, view

    def get_item(self, key: object) -> Any:
        return self._view._read_cell(self._row, self._view._resolve_column(key))

    def get_attribute(self, name: str) -> Any:
        return self.get_item(name)


class TableView(Exposed):
    """A table, or some rows of one. `today`: the slot's day; later days are planned."""

    __slots__ = ("_charge", "_days_of", "_numbers_of", "_table", "_today", "_values_of", "_zone")

    def __init__(self, table: Table, zone: ZoneInfo, charge: Charge, today: date) -> None:
        self._table, self._zone, self._charge, self._today = table, zone, charge, today
        # Cached values of columns, by position.
        self._values_of: dict[int, list[Any]] = {}
        self._numbers_of: dict[int, list[Decimal]] = {}
        self._days_of: dict[int, list[date | None]] = {}

    def get_attribute(self, name: str) -> Any:
        """Return a function if arguments are needed, else a value."""
        found = find_exposed({**_METHODS, **_PROPERTIES}, name)
        return partial(found, self) if name in _METHODS else found(self)

    # --- Cells and rows -----------------------------------------------------------------------------------------------

    def _read_rows(self) -> Sequence[tuple[Any, ...]]:
        """Return all rows, and charge for them."""
        self._charge(len(self._table.rows))
        return self._table.rows

    def _read_values(self, column: Any) -> list[Any]:
        """Return the column's values, read once; further calls are charged less."""
        position, count = self._resolve_column(column), len(self._table.rows)
        if position in self._values_of:
            self._charge(count // CHEAPER_AGAIN)
        else:
            self._charge(count)
            self._values_of[position] = [self._read_cell(row, position) for row in self._table.rows]
        return self._values_of[position]

    def _read_value(self, column: Any, row: Any = 0) -> Any:
        position = self._resolve_column(column)
        if isinstance(row, bool) or not isinstance(row, int):
            raise ExpressionError(Sentence("A row is named by its number; the first is 0."))
        rows = self._table.rows
        return self._read_cell(rows[row], position) if -len(rows) <= row < len(rows) else NOTHING

    def _read_cell(self, row: tuple[Any, ...], position: int) -> Any:
        value, column = from_cell(row[position], self._zone), self._get_column(position)
        if column.kind not in NUMERIC or isinstance(value, bool) or not isinstance(value, int | Decimal):
            return value
        return ColumnNumber.of(Decimal(value), column) if column.decimals is not None or column.unit == "%" else value

    def _get_column(self, position: int) -> Column:
        return self._table.columns[position]

    def _resolve_column(self, column: object) -> int:
        """Return the column's position. Raises ExpressionError."""
        if not isinstance(column, str):
            raise ExpressionError(Sentence("A column is named by a text."))
        return self._find_position(column)

    def _find_position(self, column: str) -> int:
        try:
            return self._table.find_position(column)
        except KeyError as error:
            known = ", ".join(self._table.names)
            sentence = Sentence("There is no column “%(column)s”. There is: %(known)s.")
            if not known:
                sentence = Sentence("The data source gave a table without any column.")
            raise ColumnGoneError(sentence % {"column": column, "known": known}) from error

    # --- Aggregates ---------------------------------------------------------------------------------------------------

    def _read_numbers(self, column: Any) -> list[Decimal]:
        position, count = self._resolve_column(column), len(self._table.rows)
        self._charge(count // CHEAPER_AGAIN if position in self._numbers_of else count)
        if position not in self._numbers_of:
            try:
                numbers = figures.read_column_numbers(self._table, self._get_column(position).name)
            except figures.NotNumericError as error:
                raise ExpressionError(
                    Sentence("The column “%(column)s” holds no numbers.") % {"column": error.column}
                ) from error
            if any(abs(number) >= LARGEST for number in numbers):
                raise ExpressionError(Sentence("This number is too large."))
            self._numbers_of[position] = numbers
        return self._numbers_of[position]

    def _make_number(self, column: Any, number: Decimal | None, *, keeps_decimals: bool = True) -> Any:
        if number is None:
            return NOTHING
        return ColumnNumber.of(number, self._get_column(self._resolve_column(column)), keeps_decimals=keeps_decimals)

    def _read_comparable(self, column: Any) -> list[Any]:
        """Return the numbers of a numeric column, else its values, which are of one kind."""
        if self._get_column(self._resolve_column(column)).kind in {*NUMERIC, Kind.BOOLEAN}:
            return [self._make_number(column, number) for number in self._read_numbers(column)]
        return [value for value in self._read_present_values(column) if not is_unknown(value)]

    def _read_present_values(self, column: Any) -> list[Any]:
        return [value for value in self._read_values(column) if not isinstance(value, Nothing)]

    # --- Some of the rows ---------------------------------------------------------------------------------------------

    def _keep_rows(self, rows: Sequence[tuple[Any, ...]]) -> TableView:
        return TableView(self._table.replace_rows(rows), self._zone, self._charge, self._today)

    def _select_where(self, column: Any, *condition: Any) -> TableView:
        """Select rows: `where("区域", "华东")`, `where("销售额", ">", 100)`."""
        if len(condition) not in {1, 2}:
            raise ExpressionError(Sentence("Write where(column, value) or where(column, comparison, value)."))
        operator, wanted = ("=", condition[0]) if len(condition) == 1 else condition
        if not isinstance(operator, str) or operator not in _COMPARISONS:
            known = " ".join(_COMPARISONS)
            raise ExpressionError(Sentence("A comparison is one of %(known)s.") % {"known": known})
        compared = _COMPARISONS[operator]
        convert, wanted = self._make_comparable(column, wanted)
        if wanted is None:
            sentence = Sentence("The values of the column “%(column)s” cannot be compared with this one.")
            name = self._get_column(self._resolve_column(column)).name
            raise ExpressionError(sentence % {"column": name})
        values = (convert(value) for value in self._read_values(column))
        return self._select_fitting(value is not None and compared(value, wanted) for value in values)

    def _select_fitting(self, fits: Iterable[bool]) -> TableView:
        """Select the rows for which `fits`, one value a row, is true."""
        return self._keep_rows([row for row, fit in zip(self._table.rows, fits, strict=True) if fit])

    def _make_comparable(self, column: Any, wanted: Any) -> tuple[Convert, Any]:
        """Return the conversion of the column's cells and the converted value, so that Python can compare them: 7 with
        the text 7, a day with the moments in it. The value is None if it cannot be compared with cells of this kind.
        Raises ExpressionError."""
        kind, zone = self._get_column(self._resolve_column(column)).kind, self._zone
        if isinstance(wanted, Nothing):
            return (lambda cell: cell if isinstance(cell, Nothing) else None), wanted
        if isinstance(wanted, datetime) and kind == Kind.DATETIME:
            key = make_comparison_key(wanted, zone)
            return (lambda cell: make_comparison_key(cell, zone) if isinstance(cell, datetime) else None), key
        if isinstance(wanted, date) or kind in TEMPORAL:
            fits = kind in TEMPORAL or kind == Kind.TEXT
            return (lambda cell: find_day(cell, zone)), find_day(wanted, zone) if fits else None
        if isinstance(wanted, bool) or kind == Kind.BOOLEAN:
            fits = isinstance(wanted, bool) and kind == Kind.BOOLEAN
            return (lambda cell: cell if isinstance(cell, bool) else None), wanted if fits else None
        if isinstance(wanted, int | float | Decimal) or kind in NUMERIC:
            return to_number, to_number(wanted)
        return (lambda cell: fold_text(cell) if isinstance(cell, str) else None), (
            fold_text(wanted) if isinstance(wanted, str) else None
        )

    def _select_day(self, day: Any, column: Any = None) -> TableView:
        """Select the rows of a day. `day`: a day, or a moment, whose day counts; no value selects no rows."""
        if isinstance(day, Nothing):
            return self._keep_rows(())
        wanted = self._to_day(day)
        return self._select_fitting(one == wanted for one in self._read_days(column))

    def _select_period(self, period: Any, column: Any = None) -> TableView:
        """Select the rows whose day is in the period; no value selects no rows."""
        if isinstance(period, Nothing):
            return self._keep_rows(())
        if not isinstance(period, Period):
            raise ExpressionError(Sentence("This is not a period, such as last_week."))
        return self._select_fitting(one in period for one in self._read_days(column))

    def _rank_rows(self, column: Any, descending: bool, count: Any) -> TableView:
        name = self._get_column(self._resolve_column(column)).name
        rows = self._read_rows()
        ranked = figures.rank_rows(self._table, name, is_descending=descending)
        return self._keep_rows([rows[row] for row in ranked[: _check_count(count)]])

    # --- Days ---------------------------------------------------------------------------------------------------------

    def _read_days(self, column: Any) -> list[date | None]:
        name = self._find_day_column(column)
        values, position = self._read_values(name), self._resolve_column(name)
        if position not in self._days_of:
            self._days_of[position] = [find_day(value, self._zone) for value in values]
        return self._days_of[position]

    def _to_day(self, value: Any) -> date:
        day = find_day(value, self._zone)
        if day is None:
            raise ExpressionError(Sentence("This is neither a day nor a time."))
        return day

    def _find_day_column(self, column: Any) -> str:
        """Return the named column, else the only column of days."""
        if column is not None:
            return self._table.names[self._resolve_column(column)]
        days = [one.name for one in self._table.columns if one.is_temporal]
        if len(days) != 1:
            raise ExpressionError(Sentence("Name the column of the day: there is not exactly one column of days."))
        return days[0]

    def _find_latest_day(self, column: Any = None) -> Any:
        """Return the newest day up to the slot's; later days are planned."""
        newest = figures.find_newest_day(self._read_days(column), until=self._today, zone=self._zone)
        return NOTHING if newest is None else newest

    def _compute_change(
        self, column: Any, against: Any = "day", on: Any = None, by: Any = None, of: Any = "sum"
    ) -> Change:
        """Compare the aggregate of a day with the day before, or the same day a week, month or year before.

        `on`: the day, by default the table's latest; `by`: the column of days.
        """
        if against not in EARLIER:
            raise ExpressionError(Sentence("A change is against “day”, “week”, “month” or “year”."))
        if of not in {"sum", "avg", "min", "max"}:
            raise ExpressionError(Sentence("A change is of “sum”, “avg”, “min” or “max”."))
        day = self._find_latest_day(by) if on is None else on
        if isinstance(day, Nothing):
            return compare_values(None, None)
        day = self._to_day(day)
        now, before = self._aggregate_day(day, column, by, of), None
        with suppress(OverflowError, ValueError):  # there is no day before year 1
            before = self._aggregate_day(EARLIER[against](day), column, by, of)
        return compare_values(now, before)

    def _aggregate_day(self, day: date, column: Any, by: Any, of: str) -> Any:
        rows = self._select_day(day, by)
        if not rows._table.rows:
            self._resolve_column(column)  # a column that is not there is an error also on a day without rows
            return None
        return _METHODS[of](rows, column)


# The only names of a table in templates, first those that take arguments.
_METHODS: Mapping[str, Callable[..., Any]] = {
    "sum": lambda view, column: view._make_number(column, figures.total(view._read_numbers(column))),
    "avg": lambda view, column: view._make_number(
        column, figures.average(view._read_numbers(column)), keeps_decimals=False
    ),
    "min": lambda view, column: min(view._read_comparable(column), default=NOTHING),
    "max": lambda view, column: max(view._read_comparable(column), default=NOTHING),
    "filled": lambda view, column: figures.count_known(view._read_present_values(column)),
    "distinct": lambda view, column: figures.count_distinct(view._read_present_values(column)),
    "value": TableView._read_value,
    "first": lambda view, column: view._read_value(column, 0),
    "last": lambda view, column: view._read_value(column, -1),
    "unit": lambda view, column: view._get_column(view._resolve_column(column)).unit,
    "where": TableView._select_where,
    "on": TableView._select_day,
    "within": TableView._select_period,
    "top": lambda view, count, column: view._rank_rows(column, True, count),
    "bottom": lambda view, count, column: view._rank_rows(column, False, count),
    "head": lambda view, count: view._keep_rows(view._table.rows[: _check_count(count)]),
    "latest": TableView._find_latest_day,
    "change": TableView._compute_change,
}
_PROPERTIES: Mapping[str, Callable[[TableView], Any]] = {
    "count": lambda view: len(view._table.rows),
    "is_empty": lambda view: not view._table.rows,
    "is_cut": lambda view: view._table.is_cut,
    "as_of": lambda view: view._table.as_of.astimezone(view._zone),
    "columns": lambda view: view._table.names,
    "rows": lambda view: tuple(RowView(row, view) for row in view._read_rows()),
}


def _check_count(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ExpressionError(Sentence("A number of rows is 0 or more."))
    return count


_ONE_EMPTY_ROW = Table((Column("", Kind.TEXT),), ((None,),), datetime(2026, 1, 1, tzinfo=UTC))


class UnknownView(TableView):
    """Stand-in for a table that is not known yet: one row, with an empty cell in any column. A template that fails with
    it names something missing, passes wrong arguments, or would fail on the first empty cell."""

    __slots__ = ()

    def __init__(self, zone: ZoneInfo, charge: Charge) -> None:
        super().__init__(_ONE_EMPTY_ROW, zone, charge, date(2026, 1, 1))

    def _find_position(self, column: str) -> int:
        """Accept any column."""
        return 0

    def _keep_rows(self, rows: Sequence[tuple[Any, ...]]) -> TableView:
        """Keep the row, so that the template's use of selected rows is tried too."""
        return self

    def _make_comparable(self, column: Any, wanted: Any) -> tuple[Convert, Any]:
        """Accept any value, because the column's kind is unknown."""
        self._resolve_column(column)
        return (lambda _cell: None), NOTHING

    def _find_day_column(self, column: Any) -> str:
        """Accept any column, because the columns of days are unknown."""
        return self._table.names[self._resolve_column("" if column is None else column)]
