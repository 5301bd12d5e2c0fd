"""Comparison of stored rows with WeCom's: plan the changes of every member, and write them in chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

from integrations.directory.fetch import (
    DISABLED,
    PLAIN_FIELDS,
    SeenDepartment,
    SeenMember,
    Snapshot,
    UserLookup,
)
from integrations.models import Corp, Department, Member, SyncRun

Kind, Presence = SyncRun.Change, Member.Presence
_Membership = Member.departments.through

_KIND_OF_ABSENCE = {
    Presence.OUT_OF_SCOPE: Kind.LEFT_SCOPE,
    Presence.DELETED: Kind.DELETED,
    Presence.MISSING: Kind.MISSING,
}
# If a member is in one of these states, somebody else may have the userid by now.
_UNSURE = frozenset({Presence.DELETED, Presence.MISSING})


@dataclass(slots=True)
class Difference:
    """The changes to write for one member. `updates`: new values by column of Member, without the times.

    `waits`: True makes the member wait for an administrator, False ends the wait, None changes nothing.
    """

    member: Member
    kind: SyncRun.Change
    updates: dict[str, Any] = field(default_factory=dict)
    departments: set[int] | None = None
    waits: bool | None = None


def compare_member(member: Member, person: SeenMember, presence: Member.Presence) -> Difference | None:
    """Return the changes of a member whom WeCom lists; None if nothing changed."""
    found = Difference(member, Kind.CHANGED)
    if person.userid != member.userid:
        found.updates["userid"] = person.userid
    for name in (*PLAIN_FIELDS, "status"):
        new = getattr(person, name)
        if new is not None and new != getattr(member, name):
            found.updates[name] = new
    if person.departments != member.department_numbers:
        found.departments = person.departments
    if "status" in found.updates and DISABLED in (person.status, member.status):
        found.kind = Kind.DISABLED if person.status == DISABLED else Kind.ENABLED
    if presence != member.presence:
        found.updates["presence"] = presence
        if member.presence in _UNSURE:
            found.kind, found.waits = Kind.REAPPEARED, True
        else:
            found.kind = Kind.CAME_BACK if presence == Presence.IN_SCOPE else Kind.LEFT_SCOPE
    return found if found.updates or found.departments is not None else None


def compare_absent_member(member: Member, presence: Member.Presence) -> Difference | None:
    """Return the changes of a member whom WeCom does not list; None if the stored presence is the same."""
    if member.presence == presence:
        return None
    found = Difference(member, _KIND_OF_ABSENCE[presence], {"presence": presence})
    if presence in _UNSURE and member.waits_since is not None:
        found.waits = False
    return found


# --- Departments ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class DepartmentDifferences:
    """Changes of departments. `changed`: primary key → column → new value; `removed_at` None restores a department.
    `removed`: primary keys."""

    created: list[SeenDepartment] = field(default_factory=list)
    changed: dict[int, dict[str, Any]] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.created) + len(self.changed) + len(self.removed)


def compare_departments(stored: Iterable[Department], seen: Mapping[int, SeenDepartment]) -> DepartmentDifferences:
    """Compare the stored departments, removed ones included, with WeCom's."""
    found, known = DepartmentDifferences(), set()
    for department in stored:
        known.add(department.wecom_department_id)
        one = seen.get(department.wecom_department_id)
        if one is None:
            if department.removed_at is None:
                found.removed.append(department.pk)
            continue
        updates: dict[str, Any] = {} if department.removed_at is None else {"removed_at": None}
        if one.name is not None and one.name != department.name:
            updates["name"] = one.name
        if one.parent != department.wecom_parent_id:
            updates["wecom_parent_id"] = one.parent
        if one.order != department.order:
            updates["order"] = one.order
        if updates:
            found.changed[department.pk] = updates
    found.created = [one for number, one in sorted(seen.items()) if number not in known]
    return found


LookUp = Callable[[Sequence[str]], Iterable[UserLookup]]

# How many absent members a run looks up, with one call each; a company has fewer leavers a day. The others count as
# deleted if there is a list by the contacts secret, which lacks them; without that list the reason stays unknown.
LOOK_UPS_AT_MOST = 500
# How many members out of scope each run looks up, in turns, if there is no list by the contacts secret. Without these
# calls nobody would notice that a userid was deleted, and its next owner would get access without an administrator.
OUTSIDERS_LOOKED_UP = 100


