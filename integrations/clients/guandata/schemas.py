"""Responses of the BI's public API as dataclasses. A missing or mistyped field raises AnswerError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class AnswerError(ValueError):
    """The answer lacks something; names the field, never a value."""


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard. `page_id`: what its address has."""

    page_id: str
    name: str
    kind: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A card of a page. `kind`: CHART, TEXT, SELECTOR and the like, as the BI names it."""

    card_id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class CardPart:
    """A stretch of a card's data. `chart`: chartMain as it came: its header differs by the kind of the card."""

    view: str
    chart_type: str
    card_type: str
    chart: Mapping[str, Any] = field(repr=False)
    row_count: int
    has_more: bool


def token_from(response: Any) -> str:
    """The token of a sign-in. Raises AnswerError."""
    return _text(_object(response, "response"), "token", required=True)


def pages_from(response: Any) -> list[Page]:
    """The pages that the account sees, deleted ones included. Raises AnswerError."""
    rows = [_object(row, "page") for row in _list(response, "response")]
    return [
        Page(
            _text(row, "pgId", required=True),
            _text(row, "name"),
            _text(row, "pgType"),
            bool(row.get("isDel")),
        )
        for row in rows
    ]


def cards_from(response: Any) -> list[Card]:
    """The cards of one page. Raises AnswerError."""
    rows = [_object(row, "card") for row in _list(_object(response, "response").get("cards"), "cards")]
    return [Card(_text(row, "cdId", required=True), _text(row, "name"), _text(row, "cdType")) for row in rows]


def card_part_from(response: Any) -> CardPart:
    """One part of a card's data, of which there may be more. Raises AnswerError."""
    whole = _object(response, "response")
    chart = _object(whole.get("chartMain"), "chartMain")
    return CardPart(
        _text(whole, "view"),
        _text(whole, "chartType"),
        _text(whole, "cardType"),
        chart,
        len(_list(chart.get("data"), "data")),
        chart.get("hasMoreData") is True,
    )


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"{name} is no object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise AnswerError(f"{name} is no list")
    return value


def _text(row: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = row.get(name)
    if isinstance(value, str) and value:
        return value
    if required or not (value is None or value == ""):
        raise AnswerError(f"{name} is no text")
    return ""
