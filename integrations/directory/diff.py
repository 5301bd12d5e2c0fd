"""Compares stored rows with WeCom's, plans what becomes of everybody, and writes it in chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from integrations.directory.fetch import (
    DISABLED,
    PLAIN_FIELDS,
    PRIVATE_FIELDS,
    Person,
    SeenDepartment,
    Snapshot,
    Whereabouts,
)
from integrations.jobs.runner import JobRun
from integrations.models import Corp, Department, Member, Membership, SyncChange, SyncRun

Kind, Presence, Source = SyncChange.Kind, Member.Presence, SyncRun.Source

_KIND_OF_ABSENCE = {
    Presence.OUT_OF_SCOPE: Kind.LEFT_SCOPE,
    Presence.DELETED: Kind.DELETED,
    Presence.MISSING: Kind.MISSING,
}
# Who was in one of these may have given the userid to somebody else since.
_UNSURE = frozenset({Presence.DELETED, Presence.MISSING})


@dataclass(slots=True)
class MemberState:
    """A stored member. `departments`: number to whether they lead there."""

    pk: int
    userid: str
    folded: str
    presence: str
    is_waiting: bool
    status: str | None
    departments: Mapping[int, bool | None]
    values: tuple[str | None, ...]  # of PLAIN_FIELDS

    @property
    def is_able(self) -> bool:
        """Whether losing this member would take something from somebody."""
        return self.presence == Presence.HERE and self.status != DISABLED and not self.is_waiting


@dataclass(slots=True)
class Difference:
    """What has to be written of one member. `updates`: columns of Member, without those that need the time.

    `waits`: True starts waiting for an administrator, False ends it, None leaves it. `record`: for SyncChange.fields.
    """

    state: MemberState
    kind: SyncChange.Kind
    updates: dict[str, Any] = field(default_factory=dict)
    departments: dict[int, bool | None] | None = None
    waits: bool | None = None
    record: dict[str, Any] = field(default_factory=dict)


def presence_of(person: Person, state: MemberState | None, source: SyncRun.Source) -> Member.Presence | None:
    """Where a listed person is; None for one whom the app does not see and of whom we know nothing: not copied."""
    if person.is_seen_by_app:
        return Presence.HERE
    if source == Source.BOTH:
        return None if state is None else Presence.OUT_OF_SCOPE
    # The contacts secret alone cannot tell whether the app sees somebody: what was known of that stays.
    is_known_outside = state is not None and state.presence == Presence.OUT_OF_SCOPE
    return Presence.OUT_OF_SCOPE if is_known_outside else Presence.HERE


def difference(state: MemberState, person: Person, presence: Member.Presence) -> Difference | None:
    """What to write of a member who was listed; None where nothing changed."""
    found = Difference(state, Kind.CHANGED)
    if person.userid != state.userid:
        _note(found, "userid", state.userid, person.userid)
    for name, old in zip(PLAIN_FIELDS, state.values, strict=True):
        new = getattr(person, name)
        if new is not None and new != old:
            _note(found, name, old, new)
    _compare_departments(found, person)
    old_status, status = state.status, person.status
    if status is not None and status != old_status:
        _note(found, "status", old_status, status)
        if status == DISABLED:
            found.kind = Kind.DISABLED
        elif old_status == DISABLED:
            found.kind = Kind.ENABLED
    _compare_presence(found, presence)
    return found if found.updates or found.departments is not None else None


def absence(state: MemberState, presence: Member.Presence) -> Difference | None:
    """What to write of a member who was not listed; None where that was known."""
    if state.presence == presence:
        return None
    found = Difference(state, _KIND_OF_ABSENCE[presence], {"presence": presence})
    if presence in _UNSURE and state.is_waiting:
        found.waits = False
    return found


def _note(found: Difference, name: str, old: Any, new: Any) -> None:
    found.updates[name] = new
    found.record[name] = True if name in PRIVATE_FIELDS else [old, new]


def _compare_departments(found: Difference, person: Person) -> None:
    old = found.state.departments
    # Where it is not told whether somebody leads a department, what was known stays.
    new = {number: old.get(number) if leads is None else leads for number, leads in person.departments.items()}
    if new == old:
        return
    found.departments = new
    if new.keys() != old.keys():
        found.record["departments"] = [sorted(old), sorted(new)]
    else:
        found.record["leads"] = [sorted(filter(old.get, old)), sorted(filter(new.get, new))]


def _compare_presence(found: Difference, presence: Member.Presence) -> None:
    old = found.state.presence
    if presence == old:
        return
    found.updates["presence"] = presence
    if old in _UNSURE:
        found.kind, found.waits = Kind.REAPPEARED, True
    elif presence == Presence.HERE:
        found.kind = Kind.CAME_BACK
    else:
        found.kind = Kind.LEFT_SCOPE


# --- Departments ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DepartmentState:
    """A stored department."""

    pk: int
    number: int
    parent: int | None
    name: str | None
    order: int
    is_removed: bool


@dataclass(slots=True)
class DepartmentDifferences:
    """`changed`: by primary key, columns of Department; a department that is there again has `removed_at` None."""

    created: list[SeenDepartment] = field(default_factory=list)
    changed: dict[int, dict[str, Any]] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.created) + len(self.changed) + len(self.removed)


def department_differences(
    states: Iterable[DepartmentState], seen: Mapping[int, SeenDepartment]
) -> DepartmentDifferences:
    """What to write of the departments."""
    found, known = DepartmentDifferences(), set()
    for state in states:
        known.add(state.number)
        one = seen.get(state.number)
        if one is None:
            if not state.is_removed:
                found.removed.append(state.pk)
            continue
        updates: dict[str, Any] = {"removed_at": None} if state.is_removed else {}
        if one.name is not None and one.name != state.name:
            updates["name"] = one.name
        if one.parent != state.parent:
            updates["wecom_parent_id"] = one.parent
        if one.order != state.order:
            updates["order"] = one.order
        if updates:
            found.changed[state.pk] = updates
    found.created = [one for number, one in sorted(seen.items()) if number not in known]
    return found


LookUp = Callable[[Sequence[str]], Iterable[Whereabouts]]

# Of how many people who seem to be gone a run asks WeCom why, one call each. A company's leavers of a day are fewer;
# of those beyond, the contacts secret's list is believed, and without one the reason stays unknown.
LOOK_UPS_AT_MOST = 500
# Of those who are out of scope, which only the contacts secret tells for all, a run looks after this many, each run
# after others: a userid that is deleted meanwhile, and given to somebody else, must not heal by itself.
OUTSIDERS_LOOKED_UP = 100


@dataclass(slots=True)
class Plan:
    """What would be written. `losing`: differences that take something from a person; they are written first."""

    departments: DepartmentDifferences = field(default_factory=DepartmentDifferences)
    losing: list[Difference] = field(default_factory=list)
    changed: list[Difference] = field(default_factory=list)
    joined: list[Person] = field(default_factory=list)

    def add(self, found: Difference | None) -> None:
        if found is not None:
            (self.losing if found.kind in SyncChange.LOSING else self.changed).append(found)

    @property
    def count(self) -> int:
        return self.departments.count + len(self.losing) + len(self.changed) + len(self.joined)


def plan(
    *, snapshot: Snapshot, states: Iterable[MemberState], source: SyncRun.Source, look_up: LookUp, turn: int
) -> Plan:
    """Compare everybody; `turn` says whose turn it is among those out of scope (the run's number)."""
    planned = Plan()
    absent: list[MemberState] = []
    known: set[str] = set()
    people = snapshot.people
    for folded in snapshot.left:
        people.pop(folded, None)
    for state in states:
        person = people.get(state.folded)
        if person is None:
            absent.append(state)
            continue
        known.add(state.folded)
        presence = presence_of(person, state, source)
        if presence is not None:
            planned.add(difference(state, person, presence))
    joined = (person for folded, person in people.items() if folded not in known)
    planned.joined = [person for person in joined if presence_of(person, None, source) is not None]
    _plan_absent(planned, absent, snapshot, look_up, turn)
    return planned


def _plan_absent(planned: Plan, absent: list[MemberState], snapshot: Snapshot, look_up: LookUp, turn: int) -> None:
    company = snapshot.company
    certain, by_turn = [], []
    for state in absent:
        if state.presence in (Presence.DELETED, Presence.MISSING):
            continue
        if state.folded in snapshot.left:
            planned.add(absence(state, Presence.DELETED))
        elif company is not None and state.folded in company:
            planned.add(absence(state, Presence.OUT_OF_SCOPE))
        elif state.presence == Presence.OUT_OF_SCOPE and company is None:
            by_turn.append(state)
        else:
            certain.append(state)
    certain, beyond = certain[:LOOK_UPS_AT_MOST], certain[LOOK_UPS_AT_MOST:]
    start = turn * OUTSIDERS_LOOKED_UP % max(len(by_turn), 1)
    certain += [*by_turn[start:], *by_turn[:start]][:OUTSIDERS_LOOKED_UP]
    for state, where in zip(certain, look_up([state.userid for state in certain]), strict=True):
        if where.person is not None:
            if state.presence == Presence.HERE:
                snapshot.warnings.add("moved_meanwhile", state.userid)
            planned.add(difference(state, where.person, Presence.HERE))
        else:
            planned.add(absence(state, Presence.OUT_OF_SCOPE if where.exists else Presence.DELETED))
    for state in beyond:
        planned.add(absence(state, Presence.MISSING if company is None else Presence.DELETED))


T = TypeVar("T")
CHUNK = 1000
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
        for chunk in (*_chunks(plan.losing), *_chunks(plan.changed)):
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
                rows = [
                    Department(
                        corp=self._corp,
                        wecom_department_id=one.number,
                        wecom_parent_id=one.parent,
                        name=one.name,
                        order=one.order,
                    )
                    for one in created
                    if one.number not in there
                ]
                _insert(Department, rows)
        for changed in _chunks(list(found.changed.items())):
            with self._chunk({DEPARTMENTS: len(changed)}):
                for key, updates in changed:
                    Department.objects.filter(pk=key).update(**updates)
        for removed in _chunks(found.removed):
            with self._chunk({DEPARTMENTS: len(removed)}) as now:
                Department.objects.filter(pk__in=removed).update(removed_at=now)

    def _write_differences(self, chunk: Sequence[Difference]) -> None:
        counts = Counter[str]()
        with self._chunk(counts) as now:
            members = self._locked(chunk)
            chunk = [one for one in chunk if one.state.pk in members]
            counts.update(one.kind.value for one in chunk)
            columns = {"changed_at"}.union(*(_change(members[one.state.pk], one, now) for one in chunk))
            Member.objects.bulk_update(members.values(), sorted(columns), batch_size=_ROWS_A_STATEMENT)
            moved = [one for one in chunk if one.departments is not None]
            Membership.objects.filter(member__in=[one.state.pk for one in moved]).delete()
            rows = [row for one in moved for row in self._memberships(one.state.pk, one.departments or {})]
            _insert(Membership, rows)
            self.touched += list(members)
            self._note(chunk, [], now)

    def _locked(self, chunk: Sequence[Difference]) -> dict[int, Member]:
        rows = Member.objects.select_for_update().filter(pk__in=[one.state.pk for one in chunk]).order_by("pk")
        members = {
            one.pk: one
            for one in rows
            if self.read_since is None or one.changed_at <= self.read_since or self._own.get(one.pk) == one.changed_at
        }
        self.left_count += len(chunk) - len(members)
        return members

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
    """Writes for one run. Raises LeaseLostError when its job is not ours any more."""

    def __init__(self, *, corp: Corp, run: SyncRun, job: JobRun) -> None:
        super().__init__(corp=corp)
        self._run, self._job = run, job

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
        """A transaction that holds the run's row, whose counts grow by `counts`."""
        with self._job.saving(SyncRun.objects.filter(pk=self._run.pk)) as held:
            yield self._job.clock()
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