@dataclass(slots=True)
class DirectoryPlan:
    """The changes of a directory to write. `losing`: differences that take away access; they are written first."""

    departments: DepartmentDifferences = field(default_factory=DepartmentDifferences)
    losing: list[Difference] = field(default_factory=list)
    changed: list[Difference] = field(default_factory=list)
    joined: list[SeenMember] = field(default_factory=list)

    def add(self, found: Difference | None) -> None:
        if found is not None:
            (self.losing if found.kind in SyncRun.LOSING else self.changed).append(found)

    @property
    def count(self) -> int:
        return self.departments.count + len(self.losing) + len(self.changed) + len(self.joined)


def plan_changes(*, snapshot: Snapshot, members: Iterable[Member], look_up: LookUp, turn: int | None) -> DirectoryPlan:
    """Compare `members` with the snapshot. People whom the app does not see are out of scope; new ones are not copied.

    `turn` (the run's number) selects which members out of scope are looked up. None: every absent one is looked up.
    """
    planned = DirectoryPlan()
    absent: list[Member] = []
    known: set[str] = set()
    people, left, company = snapshot.people, snapshot.left_userids, snapshot.company_userids
    for folded in left:
        people.pop(folded, None)
    for member in members:
        folded = member.userid_folded
        known.add(folded)
        if (person := people.get(folded)) is not None:
            presence = Presence.IN_SCOPE if person.is_seen_by_app else Presence.OUT_OF_SCOPE
            planned.add(compare_member(member, person, presence))
        elif member.presence in _UNSURE:
            continue
        elif folded in left:
            planned.add(compare_absent_member(member, Presence.DELETED))
        elif company is not None and folded in company:
            planned.add(compare_absent_member(member, Presence.OUT_OF_SCOPE))
        else:
            absent.append(member)
    planned.joined = [one for folded, one in people.items() if folded not in known and one.is_seen_by_app]
    _plan_absent(planned, absent, snapshot, look_up, turn)
    return planned


def _plan_absent(
    planned: DirectoryPlan, absent: list[Member], snapshot: Snapshot, look_up: LookUp, turn: int | None
) -> None:
    """Plan the changes of members who are in no list: look up at WeCom as many of them as a run may."""
    beyond, has_company_list = list[Member](), snapshot.company_userids is not None
    if turn is not None:
        outsiders = [one for one in absent if not has_company_list and one.presence == Presence.OUT_OF_SCOPE]
        others = [one for one in absent if has_company_list or one.presence != Presence.OUT_OF_SCOPE]
        start = turn * OUTSIDERS_LOOKED_UP % max(len(outsiders), 1)
        beyond = others[LOOK_UPS_AT_MOST:]
        absent = [*others[:LOOK_UPS_AT_MOST], *[*outsiders[start:], *outsiders[:start]][:OUTSIDERS_LOOKED_UP]]
    for member, found in zip(absent, look_up([one.userid for one in absent]), strict=True):
        if found.person is not None:
            if member.presence == Presence.IN_SCOPE:
                snapshot.warn("moved_meanwhile", member.userid)
            planned.add(compare_member(member, found.person, Presence.IN_SCOPE))
        else:
            planned.add(compare_absent_member(member, Presence.OUT_OF_SCOPE if found.exists else Presence.DELETED))
    for member in beyond:
        planned.add(compare_absent_member(member, Presence.DELETED if has_company_list else Presence.MISSING))


T = TypeVar("T")
CHUNK = 1000  # how many members one transaction writes
DEPARTMENTS = "departments"  # their key among the counts of changes
_ROWS_A_STATEMENT = 500


OpenChunk = Callable[[Mapping[str, int]], AbstractContextManager[datetime]]
NoteChanges = Callable[[Sequence[Difference], Sequence[Member], datetime], None]


