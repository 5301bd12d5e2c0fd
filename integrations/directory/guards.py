"""Whether a run takes access from so many that an administrator must confirm. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from integrations.directory import departments as directory_departments

_ROOTS_SHOWN = 5
# So many people may lose access unasked, whatever share of the company that is, as long as they are not most of it.
# A company of ten could not let anybody go otherwise.
FLOOR = 20


def is_too_many(*, losing_count: int, able_count: int, percent: int) -> bool:
    """Return whether so many of a company's people lose access at once that an administrator is asked.

    `percent`: how many in a hundred may be disabled unasked; 0 for nobody.
    """
    floor = min(FLOOR, able_count / 2) if percent else 0
    return losing_count > max(floor, percent * able_count / 100)


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
    parents: directory_departments.Parents,
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
    emptied = _emptied_roots(losing, able, parents, roots or directory_departments.tops(parents))
    if is_too_many(losing_count=len(losing), able_count=len(able), percent=percent):
        return Question("share", len(losing), len(able), percent, emptied)
    return Question("root", len(losing), len(able), percent, emptied) if emptied else None


def _emptied_roots(
    losing: Collection[int],
    able: Mapping[int, Iterable[int]],
    parents: directory_departments.Parents,
    roots: Sequence[int],
) -> tuple[str, ...]:
    emptied = []
    for root in roots:
        below = directory_departments.subtree(parents, [root])
        people = [key for key, departments in able.items() if not below.isdisjoint(departments)]
        if people and all(key in losing for key in people):
            emptied.append(str(root))
    return tuple(emptied[:_ROOTS_SHOWN])


# --- Why a run does not go on. `integrations.clients.errors` has what WeCom's calls raise; these are our own reasons


class Stop(Exception):
    """The run must end without a change. `problem`: a word of `wording`; `detail` for its technical detail."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem, detail)
        self.problem, self.detail = problem, detail
