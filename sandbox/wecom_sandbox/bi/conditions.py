"""Which rows of a card an answer holds: the filters of a call, and the card's dynamic parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wecom_sandbox.state.bi import BiCard

Row = Mapping[str, Any]


class NotUnderstood(ValueError):
    """What the call asks for, in words for who wrote it."""


def chosen(card: BiCard, filters: object, parameters: object) -> list[dict[str, Any]]:
    """The rows that fulfil all of them. A column is named as it was, never by its alias. Raises NotUnderstood."""
    tests = [_filter(card, one) for one in _objects(filters, "filters")] + _parameters(card, parameters)
    return [row for row in card.rows if all(test(row) for test in tests)]


def _filter(card: BiCard, one: Mapping[str, Any]) -> Callable[[Row], bool]:
    if set(one) - {"name", "filterType", "filterValue"}:
        raise NotUnderstood("a filter has name, filterType and filterValue")
    return _test(card, one.get("name"), one.get("filterType"), one.get("filterValue") or [])


def _parameters(card: BiCard, sent: object) -> list[Callable[[Row], bool]]:
    """Each parameter of the card with what was sent for it, else with its own values; without either it says nothing.

    The form [{"name", "value"}] is this stand-in's own: no public source says what the BI takes.
    """
    values = {one.get("name"): one.get("value") for one in _objects(sent, "dynamicParams")}
    unknown = set(values) - {parameter.name for parameter in card.parameters}
    if unknown:
        raise NotUnderstood(f"the card has no dynamic parameter {sorted(map(str, unknown))[0]}")
    found = []
    for parameter in card.parameters:
        value = values.get(parameter.name, parameter.values)
        wanted = value if isinstance(value, list) else [value]
        if wanted:
            found.append(_test(card, parameter.column, parameter.filter_type, wanted))
    return found


def _objects(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise NotUnderstood(f"{name} must be a list of objects")
    return value


def _test(card: BiCard, name: object, kind: object, values: object) -> Callable[[Row], bool]:
    if name not in card.columns:
        raise NotUnderstood(f"the card has no column {name}")
    if kind not in _TESTS:
        raise NotUnderstood(f"there is no filterType {kind}")
    if not isinstance(values, list) or not all(isinstance(one, str | int | float) for one in values):
        raise NotUnderstood("filterValue must be a list of values")
    fewest, most, holds = _TESTS[kind]
    if not fewest <= len(values) <= most:
        raise NotUnderstood(f"{kind} takes {fewest} values" if fewest == most else f"{kind} takes a value or more")
    return lambda row: holds(row.get(str(name)), values)


def _known(holds: Callable[[Any, Sequence[Any]], bool]) -> Callable[[Any, Sequence[Any]], bool]:
    """As in SQL: an empty cell fulfils no comparison, nor its opposite."""
    return lambda cell, values: cell is not None and holds(cell, values)


def _order(cell: Any, value: Any) -> int:
    """-1, 0 or 1: as numbers where both are, else as texts."""
    try:
        left, right = (float(cell), float(value)) if isinstance(cell, int | float) else (str(cell), str(value))
    except ValueError:
        left, right = str(cell), str(value)
    return (left > right) - (left < right)  # type: ignore[operator]  # both of one type


_MANY = 10_000
_Test = tuple[int, int, Callable[[Any, Sequence[Any]], bool]]
_TESTS: dict[Any, _Test] = {
    "EQ": (1, 1, _known(lambda cell, values: _order(cell, values[0]) == 0)),
    "NE": (1, 1, _known(lambda cell, values: _order(cell, values[0]) != 0)),
    "GT": (1, 1, _known(lambda cell, values: _order(cell, values[0]) > 0)),
    "GE": (1, 1, _known(lambda cell, values: _order(cell, values[0]) >= 0)),
    "LT": (1, 1, _known(lambda cell, values: _order(cell, values[0]) < 0)),
    "LE": (1, 1, _known(lambda cell, values: _order(cell, values[0]) <= 0)),
    "BT": (2, 2, _known(lambda cell, values: _order(cell, values[0]) >= 0 >= _order(cell, values[1]))),
    "IN": (1, _MANY, _known(lambda cell, values: any(_order(cell, value) == 0 for value in values))),
    "NI": (1, _MANY, _known(lambda cell, values: all(_order(cell, value) != 0 for value in values))),
    "STARTSWITH": (1, 1, _known(lambda cell, values: str(cell).startswith(str(values[0])))),
    "ENDSWITH": (1, 1, _known(lambda cell, values: str(cell).endswith(str(values[0])))),
    "CONTAINS": (1, 1, _known(lambda cell, values: str(values[0]) in str(cell))),
    "IS_NULL": (0, 0, lambda cell, _values: cell is None),
    "NOT_NULL": (0, 0, lambda cell, _values: cell is not None),
}
