"""The columns that a template names, their renaming, and the help about names in templates. Pure.

A template is read twice: as text, to find each quoted text and each name behind a dot, and by Jinja2, to know which of
them are columns of which card. For the second reading each is replaced by n and its number. Names that a template
computes, such as those from a list, are not found; the run reports them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from jinja2 import TemplateSyntaxError, nodes

from integrations.data.figures import RELATIVE_DATES
from notifications.reports.templates import renderer, values
from notifications.reports.templates.merge_fields import choose_date_pattern, is_chinese, quote_text
from notifications.reports.templates.renderer import ENVIRONMENT

# The alias of a card, and the name of a column.
ColumnName = tuple[str, str]

_TAG = re.compile(r"\{\{|\{%|\{#")
_IN_TAG = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\.\s*(?P<name>[^\W\d]\w*)|(?P<end>[-+]?(?:\}\}|%\}))""", re.DOTALL
)
_WORD = re.compile(r"[^\W\d_]\w*")
# For each function of a table, the positions and keywords of the arguments that name a column.
_COLUMN_ARGUMENTS = {
    **dict.fromkeys(("sum", "avg", "min", "max", "filled", "distinct", "value", "first", "last"), ((0,), ("column",))),
    **dict.fromkeys(("unit", "where", "latest"), ((0,), ("column",))),
    **dict.fromkeys(("on", "within", "top", "bottom"), ((1,), ("column",))),
    "change": ((0, 3), ("column", "by")),
}
_SELECTING_ROWS = frozenset({"on", "within", "where", "top", "bottom", "head"})


@dataclass(frozen=True, slots=True)
class _Place:
    """A quoted text (`is_text`), or a name behind a dot, from `begin` to `end` of the template."""

    begin: int
    end: int
    value: str
    is_text: bool


def rename_columns(source: str, names: Mapping[ColumnName, str]) -> str:
    """Return the template with these columns renamed, and unchanged otherwise."""
    aliases = {alias for alias, _column in names}
    found = [(place, names[column]) for place, column in find_column_places(source, aliases) if column in names]
    for place, name in sorted(found, key=lambda one: one[0].begin, reverse=True):
        written = quote_text(name)
        if not place.is_text:
            written = f".{name}" if _WORD.fullmatch(name) else f"[{written}]"
        source = f"{source[: place.begin]}{written}{source[place.end :]}"
    return source


def find_column_places(source: str, aliases: Collection[str]) -> Iterator[tuple[_Place, ColumnName]]:
    """Yield each place of the template that names a column of these cards; none if the template cannot be read."""
    # The quoted texts, and the names behind a dot, in all tags of the template.
    places: list[_Place] = []
    position = 0
    while (opening := _TAG.search(source, position)) is not None:
        position = opening.end()
        if opening[0] == "{#":
            position = max(source.find("#}", position), position)
            continue
        while (found := _IN_TAG.search(source, position)) is not None:
            position = found.end()
            if found["end"]:
                break
            if found["text"] is not None:
                # Unquote it as Jinja2 does.
                text = found["text"][1:-1].encode("ascii", "backslashreplace").decode("unicode-escape", "replace")
                places.append(_Place(found.start(), position, text, is_text=True))
            else:
                places.append(_Place(found.start(), position, found["name"], is_text=False))
    # The template with each place replaced by n and its number.
    pieces, position = [], 0
    for number, place in enumerate(places):
        pieces += [source[position : place.begin], f"'n{number}'" if place.is_text else f".n{number}"]
        position = place.end
    try:
        tree = ENVIRONMENT.parse("".join([*pieces, source[position:]]))
    except (TemplateSyntaxError, RecursionError):
        return
    resolver = _NameResolver(places, aliases)
    # Assignments come before uses, and a loop's name before its body.
    for node in tree.find_all(nodes.Node):
        yield from resolver.read_node(node)


