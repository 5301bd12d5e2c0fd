"""A list with an end: what is added falls out again, the oldest first, and what is kept can be read page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, oldest first. `after`: where the next page begins. `missed`: how many fell out before they were read."""

    rows: list[T]
    after: int
    more: bool
    missed: int


class Ring(Generic[T]):
    """The newest rows, oldest first; `most` None: until they are dropped. A row's place: how many came before it.

    A list, because an empty deque takes ten times as much, and there is a ring for each of 100,000 people.
    """

    __slots__ = ("_most", "_rows", "_start", "added")

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        # Before `_start` stand empty places, until they are as many as the rows.
        self._rows: list[Any] = []
        self._start = 0
        self.added = 0

    def add(self, row: T) -> None:
        self._rows.append(row)
        self.added += 1
        if self._most is not None and len(self) > self._most:
            self.drop()

    def drop(self) -> T:
        """Take the oldest out. Raises IndexError."""
        row: T = self._rows[self._start]
        self._rows[self._start] = None
        self._start += 1
        if self._start * 2 >= len(self._rows):
            del self._rows[: self._start]
            self._start = 0
        return row

    def clear(self) -> None:
        self._rows.clear()
        self._start = 0

    @property
    def oldest(self) -> T | None:
        return self._rows[self._start] if self else None

    @property
    def newest(self) -> T | None:
        return self._rows[-1] if self else None

    def page(self, after: int, most: int, wanted: Callable[[T], bool] = lambda row: True) -> Page[T]:
        """At most so many of the rows from the place `after` on (0: from the oldest), and only the wanted ones."""
        first = self.added - len(self)
        start = min(max(after, first), self.added)
        rest = zip(count(start + 1), self._from(start - first), strict=False)
        found = list(islice(((place, row) for place, row in rest if wanted(row)), most))
        end = found[-1][0] if len(found) == most else self.added
        return Page([row for _, row in found], end, end < self.added, max(0, first - after))

    def _from(self, index: int) -> Iterator[T]:
        return map(self._rows.__getitem__, range(self._start + index, len(self._rows)))

    def __len__(self) -> int:
        return len(self._rows) - self._start

    def __iter__(self) -> Iterator[T]:
        return self._from(0)

    def __reversed__(self) -> Iterator[T]:
        return map(self._rows.__getitem__, range(len(self._rows) - 1, self._start - 1, -1))
