"""The tree of departments, and the guard against a run that would disable too many people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from integrations.models import Corp, Department

Parents = Mapping[int, int | None]


def find_subtree(parents: Parents, roots: Iterable[int]) -> set[int]:
    """Return those `roots` that are in `parents`, with all departments below them."""
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


def find_top_departments(parents: Parents) -> list[int]:
    """Return the departments without a known parent, in order of their numbers."""
    return sorted(number for number, parent in parents.items() if parent not in parents)


# --- The departments below and above others, and the path of names that pages show for a department -------------------

# WeCom allows 15 levels; a longer path is cut at its top.
LEVELS_AT_MOST = 15
SEPARATOR = " › "


class DepartmentTree:
    """The present departments of some companies by key, with the departments below and above each. Takes one query."""

    def __init__(self, corp_ids: Collection[int]) -> None:
        columns = ("pk", "corp_id", "wecom_department_id", "wecom_parent_id", "name")
        rows = list(Department.objects.filter(corp__in=list(corp_ids)).present().order_by().values_list(*columns))
        self._keys: dict[tuple[int, int | None], int] = {(corp_id, number): pk for pk, corp_id, number, *_rest in rows}
        self._parents = {pk: self._keys.get((corp_id, parent)) for pk, corp_id, _number, parent, _name in rows}
        self._names = {pk: name or str(number) for pk, _corp_id, number, _parent, name in rows}

    @classmethod
    def of_departments(cls, department_ids: Collection[int]) -> DepartmentTree:
        """Return the tree for the companies of these departments. Takes two queries."""
        rows = Department.objects.filter(pk__in=list(department_ids)).order_by()
        return cls(set(rows.values_list("corp_id", flat=True)))

    def find_covered(self, department_ids: Iterable[int], *, with_subdepartments: bool) -> set[int]:
        """Return the keys of these departments without removed ones; `with_subdepartments`: also of all below them."""
        present = self._parents.keys() & set(department_ids)
        return find_subtree(self._parents, present) if with_subdepartments else present

    def find_covering(self, department_ids: Iterable[int]) -> set[int]:
        """Return the keys of these departments and of all above them, without removed ones."""
        return {above for pk in department_ids for above in self._find_above(pk)}

    def describe_path(self, department: Department, company: str) -> str:
        """Return the path of names to a department. It begins with the company's name."""
        above = self._find_above(self._keys.get((department.corp_id, department.wecom_parent_id)))
        above = [one for one in above if one != department.pk][: LEVELS_AT_MOST - 1]
        names = [*(self._names[one] for one in reversed(above)), str(department)]
        # In most companies the top department has the company's name.
        path = SEPARATOR.join(names if names[0] == company else [company, *names])
        gone = _("%(department)s (not there any more)")
        return path if department.removed_at is None else gone % {"department": path}

    def _find_above(self, pk: int | None) -> list[int]:
        """Return a department and those above it, upwards; nothing for a removed one."""
        found: dict[int, None] = {}
        while pk is not None and pk in self._parents and pk not in found:
            found[pk] = None
            pk = self._parents[pk]
        return list(found)


def find_paths(departments: Iterable[Department]) -> dict[int, str]:
    """Map each department's key to its path of names, by two queries."""
    chosen = list(departments)
    companies = dict(Corp.objects.filter(pk__in={one.corp_id for one in chosen}).values_list("pk", "name"))
    tree = DepartmentTree(companies)
    return {one.pk: tree.describe_path(one, companies[one.corp_id]) for one in chosen}


_ROOTS_SHOWN = 5
# This many people, but at most half of the company, may lose access without a question, whatever their share is.
# Otherwise every leaver of a company of ten people would cause a question.
UNASKED_AT_LEAST = 20


def is_too_many(*, losing_count: int, eligible_count: int, percent: int) -> bool:
    """Return whether so many people would lose access at once that an administrator must confirm.

    `percent`: the share that may be disabled without a question; 0 for nobody.
    """
    unasked = min(UNASKED_AT_LEAST, eligible_count / 2) if percent else 0
    return losing_count > max(unasked, percent * eligible_count / 100)


def find_question(
    *,
    losing: Collection[int],
    eligible: Mapping[int, Iterable[int]],
    parents: Parents,
    roots: Sequence[int],
    percent: int,
) -> dict[str, Any] | None:
    """Return the question to an administrator as SyncRun.question stores it, or None.

    `losing`: keys of members who would be disabled; `eligible`: all members still enabled, with their departments'
    numbers; `parents`: the stored tree; `roots`: the configured ones, by default the top departments; `percent`: the
    share that may be disabled without a question.
    """
    if not losing:
        return None
    emptied = []
    for root in roots or find_top_departments(parents):
        below = find_subtree(parents, [root])
        people = [key for key, departments in eligible.items() if not below.isdisjoint(departments)]
        if people and all(key in losing for key in people):
            emptied.append(str(root))
    facts = {"leaving": len(losing), "of": len(eligible), "percent": percent, "roots": emptied[:_ROOTS_SHOWN]}
    if is_too_many(losing_count=len(losing), eligible_count=len(eligible), percent=percent):
        return {"reason": "share", **facts}
    return {"reason": "root", **facts} if emptied else None


class MissingRootError(Exception):
    """A department root that does not exist or is not visible to the app, so the run ends without a change. The error's
    text is the number of the root."""