class _NameResolver:
    """Finds the columns that a template names. It knows the kind (table, rows or row) and the card of each name."""

    def __init__(self, places: list[_Place], aliases: Collection[str]) -> None:
        self._places = places
        self._known = {alias: ("table", alias) for alias in aliases}

    def read_node(self, node: nodes.Node) -> Iterator[tuple[_Place, ColumnName]]:
        """Remember the name that this node assigns, and yield the columns that the node names."""
        if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name):
            self._known[node.target.name] = self._find_kind(node.node)
        elif isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
            kind, alias = self._find_kind(node.iter)
            self._known[node.target.name] = ("row", alias) if kind == "rows" else ("", "")
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
            (kind, alias), name = self._find_kind(node.node.node), self._find_name(node.node)
            positions, keywords = _COLUMN_ARGUMENTS.get(name, ((), ())) if kind == "table" else ((), ())
            named = [one.value for one in node.kwargs if one.key in keywords]
            for argument in [*(node.args[at] for at in positions if at < len(node.args)), *named]:
                yield from self._read_column(argument, alias)
        elif isinstance(node, nodes.Getitem):
            kind, alias = self._find_kind(node.node)
            if kind == "row":
                yield from self._read_column(node.arg, alias)
        elif isinstance(node, nodes.Getattr):
            kind, alias = self._find_kind(node.node)
            place = self._find_place(node.attr)
            if kind == "row" and place is not None:
                yield place, (alias, place.value)

    def _find_kind(self, node: nodes.Node) -> tuple[str, str]:
        """Return ("table", "rows" or "row", alias of the card); empty strings for anything else."""
        if isinstance(node, nodes.Name):
            return self._known.get(node.name, ("", ""))
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
            kind, alias = self._find_kind(node.node.node)
            return (kind, alias) if kind == "table" and self._find_name(node.node) in _SELECTING_ROWS else ("", "")
        if isinstance(node, nodes.Getattr):
            kind, alias = self._find_kind(node.node)
            return ("rows", alias) if kind == "table" and self._find_name(node) == "rows" else ("", "")
        if isinstance(node, nodes.Getitem):
            kind, alias = self._find_kind(node.node)
            return ("row", alias) if kind == "rows" else ("", "")
        if isinstance(node, nodes.Filter) and node.node is not None:
            kind, alias = self._find_kind(node.node)
            if kind == "rows":
                return ("row" if node.name in {"first", "last"} else "rows", alias)
        return ("", "")

    def _find_name(self, node: nodes.Getattr) -> str:
        """Return the name behind the dot; empty if no number stands for it."""
        place = self._find_place(node.attr)
        return "" if place is None else place.value

    def _read_column(self, node: nodes.Node, alias: str) -> Iterator[tuple[_Place, ColumnName]]:
        """Yield the column of the card that a quoted text names, if a number stands for the text."""
        if isinstance(node, nodes.Const) and isinstance(node.value, str):
            place = self._find_place(node.value)
            if place is not None:
                yield place, (alias, place.value)

    def _find_place(self, word: str) -> _Place | None:
        """Return the place for which `word` stands; None for adjacent texts, which Jinja2 joins (n0n1)."""
        number = word[1:]
        is_number = number.isascii() and number.isdigit() and int(number) < len(self._places)
        return self._places[int(number)] if is_number else None


# --- The help about names in templates --------------------------------------------------------------------------------


def describe_template_names(now: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return the context of the template help, for a slot at `now`: times and formats of numbers, each with its name,
    its Chinese name for readers of Chinese, and an example. `field_formats`: the formats of inserted numbers, each with
    its name in templates and its label. Only readers of Chinese get 万 and 亿."""
    named = values.find_named_times(now, zone)
    names = [(values.SLOT, values.SLOT_CHINESE), *((one.name, one.chinese) for one in RELATIVE_DATES)]
    formats = [
        one for one in renderer.FORMATS if one.example and (is_chinese() or one.name not in {"wan", "yi", "short"})
    ]
    return {
        "times": [(name, chinese if is_chinese() else "", values.format_time(named[name])) for name, chinese in names],
        "formats": [
            (f"{one.example}|{one.name}", one.chinese if is_chinese() else "", str(one.call(Decimal(one.example))))
            for one in formats
        ],
        "date_pattern": choose_date_pattern(),
        "field_formats": [
            ("thousands", _("1,234.5")),
            *([("short", _("in 万 or 亿, by its size"))] if is_chinese() else []),
            ("percent", _("percent (0.12 is 12%)")),
            ("", _("as it is")),
        ],
    }
