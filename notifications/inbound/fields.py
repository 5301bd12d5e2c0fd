"""Fields of a payload: as templates see them, and as the tree from which an editor picks them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from integrations.core.sentences import Sentence
from notifications.inbound.payloads import Payload
from notifications.reports.templates.merge_fields import PAYLOAD, quoted
from notifications.reports.templates.values import NOTHING, Exposed, ExpressionError, from_cell

SHOWN_CHARACTERS = 4000
# Of the tree that an editor sees.
ROWS_AT_MOST = 500
ITEMS_AT_MOST = 5
EXAMPLE_CHARACTERS = 80
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Names that a template takes for its own.
_NOT_ATTRIBUTES = frozenset({"true", "false", "none", "True", "False", "None"})


class PayloadView(Exposed):
    """An object of a payload in a template: `payload.commit.author`, `payload['commit id']`. What is not there is no
    value."""

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members

    def exposed(self, name: str) -> Any:
        return self._members.get(name, NOTHING)

    def item(self, key: object) -> Any:
        if not isinstance(key, str):
            raise ExpressionError(Sentence("Write the name of a field in quotes."))
        return self._members.get(key, NOTHING)

    def shown(self) -> str:
        return json.dumps(_plain(self), ensure_ascii=False)[:SHOWN_CHARACTERS]


class ListView(Exposed, tuple[Any, ...]):
    """A list of a payload: one goes through it, takes one by its number, or shows it whole."""

    __slots__ = ()

    def exposed(self, name: str) -> Any:
        return NOTHING

    def item(self, key: object) -> Any:
        return self[key] if isinstance(key, int) and -len(self) <= key < len(self) else NOTHING

    def shown(self) -> str:
        values = [one for one in self if isinstance(one, str)]
        if len(values) == len(self):
            return ", ".join(values)[:SHOWN_CHARACTERS]
        return json.dumps(_plain(self), ensure_ascii=False)[:SHOWN_CHARACTERS]


def view_of(payload: Payload) -> Any:
    """A payload as templates see it."""
    if isinstance(payload, dict):
        return PayloadView({name: view_of(value) for name, value in payload.items()})
    if isinstance(payload, list):
        return ListView(view_of(value) for value in payload)
    return from_cell(payload)


def _plain(value: Any) -> Any:
    if isinstance(value, PayloadView):
        return {name: _plain(one) for name, one in value._members.items()}
    if isinstance(value, ListView):
        return [_plain(one) for one in value]
    if isinstance(value, str | int | bool):
        return value
    return None if value is NOTHING else float(value)


# --- The tree ---------------------------------------------------------------------------------------------------------

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree. `path`: in JMESPath; `template`: what a text gets by a click; both empty for the top.
    `example`: its value, cut; empty where it only holds others. `depth`: from 0."""

    name: str
    path: str
    template: str
    example: str
    depth: int
    is_leaf: bool


def tree_of(payload: Payload) -> list[Row]:
    """The first ROWS_AT_MOST lines, in the order of the payload; of a list the first ITEMS_AT_MOST."""
    rows: list[Row] = []
    for row in _rows(payload, ()):
        if len(rows) == ROWS_AT_MOST:
            break
        rows.append(row)
    return rows


def _rows(value: Payload, steps: Steps) -> Iterator[Row]:
    for step, child in _members(value):
        here = (*steps, step)
        is_leaf = not isinstance(child, dict | list) or not child
        example = _example(child) if is_leaf else ""
        name = str(step) if isinstance(step, str) else f"[{step}]"
        yield Row(name, path_of(here), template_of(here), example, len(steps), is_leaf)
        yield from _rows(child, here)


def _members(value: Payload) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value[:ITEMS_AT_MOST])) if isinstance(value, list) else []


def _example(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[: EXAMPLE_CHARACTERS - 1]}…"


def path_of(steps: Steps) -> str:
    """In JMESPath: `alerts[0].labels."odd name"`."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        name = step if _PLAIN_NAME.fullmatch(step) else json.dumps(step, ensure_ascii=False)
        path += f".{name}" if path else name
    return path


def template_of(steps: Steps) -> str:
    """As a template shows it: `{{ payload.alerts[0].labels['odd name'] }}`."""
    parts = [_part(step) for step in steps]
    return f"{{{{ {PAYLOAD}{''.join(parts)} }}}}"


def _part(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    is_plain = _PLAIN_NAME.fullmatch(step) and step not in _NOT_ATTRIBUTES
    return f".{step}" if is_plain else f"[{quoted(step)}]"
