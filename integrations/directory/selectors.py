"""Reads the changes of recent runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from django.db.models import Case, F, QuerySet, Value, When

from integrations.directory.diff import DepartmentState, MemberState
from integrations.directory.normalize import PLAIN_FIELDS
from integrations.models import Corp, Department, Member, Membership, SyncChange, SyncRun

# Runs of a corp whose differences are kept, and runs that are kept at all.
KEPT_WITH_CHANGES = 20
KEPT_RUNS = 200
_AT_ONCE = 500


def changes_of(run: SyncRun, *, after: int = 0) -> Iterator[SyncChange]:
    """The applied differences of a run with their members, in the order in which they were written: leavers first.

    `after`: the key of the last one that the caller has dealt with, so that an interrupted caller goes on there.
    """
    rows = SyncChange.objects.applied().filter(run=run).select_related("member").order_by("pk")
    while True:
        page = list(rows.filter(pk__gt=after)[:_AT_ONCE])
        yield from page
        if len(page) < _AT_ONCE:
            return
        after = page[-1].pk


def admit_member(*, member: Member, now: datetime) -> bool:
    """An administrator says that a userid which had been deleted may be used again. False where it does not wait."""
    waiting = Member.objects.filter(pk=member.pk).waiting_for_administrator()
    return bool(waiting.update(waits_since=None, changed_at=now))


def note_seen(*, member_id: int, now: datetime) -> bool:
    """WeCom has just shown somebody who was out of scope or disabled. False where the copy knows better by now."""
    known = Member.objects.filter(pk=member_id, presence__in=_HEALING, waits_since__isnull=True)
    is_disabled = When(status=Member.Status.DISABLED, then=Value(Member.Status.ACTIVE))
    status = Case(is_disabled, default=F("status"))
    return bool(known.update(presence=Member.Presence.HERE, left_at=None, status=status, changed_at=now))


# Deleted and missing people are not among them: their userid may be somebody else's by now.
_HEALING = (Member.Presence.HERE, Member.Presence.OUT_OF_SCOPE)


def put_away(*, corp: Corp) -> None:
    """Forget the differences of all but the last runs, then all but the last runs."""
    runs = SyncRun.objects.filter(corp=corp).order_by("-pk")
    old = list(runs.values_list("pk", flat=True)[KEPT_WITH_CHANGES:])
    while keys := list(SyncChange.objects.filter(run__in=old).values_list("pk", flat=True)[:_AT_ONCE]):
        SyncChange.objects.filter(pk__in=keys).delete()
    SyncRun.objects.filter(pk__in=old[KEPT_RUNS - KEPT_WITH_CHANGES :]).delete()


# --- The stored directory of a corp, read as values for comparing ---

_MEMBERS_AT_ONCE = 2000


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
    for pk, userid, folded, presence, waits_since, status, *values in rows.iterator(_MEMBERS_AT_ONCE):
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
    for member, department, leads in rows.values_list("member_id", "department_id", "is_leader").iterator(
        _MEMBERS_AT_ONCE
    ):
        found.setdefault(member, {})[numbers[department]] = leads
    return found
