"""Reads the tree of departments, and stops a run that would take too much away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from integrations.models import Department

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


# --- What a chosen department means: the departments below it, and the path by which people recognise it ---

# WeCom allows 15 levels; a path that is longer is cut at its top.
LEVELS_AT_MOST = 15
SEPARATOR = " › "


class Branches:
    """The departments of some companies that are there, and what lies below each. Read once, by one query."""

    def __init__(self, corp_ids: Collection[int]) -> None:
        self._places: dict[int, tuple[int, int]] = {}
        self._keys: dict[tuple[int, int], int] = {}
        self._parents: dict[int, dict[int, int | None]] = defaultdict(dict)
        rows = Department.objects.filter(corp__in=list(corp_ids)).present().order_by()
        for pk, corp_id, number, parent in rows.values_list("pk", "corp_id", "wecom_department_id", "wecom_parent_id"):
            self._places[pk], self._keys[corp_id, number] = (corp_id, number), pk
            self._parents[corp_id][number] = parent

    def reached(self, department_ids: Iterable[int], *, with_those_below: bool) -> set[int]:
        """Keys of the departments that are meant: the ones that are there, with all below them where that is wanted."""
        there = [pk for pk in department_ids if pk in self._places]
        if not with_those_below:
            return set(there)
        roots: dict[int, list[int]] = defaultdict(list)
        for corp_id, number in (self._places[pk] for pk in there):
            roots[corp_id].append(number)
        return {
            self._keys[corp_id, number]
            for corp_id, numbers in roots.items()
            for number in subtree(self._parents[corp_id], numbers)
        }


def reached(department_ids: Collection[int], *, with_those_below: bool) -> set[int]:
    """What some chosen departments mean now. Two queries."""
    corps = Department.objects.filter(pk__in=list(department_ids)).order_by().values_list("corp_id", flat=True)
    return Branches(set(corps)).reached(department_ids, with_those_below=with_those_below)


def at_and_above(department_ids: Collection[int]) -> set[int]:
    """Departments whose choice means these, too, where those below count: themselves and all above. A query a level.

    The other direction of `reached`: only what is there counts, and nothing above a department that is gone.
    """
    known = Department.objects.filter(pk__in=list(department_ids)).present()
    return {one.pk for one in _with_those_above(list(known)).values()}


def paths_of(departments: Iterable[Department]) -> dict[int, str]:
    """Of each department's key its names from the top down, behind the company's where that is another word.

    A query for each level above them, however many they are, and one for the companies.
    """
    chosen = list(departments)
    known = _with_those_above(chosen)
    companies = dict(Department.objects.filter(pk__in=[one.pk for one in chosen]).values_list("pk", "corp__name"))
    return {one.pk: _path(one, known, companies.get(one.pk, "")) for one in chosen}


def _with_those_above(chosen: list[Department]) -> dict[tuple[int, int], Department]:
    known = {(one.corp_id, one.wecom_department_id): one for one in chosen}
    level = chosen
    for _level in range(LEVELS_AT_MOST):
        wanted: dict[int, set[int]] = defaultdict(set)
        for one in level:
            if one.wecom_parent_id is not None and (one.corp_id, one.wecom_parent_id) not in known:
                wanted[one.corp_id].add(one.wecom_parent_id)
        if not wanted:
            break
        condition = Q(pk__in=[])
        for corp_id, numbers in wanted.items():
            condition |= Q(corp=corp_id, wecom_department_id__in=numbers)
        level = list(Department.objects.filter(condition).present())
        known |= {(one.corp_id, one.wecom_department_id): one for one in level}
    return known


def _path(department: Department, known: dict[tuple[int, int], Department], company: str) -> str:
    names: list[str] = []
    seen: set[int] = set()
    one: Department | None = department
    while one is not None and one.pk not in seen and len(seen) < LEVELS_AT_MOST:
        seen.add(one.pk)
        names.append(str(one))
        parent = one.wecom_parent_id
        one = None if parent is None else known.get((one.corp_id, parent))
    names.reverse()
    # The department at the top is mostly called as the company.
    path = SEPARATOR.join(names if names[0] == company else [company, *names])
    return path if department.removed_at is None else _("%(department)s (not there any more)") % {"department": path}


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
    parents: Parents,
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
    emptied = []
    for root in roots or tops(parents):
        below = subtree(parents, [root])
        people = [key for key, departments in able.items() if not below.isdisjoint(departments)]
        if people and all(key in losing for key in people):
            emptied.append(str(root))
    shown = tuple(emptied[:_ROOTS_SHOWN])
    if is_too_many(losing_count=len(losing), able_count=len(able), percent=percent):
        return Question("share", len(losing), len(able), percent, shown)
    return Question("root", len(losing), len(able), percent, shown) if shown else None


# --- Why a run does not go on. `integrations.clients.errors` has what WeCom's calls raise; these are our own reasons


class Stop(Exception):
    """The run must end without a change. `problem`: a word of `wording`; `detail` for its technical detail."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem, detail)
        self.problem, self.detail = problem, detail