class Writer:
    """Writer of a plan, in chunks. If another writer changed a member since the reading of WeCom began, the member is
    skipped, because that change is newer.

    `open_chunk`: opens a transaction for a chunk and yields its time; the block fills the mapping passed to it with the
    number of changes by kind. `note`: records a chunk's changes, in its transaction. `read_since`: when the reading
    began. `own`: primary key → when this batch of events changed the member, which does not count as another writer.
    """

    def __init__(
        self,
        *,
        corp: Corp,
        open_chunk: OpenChunk,
        note: NoteChanges,
        read_since: datetime | None,
        own: Mapping[int, datetime] = MappingProxyType({}),
    ) -> None:
        self._corp, self._open_chunk, self._note, self._read_since, self._own = corp, open_chunk, note, read_since, own
        self._department_keys: dict[int, int] = {}
        self.skipped_count = 0

    def write(self, plan: DirectoryPlan) -> None:
        found = plan.departments
        if found.count:
            with self._open_chunk({DEPARTMENTS: found.count}) as now:
                new = [
                    Department(
                        corp=self._corp,
                        wecom_department_id=one.number,
                        wecom_parent_id=one.parent,
                        name=one.name,
                        order=one.order,
                    )
                    for one in found.created
                ]
                # Another writer may have created some of them meanwhile.
                Department.objects.bulk_create(new, batch_size=_ROWS_A_STATEMENT, ignore_conflicts=True)
                for key, updates in found.changed.items():
                    Department.objects.filter(pk=key).update(**updates)
                Department.objects.filter(pk__in=found.removed).update(removed_at=now)
        departments = Department.objects.filter(corp=self._corp)
        self._department_keys = dict(departments.values_list("wecom_department_id", "pk"))
        for chunk in (*_split_into_chunks(plan.losing), *_split_into_chunks(plan.changed)):
            self._write_differences(chunk)
        for people in _split_into_chunks(plan.joined):
            self._write_joined(people)

    def _write_differences(self, chunk: Sequence[Difference]) -> None:
        counts = Counter[str]()
        with self._open_chunk(counts) as now:
            members = self._lock(chunk)
            chunk = [one for one in chunk if one.member.pk in members]
            counts.update(one.kind.value for one in chunk)
            columns = {"changed_at"}
            for one in chunk:
                updates = {"changed_at": now, **one.updates}
                if "presence" in updates:
                    updates["left_at"] = None if updates["presence"] == Presence.IN_SCOPE else now
                if one.waits is not None:
                    updates["waits_since"] = now if one.waits else None
                for name, value in updates.items():
                    setattr(members[one.member.pk], name, value)
                columns |= updates.keys()
            Member.objects.bulk_update(members.values(), sorted(columns), batch_size=_ROWS_A_STATEMENT)
            moved = [one for one in chunk if one.departments is not None]
            _Membership.objects.filter(member__in=[one.member.pk for one in moved]).delete()
            rows = [row for one in moved for row in self._make_memberships(one.member.pk, one.departments or ())]
            insert_rows(_Membership, rows)
            self._note(chunk, [], now)

    def _lock(self, chunk: Sequence[Difference]) -> dict[int, Member]:
        rows = Member.objects.select_for_update().filter(pk__in=[one.member.pk for one in chunk]).order_by("pk")
        members = {
            one.pk: one
            for one in rows
            if self._read_since is None or one.changed_at <= self._read_since or self._own.get(one.pk) == one.changed_at
        }
        self.skipped_count += len(chunk) - len(members)
        return members

    def _write_joined(self, people: Sequence[SeenMember]) -> None:
        counts = Counter[str]()
        with self._open_chunk(counts) as now:
            known = Member.objects.filter(corp=self._corp, userid_folded__in=[one.folded for one in people])
            there = set(known.values_list("userid_folded", flat=True))
            self.skipped_count += len(there)
            people = [one for one in people if one.folded not in there]
            counts[Kind.JOINED.value] = len(people)
            new = [
                Member(
                    corp=self._corp,
                    userid=person.userid,
                    userid_folded=person.folded,
                    status=person.status,
                    first_seen_at=now,
                    changed_at=now,
                    **{name: getattr(person, name) for name in PLAIN_FIELDS},
                )
                for person in people
            ]
            members = insert_rows(Member, new)
            pairs = list(zip(members, people, strict=True))
            insert_rows(
                _Membership,
                [row for one, person in pairs for row in self._make_memberships(one.pk, person.departments)],
            )
            self._note([], members, now)

    def _make_memberships(self, member: int, departments: Iterable[int]) -> list[Any]:
        return [_Membership(member_id=member, department_id=self._department_keys[number]) for number in departments]


def insert_rows(model: Any, rows: list[Any]) -> list[Any]:
    """Insert rows and return them with their keys."""
    return list(model.objects.bulk_create(rows, batch_size=_ROWS_A_STATEMENT))


def _split_into_chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
