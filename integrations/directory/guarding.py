"""Whether a run takes so much from so many that an administrator must say yes first. Values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from integrations.directory import tree

_ROOTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Question:
    """Why a run asks. `leaving` of `of` people; `roots`: departments all of whose people would be disabled."""

    reason: str
    leaving: int
    of: int
    percent: int
    roots: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "roots": list(self.roots)}


def question(
    *,
    losing: Collection[int],
    able: Mapping[int, Iterable[int]],
    parents: tree.Parents,
    roots: Sequence[int],
    percent: int,
) -> Question | None:
    """What to ask, or None.

    `losing`: keys of members who would be disabled; `able`: all who are not yet, with their departments' numbers;
    `parents`: the tree as it was stored; `roots`: the configured ones, else the departments at the top count;
    `percent`: how many in a hundred may be disabled unasked.
    """
    if not losing:
        return None
    emptied = _emptied_roots(losing, able, parents, roots or tree.tops(parents))
    if len(losing) * 100 > percent * len(able):
        return Question("share", len(losing), len(able), percent, emptied)
    return Question("root", len(losing), len(able), percent, emptied) if emptied else None


def _emptied_roots(
    losing: Collection[int], able: Mapping[int, Iterable[int]], parents: tree.Parents, roots: Sequence[int]
) -> tuple[str, ...]:
    emptied = []
    for root in roots:
        below = tree.subtree(parents, [root])
        people = [key for key, departments in able.items() if not below.isdisjoint(departments)]
        if people and all(key in losing for key in people):
            emptied.append(str(root))
    return tuple(emptied[:_ROOTS_SHOWN])
