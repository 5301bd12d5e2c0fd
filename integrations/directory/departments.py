"""The tree of departments, and the guard against a run that would disable too many people."""

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
    """Return the known ones of `roots` with all departments below them."""
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
    """Return the departments without a known parent, in order of their numbers."""
    return sorted(number for number, parent in parents.items() if parent not in parents)


def in_cycles(parents: Parents) -> set[int]:
    """Return the departments of cycles and all below them, which no top leads to."""
    return set(parents) - subtree(parents, tops(parents))


# --- Chosen departments: those below them, and the path by which people recognise each --------------------------------

# WeCom allows 15 levels; a longer path is cut at its top.
LEVELS_AT_MOST = 15
SEPARATOR = " › "


class Branches:
    """The present departments of some companies, with those below each. They are read by one query."""

    def __init__(self, corp_ids: Collection[int]) -> None:
        self._places: dict[int, tuple[int, int]] = {}
        self._keys: dict[tuple[int, int], int] = {}
        self._parents: dict[int, dict[int, int | None]] = defaultdict(dict)
        rows = Department.objects.filter(corp__in=list(corp_ids)).present().order_by()
        for pk, corp_id, number, parent in rows.values_list("pk", "corp_id", "wecom_department_id", "wecom_parent_id"):
            self._places[pk], self._keys[corp_id, number] = (corp_id, number), pk
            self._parents[corp_id][number] = parent

    def reached(self, department_ids: Iterable[int], *, with_those_below: bool) -> set[int]:
        """Return the keys of the present ones of these departments, if wanted with all below them."""
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
    """Return the keys of chosen departments as `Branches.reached` does, by two queries."""
    corps = Department.objects.filter(pk__in=list(department_ids)).order_by().values_list("corp_id", flat=True)
    return Branches(set(corps)).reached(department_ids, with_those_below=with_those_below)


def at_and_above(department_ids: Collection[int]) -> set[int]:
    """Return these departments and all above them, whose choice covers these, too. One query for each level.

    This is the reverse of `reached`: only present departments count, and nothing above a removed one.
    """
    known = Department.objects.filter(pk__in=list(department_ids)).present()
    return {one.pk for one in _with_those_above(list(known)).values()}


def paths_of(departments: Iterable[Department]) -> dict[int, str]:
    """Map each department's key to its path of names, preceded by the company's name if that differs.

    It takes one query for each level above them and one for the companies, however many departments there are.
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
    # The top department mostly has the company's name.
    path = SEPARATOR.join(names if names[0] == company else [company, *names])
    return path if department.removed_at is None else _("%(department)s (not there any more)") % {"department": path}


_ROOTS_SHOWN = 5
# So many people, but not more than half of the company, may lose access without a question, whatever share they are.
# Otherwise a company of ten could not let anybody go.
FLOOR = 20


def is_too_many(*, losing_count: int, able_count: int, percent: int) -> bool:
    """Return whether so many people would lose access at once that an administrator must confirm.

    `percent`: the share that may be disabled without a question; 0 for nobody.
    """
    floor = min(FLOOR, able_count / 2) if percent else 0
    return losing_count > max(floor, percent * able_count / 100)


@dataclass(frozen=True, slots=True)
class Question:
    """The reason why a run asks. `leaving`, `of`: numbers of people; `roots`: departments that would lose everybody."""

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
    """Return the question to an administrator, or None.

    `losing`: keys of members who would be disabled; `able`: all members still enabled, with their departments'
    numbers; `parents`: the stored tree; `roots`: the configured ones, by default the top departments; `percent`: the
    share that may be disabled without a question.
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


# --- Our own reasons to stop a run; those of WeCom's calls are in `integrations.clients.errors` -----------------------


class Stop(Exception):
    """The run must end without a change. `problem`: a key of `sync._PROBLEMS`; `detail`: its technical detail."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem, detail)
        self.problem, self.detail = problem, detail
