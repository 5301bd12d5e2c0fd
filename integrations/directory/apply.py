"""Writes differences in chunks; each transaction checks the run's lease and updates its counts.

So a killed run has written whole chunks, and whoever goes on finds only the rest to be different. Leavers go first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from integrations.directory.diff import DepartmentDifferences, Difference
from integrations.directory.normalize import PLAIN_FIELDS, Person, SeenDepartment
from integrations.directory.plan import Plan
from integrations.models import Corp, Department, Member, Membership, SyncChange, SyncRun

T = TypeVar("T")
Presence, Kind = Member.Presence, SyncChange.Kind

CHUNK = 1000
# How long a worker may be silent before another takes its run over: longer than one call with all its repeats.
LEASE = timedelta(seconds=180)
DEPARTMENTS = "departments"
_ROWS_A_STATEMENT = 500


class RowWriter(ABC):
    """Writes a plan. What holds for all who write: who somebody else has changed since the plan's reading began is
    left to them, as they know more. `read_since`: when that was. `own`: when whoever writes has changed members since,
    by their keys; who changed one of these later knows more, too.
    """

    def __init__(
        self, *, corp: Corp, read_since: datetime | None = None, own: Mapping[int, datetime] | None = None
    ) -> None:
        self._corp, self.read_since, self._own = corp, read_since, own or {}
        self._department_keys: dict[int, int] = {}
        # Keys of the members that were written, and how many were left to somebody else.
        self.touched: list[int] = []
        self.left_count = 0

    def write(self, plan: Plan) -> None:
        self._write_departments(plan.departments)
        departments = Department.objects.filter(corp=self._corp)
        self._department_keys = dict(departments.values_list("wecom_department_id", "pk"))
        for chunk in _chunks(plan.losing):
            self._write_differences(chunk)
        for chunk in _chunks(plan.changed):
            self._write_differences(chunk)
        for people in _chunks(plan.joined):
            self._write_joined(people)

    @abstractmethod
    def _chunk(self, counts: Mapping[str, int]) -> AbstractContextManager[datetime]:
        """A transaction in which a chunk is written, and its time. `counts`: how much of each kind, once it ends."""

    @abstractmethod
    def _note(self, changes: Sequence[Difference], joined: Sequence[Member], now: datetime) -> None:
        """Keep a record of what a chunk wrote, in its transaction."""

    def _write_departments(self, found: DepartmentDifferences) -> None:
        for created in _chunks(found.created):
            with self._chunk({DEPARTMENTS: len(created)}):
                numbers = [one.number for one in created]
                known = Department.objects.filter(corp=self._corp, wecom_department_id__in=numbers)
                there = set(known.values_list("wecom_department_id", flat=True))
                _insert(Department, [self._department(one) for one in created if one.number not in there])
        for changed in _chunks(list(found.changed.items())):
            with self._chunk({DEPARTMENTS: len(changed)}):
                for key, updates in changed:
                    Department.objects.filter(pk=key).update(**updates)
        for removed in _chunks(found.removed):
            with self._chunk({DEPARTMENTS: len(removed)}) as now:
                Department.objects.filter(pk__in=removed).update(removed_at=now)

    def _department(self, one: SeenDepartment) -> Department:
        return Department(
            corp=self._corp,
            wecom_department_id=one.number,
            wecom_parent_id=one.parent,
            name=one.name,
            order=one.order,
        )

    def _write_differences(self, chunk: Sequence[Difference]) -> None:
        counts = Counter[str]()
        with self._chunk(counts) as now:
            members = self._locked(chunk)
            chunk = [one for one in chunk if one.state.pk in members]
            counts.update(one.kind.value for one in chunk)
            columns = {"changed_at"}.union(*(_change(members[one.state.pk], one, now) for one in chunk))
            Member.objects.bulk_update(members.values(), sorted(columns), batch_size=_ROWS_A_STATEMENT)
            self._write_memberships(chunk)
            self.touched += list(members)
            self._note(chunk, [], now)

    def _locked(self, chunk: Sequence[Difference]) -> dict[int, Member]:
        rows = Member.objects.select_for_update().filter(pk__in=[one.state.pk for one in chunk]).order_by("pk")
        members = {one.pk: one for one in rows if self._knows(one)}
        self.left_count += len(chunk) - len(members)
        return members

    def _knows(self, member: Member) -> bool:
        is_as_read = self.read_since is None or member.changed_at <= self.read_since
        return is_as_read or self._own.get(member.pk) == member.changed_at

    def _write_memberships(self, chunk: Sequence[Difference]) -> None:
        moved = [one for one in chunk if one.departments is not None]
        if not moved:
            return
        Membership.objects.filter(member__in=[one.state.pk for one in moved]).delete()
        _insert(Membership, [row for one in moved for row in self._memberships(one.state.pk, one.departments or {})])

    def _write_joined(self, people: Sequence[Person]) -> None:
        counts = Counter[str]()
        with self._chunk(counts) as now:
            known = Member.objects.filter(corp=self._corp, userid_folded__in=[one.folded for one in people])
            there = set(known.values_list("userid_folded", flat=True))
            self.left_count += len(there)
            people = [one for one in people if one.folded not in there]
            counts[Kind.JOINED.value] = len(people)
            members = _insert(Member, [self._joined(person, now) for person in people])
            pairs = list(zip(members, people, strict=True))
            _insert(Membership, [row for one, person in pairs for row in self._memberships(one.pk, person.departments)])
            self.touched += [one.pk for one in members]
            self._note([], members, now)

    def _joined(self, person: Person, now: datetime) -> Member:
        return Member(
            corp=self._corp,
            userid=person.userid,
            userid_folded=person.folded,
            status=person.status,
            first_seen_at=now,
            changed_at=now,
            **{name: getattr(person, name) for name in PLAIN_FIELDS},
        )

    def _memberships(self, member: int, departments: dict[int, bool | None]) -> list[Membership]:
        keys = self._department_keys
        return [
            Membership(member_id=member, department_id=keys[number], is_leader=leads)
            for number, leads in departments.items()
        ]


class Writer(RowWriter):
    """Writes for one run. `clock`: the time of each chunk. Raises LeaseLostError when the run is not ours any more."""

    def __init__(self, *, corp: Corp, run: SyncRun, clock: Callable[[], datetime]) -> None:
        super().__init__(corp=corp)
        self._run, self._clock = run, clock

    def propose(self, differences: Sequence[Difference]) -> None:
        """Note what the run would do, for an administrator to look at, in place of what was noted before."""
        with self._chunk({}):
            SyncChange.objects.filter(run=self._run, applied_at__isnull=True).delete()
        for chunk in _chunks(differences):
            with self._chunk({}):
                _insert(SyncChange, [self._change(one, None) for one in chunk])

    def _note(self, changes: Sequence[Difference], joined: Sequence[Member], now: datetime) -> None:
        rows = [self._change(one, now) for one in changes]
        rows += [SyncChange(run=self._run, member=one, kind=Kind.JOINED, applied_at=now) for one in joined]
        _insert(SyncChange, rows)

    def _change(self, one: Difference, applied_at: datetime | None) -> SyncChange:
        return SyncChange(
            run=self._run, member_id=one.state.pk, kind=one.kind, fields=one.record, applied_at=applied_at
        )

    @contextmanager
    def _chunk(self, counts: Mapping[str, int]) -> Iterator[datetime]:
        """A transaction that holds the run's row: its lease is ours and goes on, its counts grow by `counts`."""
        now = self._clock()
        with SyncRun.objects.hold(self._run, until=now + LEASE) as held:
            yield now
            total = Counter(held.counts)
            total.update(counts)
            held.counts, held.done_count = dict(total), held.done_count + sum(counts.values())


def _change(member: Member, one: Difference, now: datetime) -> set[str]:
    """Lay a difference over its row. Returns the columns."""
    updates = {"changed_at": now, **one.updates}
    if "presence" in updates:
        updates["left_at"] = None if updates["presence"] == Presence.HERE else now
    if one.waits is not None:
        updates["waits_since"] = now if one.waits else None
    for name, value in updates.items():
        setattr(member, name, value)
    return set(updates)


def _insert(model: Any, rows: list[Any]) -> list[Any]:
    """With their keys."""
    return list(model.objects.bulk_create(rows, batch_size=_ROWS_A_STATEMENT))


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
