"""Placeholder card used to validate templates before data exists. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from integrations.data.table import Column, Kind, Table
from notifications.reports.templates.tables import Charge, TableView
from notifications.reports.templates.values import Like

_ONE_EMPTY_ROW = Table((Column("", Kind.TEXT),), ((None,),), datetime(2026, 1, 1, tzinfo=UTC))


class _AnyColumn(Mapping[str, int]):
    """Whatever column a template names, it is there."""

    def __getitem__(self, name: str) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class UnknownView(TableView):
    """One row, in which every column has no value, whatever is asked for. A template that fails over it names
    what there is not, calls it with wrong arguments, or would fail over the first empty cell."""

    __slots__ = ()

    def __init__(self, zone: ZoneInfo, charge: Charge) -> None:
        super().__init__(_ONE_EMPTY_ROW, zone, charge, date(2026, 1, 1))
        self._positions = _AnyColumn()

    def _with(self, rows: Sequence[tuple[Any, ...]]) -> TableView:
        """The row stays: what a template does with the rows that it chooses is tried, too."""
        return self

    def _like(self, column: Any, wanted: Any) -> tuple[Like, Any]:
        """What the column holds is not known: anything may fit."""
        self._of(column)
        return (lambda _cell: None), wanted

    def _day_column(self, column: Any) -> str:
        """Whether exactly one column has days is not known."""
        return self._table.names[self._of("" if column is None else column)]
