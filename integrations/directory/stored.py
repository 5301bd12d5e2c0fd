"""The stored directory of a corp, read as values for comparing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from django.db.models import QuerySet

from integrations.directory.comparing import DepartmentState, MemberState
from integrations.directory.people import PLAIN_FIELDS
from integrations.models import Corp, Department, Member, Membership

_AT_ONCE = 2000


def department_states(corp: Corp) -> list[DepartmentState]:
    """All departments of a corp, the removed ones among them."""
    columns = ("pk", "wecom_department_id", "wecom_parent_id", "name", "order", "removed_at")
    rows = Department.objects.filter(corp=corp).order_by("pk").values_list(*columns)
    return [
        DepartmentState(pk, number, parent, name, order, removed_at is not None)
        for pk, number, parent, name, order, removed_at in rows
    ]


def member_states(corp: Corp) -> Iterator[MemberState]:
    """All members of a corp, row by row: the whole is never in memory, only who stands where."""
    return _states(Member.objects.filter(corp=corp), memberships(corp))


def member_states_of(corp: Corp, folded: Collection[str]) -> dict[str, MemberState]:
    """Those of these userids who are stored."""
    members = Member.objects.filter(corp=corp, userid_folded__in=folded)
    departments = _departments_of(corp, Membership.objects.filter(member__in=members.values("pk")))
    return {one.folded: one for one in _states(members, departments)}


def _states(members: QuerySet[Member], departments: Mapping[int, dict[int, bool | None]]) -> Iterator[MemberState]:
    columns = ("pk", "userid", "userid_folded", "presence", "waits_since", "status", *PLAIN_FIELDS)
    rows = members.order_by("pk").values_list(*columns)
    for pk, userid, folded, presence, waits_since, status, *values in rows.iterator(_AT_ONCE):
        yield MemberState(
            pk=pk,
            userid=userid,
            folded=folded,
            presence=presence,
            is_waiting=waits_since is not None,
            status=status,
            departments=departments.get(pk, {}),
            values=tuple(values),
        )


def memberships(corp: Corp) -> dict[int, dict[int, bool | None]]:
    """Of each member's key the numbers of the departments, and whether the member leads there."""
    return _departments_of(corp, Membership.objects.filter(department__corp=corp))


def _departments_of(corp: Corp, rows: QuerySet[Membership]) -> dict[int, dict[int, bool | None]]:
    numbers = dict(Department.objects.filter(corp=corp).values_list("pk", "wecom_department_id"))
    found: dict[int, dict[int, bool | None]] = {}
    rows = rows.order_by()
    for member, department, leads in rows.values_list("member_id", "department_id", "is_leader").iterator(_AT_ONCE):
        found.setdefault(member, {})[numbers[department]] = leads
    return found
