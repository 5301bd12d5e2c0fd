"""Writes differences, in chunks: each is one transaction, in which the run's lease is checked and its counts grow.

So a killed run has written whole chunks, and whoever goes on finds only the rest to be different. Leavers go first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import transaction

from integrations.directory.comparing import DepartmentDifferences, Difference
from integrations.directory.people import PLAIN_FIELDS, Person, SeenDepartment
from integrations.directory.planning import Plan
from integrations.directory.stops import LeaseLostError
from integrations.models import Corp, Department, Member, Membership, SyncChange, SyncRun

T = TypeVar("T")
Presence, Kind = Member.Presence, SyncChange.Kind

CHUNK = 1000
# How long a worker may be silent before another takes its run over: longer than one call with all its repeats.
LEASE = timedelta(seconds=180)
DEPARTMENTS = "departments"
_ROWS_A_STATEMENT = 500


class Writer:
    """Writes for one run. `clock`: the time of each chunk. Raises LeaseLostError when the run is not ours any more."""

    def __init__(self, *, corp: Corp, run: SyncRun, clock: Callable[[], datetime]) -> None:
        self._corp, self._run, self._clock = corp, run, clock
        self._department_keys: dict[int, int] = {}

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

    def propose(self, differences: Sequence[Difference]) -> None:
        """Note what the run would do, for an administrator to look at, in place of what was noted before."""
        with self._chunk({}):
            SyncChange.objects.filter(run=self._run, applied_at__isnull=True).delete()
        for chunk in _chunks(differences):
            with self._chunk({}):
                _insert(SyncChange, [self._change(one, None) for one in chunk])

    def _write_departments(self, found: DepartmentDifferences) -> None:
        for created in _chunks(found.created):
            with self._chunk({DEPARTMENTS: len(created)}):
                _insert(Department, [self._department(one) for one in created])
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
        with self._chunk(Counter(one.kind.value for one in chunk)) as now:
            members = Member.objects.in_bulk([one.state.pk for one in chunk])
            columns = {"changed_at"}.union(*(_change(members[one.state.pk], one, now) for one in chunk))
            Member.objects.bulk_update(members.values(), sorted(columns), batch_size=_ROWS_A_STATEMENT)
            self._write_memberships(chunk)
            _insert(SyncChange, [self._change(one, now) for one in chunk])

    def _write_memberships(self, chunk: Sequence[Difference]) -> None:
        moved = [one for one in chunk if one.departments is not None]
        if not moved:
            return
        Membership.objects.filter(member__in=[one.state.pk for one in moved]).delete()
        _insert(Membership, [row for one in moved for row in self._memberships(one.state.pk, one.departments or {})])

    def _write_joined(self, people: Sequence[Person]) -> None:
        with self._chunk({Kind.JOINED.value: len(people)}) as now:
            members = _insert(Member, [self._joined(person, now) for person in people])
            pairs = list(zip(members, people, strict=True))
            _insert(Membership, [row for one, person in pairs for row in self._memberships(one.pk, person.departments)])
            joined = [SyncChange(run=self._run, member=one, kind=Kind.JOINED, applied_at=now) for one in members]
            _insert(SyncChange, joined)

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

    def _change(self, one: Difference, applied_at: datetime | None) -> SyncChange:
        return SyncChange(
            run=self._run, member_id=one.state.pk, kind=one.kind, fields=one.record, applied_at=applied_at
        )

    @contextmanager
    def _chunk(self, counts: dict[str, int]) -> Iterator[datetime]:
        """A transaction that holds the run's row: its lease is ours and goes on, its counts grow by `counts`."""
        with transaction.atomic():
            now = self._clock()
            run = SyncRun.objects.select_for_update().filter(pk=self._run.pk, status=SyncRun.Status.RUNNING)
            held = run.filter(lease_token=self._run.lease_token).first()
            if held is None:
                raise LeaseLostError
            yield now
            total = Counter(held.counts)
            total.update(counts)
            held.counts, held.done_count = dict(total), held.done_count + sum(counts.values())
            held.lease_until = now + LEASE
            held.save(update_fields=["counts", "done_count", "lease_until"])


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
