"""The tree of departments, which need not be one: parents may be missing, or stand below their own children."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

Parents = Mapping[int, int | None]


def subtree(parents: Parents, roots: Iterable[int]) -> set[int]:
    """`roots`, as far as they are known, with all departments below them."""
    children: dict[int | None, list[int]] = defaultdict(list)
    for number, parent in parents.items():
        children[parent].append(number)
    found: set[int] = set()
    waiting = [root for root in roots if root in parents]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting.extend(children[number])
    return found


def tops(parents: Parents) -> list[int]:
    """The departments with nothing known above them, in order of their numbers."""
    return sorted(number for number, parent in parents.items() if parent not in parents)


def in_cycles(parents: Parents) -> set[int]:
    """Departments that no top leads to: those of a cycle, and all below it."""
    return set(parents) - subtree(parents, tops(parents))
