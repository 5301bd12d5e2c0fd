"""Rows of a page, such as the cards of a content, that somebody else saved meanwhile: theirs and the page's as one.

What the person left alone is as it is saved now; what they changed stays as they wrote it, and is said. Nothing is
saved: the page comes back with these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.forms.models import model_to_dict

from integrations.core.concurrency import plain

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import QueryDict

ROWS_AT_MOST = 100
# By the key of a row, as text, its fields.
Rows = dict[str, dict[str, Any]]
# The fields of one row of a page, by the end of their names.
Sent = dict[str, list[str]]


@dataclass
class Merged:
    """`sent`: the rows as the page is to show them. The rest names rows by their keys: what others did."""

    sent: list[Sent] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def is_news(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def rows_of(rows: QuerySet[Any], names: Sequence[str]) -> Rows:
    """As they are saved, in their order."""
    return {str(one.pk): plain(model_to_dict(one, names)) for one in rows.order_by("pk")}


def merge(
    rows: Iterator[Sent], *, seen: Rows, saved: Rows, as_sent: Callable[[dict[str, Any]], Sent] | None = None
) -> Merged:
    """`rows`: of the page, as `sent` gives them. `seen`: as the page showed them when it was opened. `as_sent`: how the
    page sends a row; without it each field is a text of its own."""
    write_row = as_sent or _as_sent
    found = Merged(
        added=[key for key in saved if key not in seen],
        changed=[key for key in saved if key in seen and saved[key] != seen[key]],
        removed=[key for key in seen if key not in saved],
    )
    for row in rows:
        key = _first(row, "id")
        is_touched = key not in seen or "DELETE" in row or _differs(row, write_row(seen[key]))
        if key in found.removed:
            if is_touched and "DELETE" not in row:
                found.sent.append({**row, "id": [""]})
        elif key in found.changed and not is_touched:
            found.sent.append({**row, **write_row(saved[key])})
        else:
            found.sent.append(row)
    found.sent += [{"id": [key], **write_row(saved[key])} for key in found.added]
    # Django takes the first ones for those that are saved.
    found.sent.sort(key=lambda row: not _first(row, "id"))
    return found


def write(values: QueryDict, prefix: str, rows: Sequence[Mapping[str, list[str]]]) -> None:
    """Put these rows into the values of a page in place of its own."""
    for name in [name for name in values if name.startswith(f"{prefix}-") and name.split("-")[1].isdigit()]:
        del values[name]
    for number, row in enumerate(rows):
        for ending, its in row.items():
            values.setlist(f"{prefix}-{number}-{ending}", its)
    values[f"{prefix}-TOTAL_FORMS"] = str(len(rows))
    values[f"{prefix}-INITIAL_FORMS"] = str(sum(bool(_first(row, "id")) for row in rows))


def sent(values: QueryDict, prefix: str, filled: Collection[str], always: Collection[str] = ()) -> Iterator[Sent]:
    """The rows of the page, without those that were left empty. `filled`: fields of which a new row has one.
    `always`: fields that a browser leaves out where nothing is chosen, such as boxes."""
    for number in range(ROWS_AT_MOST):
        beginning = f"{prefix}-{number}-"
        row = {name.removeprefix(beginning): its for name, its in values.lists() if name.startswith(beginning)}
        if any(_first(row, name) for name in ("id", *filled)):
            yield {**{name: [] for name in always}, **row}


def _differs(row: Sent, known: Sent) -> bool:
    return any(name in row and _normal(row[name]) != _normal(its) for name, its in known.items())


def _as_sent(row: Mapping[str, Any]) -> Sent:
    return {name: ["" if value is None else str(value)] for name, value in row.items()}


def _first(row: Mapping[str, list[str]], name: str) -> str:
    return str(next(iter(row.get(name, [])), ""))


def _normal(texts: Sequence[str]) -> list[str]:
    """Browsers end lines in a way of their own."""
    return [text.replace("\r\n", "\n").strip() for text in texts]
