"""What a chosen department means: the departments below it, and the path by which people recognise it.

Rows of Department need not form a tree (`tree`): nothing here follows a cycle twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from django.db.models import Q
from django.utils.translation import gettext as _

from integrations.directory import tree
from integrations.models import Department

# WeCom allows 15 levels; a path that is longer is cut at its top.
LEVELS_AT_MOST = 15
SEPARATOR = " › "


def reached(department_ids: Collection[int], *, with_those_below: bool) -> set[int]:
    """Keys of the departments that `department_ids` mean now: the ones that are still there, with all below them
    where that is wanted. Two queries."""
    chosen = Department.objects.filter(pk__in=list(department_ids)).present()
    if not with_those_below:
        return set(chosen.values_list("pk", flat=True))
    roots: dict[int, list[int]] = defaultdict(list)
    for corp_id, number in chosen.values_list("corp_id", "wecom_department_id"):
        roots[corp_id].append(number)
    keys: dict[int, dict[int, int]] = {corp_id: {} for corp_id in roots}
    parents: dict[int, dict[int, int | None]] = {corp_id: {} for corp_id in roots}
    rows = Department.objects.filter(corp__in=list(roots)).present().order_by()
    for pk, corp_id, number, parent in rows.values_list("pk", "corp_id", "wecom_department_id", "wecom_parent_id"):
        keys[corp_id][number], parents[corp_id][number] = pk, parent
    return {keys[corp_id][number] for corp_id in roots for number in tree.subtree(parents[corp_id], roots[corp_id])}


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
