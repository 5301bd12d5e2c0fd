"""Plans a run's writes: who changed, who joined, and where unlisted members are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from integrations.directory.diff import DepartmentDifferences, Difference, MemberState, absence, difference, presence_of
from integrations.directory.fetch import Whereabouts
from integrations.directory.normalize import Person, Snapshot
from integrations.models import Member, SyncChange, SyncRun

Presence, Source = Member.Presence, SyncRun.Source
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
    certain += _whose_turn(by_turn, turn)
    for state, where in zip(certain, look_up([state.userid for state in certain]), strict=True):
        if where.person is not None:
            if state.presence == Presence.HERE:
                snapshot.warnings.add("moved_meanwhile", state.userid)
            planned.add(difference(state, where.person, Presence.HERE))
        else:
            planned.add(absence(state, Presence.OUT_OF_SCOPE if where.exists else Presence.DELETED))
    for state in beyond:
        planned.add(absence(state, Presence.MISSING if company is None else Presence.DELETED))


def _whose_turn(outsiders: list[MemberState], turn: int) -> list[MemberState]:
    if len(outsiders) <= OUTSIDERS_LOOKED_UP:
        return outsiders
    start = turn * OUTSIDERS_LOOKED_UP % len(outsiders)
    return list(islice([*outsiders[start:], *outsiders[:start]], OUTSIDERS_LOOKED_UP))
