"""A list with an end: what is added falls out again, the oldest first, and what is kept can be read page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, oldest first. `after`: where the next page begins. `missed`: how many fell out before they were read."""

    rows: list[T]
    after: int
    more: bool
    missed: int


class Ring(Generic[T]):
    """The newest rows, oldest first; `most` None: until they are dropped. A row's place: how many came before it."""

    __slots__ = ("_rows", "added")

    def __init__(self, most: int | None = None) -> None:
        self._rows: deque[T] = deque(maxlen=most)
        self.added = 0

    def add(self, row: T) -> None:
        self._rows.append(row)
        self.added += 1

    def drop(self) -> T:
        """Take the oldest out. Raises IndexError."""
        return self._rows.popleft()

    def clear(self) -> None:
        self._rows.clear()

    @property
    def oldest(self) -> T | None:
        return self._rows[0] if self._rows else None

    @property
    def newest(self) -> T | None:
        return self._rows[-1] if self._rows else None

    def page(self, after: int, most: int, wanted: Callable[[T], bool] = lambda row: True) -> Page[T]:
        """At most so many of the rows from the place `after` on (0: from the oldest), and only the wanted ones."""
        first = self.added - len(self._rows)
        start = min(max(after, first), self.added)
        rest = enumerate(islice(self._rows, start - first, None), start + 1)
        found = list(islice(((place, row) for place, row in rest if wanted(row)), most))
        end = found[-1][0] if len(found) == most else self.added
        return Page([row for _, row in found], end, end < self.added, max(0, first - after))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows)

    def __reversed__(self) -> Iterator[T]:
        return reversed(self._rows)
