"""Compares stored rows with WeCom's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from integrations.directory.normalize import DISABLED, PLAIN_FIELDS, PRIVATE_FIELDS, Person, SeenDepartment
from integrations.models import Member, SyncChange, SyncRun

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
    _compare_status(found, person.status)
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


def _compare_status(found: Difference, status: str | None) -> None:
    old = found.state.status
    if status is None or status == old:
        return
    _note(found, "status", old, status)
    if status == DISABLED:
        found.kind = Kind.DISABLED
    elif old == DISABLED:
        found.kind = Kind.ENABLED


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
