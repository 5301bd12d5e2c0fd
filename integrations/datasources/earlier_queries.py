"""Asks a card's query as it would have been asked on an earlier day: the dates in its parameters are moved. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from datetime import date, timedelta
from typing import Any

from integrations.models import Card, SourceKind

_DATE = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")
# What of a card names values, by the kind of its source.
_PARAMETERS = {
    SourceKind.GUANDATA: ("bi_filters", "bi_parameters"),
    SourceKind.SQL: ("sql_parameters",),
    SourceKind.JSON: ("http_path", "http_body"),
}


def can_be_asked(card: Card) -> bool:
    """Whether its parameters or filters name a date."""
    return _anchor(card) is not None


def as_of(card: Card, day: date) -> Card:
    """The card with the latest of its dates moved to `day`, and the others as far. Not to be saved."""
    anchor, moved = _anchor(card), copy(card)
    if anchor is not None:
        for name in _names(card):
            setattr(moved, name, _moved(getattr(card, name), day - anchor))
    return moved


def _anchor(card: Card) -> date | None:
    return max((day for name in _names(card) for day in _dates(getattr(card, name))), default=None)


def _names(card: Card) -> tuple[str, ...]:
    return _PARAMETERS[SourceKind(card.source.kind)]


def _dates(value: Any) -> Iterator[date]:
    if isinstance(value, str):
        yield from (day for text in _DATE.findall(value) if (day := _day(text)) is not None)
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _dates(one)


def _moved(value: Any, by: timedelta) -> Any:
    if isinstance(value, str):
        return _DATE.sub(lambda found: _text(found[0], by), value)
    if isinstance(value, dict):
        return {name: _moved(one, by) for name, one in value.items()}
    return [_moved(one, by) for one in value] if isinstance(value, list) else value


def _text(text: str, by: timedelta) -> str:
    day = _day(text)
    return text if day is None else (day + by).isoformat()


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
