"""Updates the members that events name: looked up one by one, compared and written.

As little is read as will do: user/get for each person; department/list only where departments may be others, and then
user/list for those that have come into view; with the contacts secret, list_id once. What would be too much becomes a
run of the whole directory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from integrations.core import client_factory
from integrations.directory import selectors
from integrations.directory.api import Calling
from integrations.directory.apply import RowWriter
from integrations.directory.diff import (
    DepartmentState,
    Difference,
    MemberState,
    absence,
    department_differences,
    difference,
)
from integrations.directory.event_payloads import EventChanges
from integrations.directory.fetch import Reader, Whereabouts
from integrations.directory.normalize import Person, SeenDepartment
from integrations.directory.plan import Plan
from integrations.models import Corp, Member, SyncRun, fold_userid

logger = logging.getLogger(__name__)

Presence, Source = Member.Presence, SyncRun.Source
# Beyond these a run of the whole directory is asked for.
LISTS_AT_MOST = 50
LOOK_UPS_AT_MOST = 500
# So often somebody whom WeCom does not know any more, and of whom no event says that they left, is looked up again:
# with the pauses of events.py some ten seconds.
UNEXPLAINED_TRIES = 5


@dataclass(slots=True)
class Found:
    """What is to be written. `read_since`: when WeCom was asked. `is_too_much`: a run must read the rest.

    `has_unexplained`: somebody is gone without a word, who may have another userid: the event that tells it may be on
    its way, and nothing is written of them before.
    """

    plan: Plan = field(default_factory=Plan)
    read_since: datetime | None = None
    is_too_much: bool = False
    has_unexplained: bool = False


class EventLookup:
    """One look at WeCom for what some events name. Raises the errors of `integrations.clients.errors`, and Stop.

    `alive` is called with each answer: a look may take longer than the lease of whoever looks.
    """

    def __init__(self, *, corp: Corp, changes: EventChanges, calling: Calling, alive: Callable[[], None]) -> None:
        self._corp, self._changes = corp, changes
        source = Source.BOTH if corp.contacts_secret else Source.APP
        self._reader = Reader(
            source=source,
            app=client_factory.wecom_client(corp),
            contacts=client_factory.contacts_client(corp) if corp.contacts_secret else None,
            roots=corp.department_root_ids,
            calling=calling,
            progress=lambda _phase, _done, _total: alive(),
        )
        self._departments = selectors.department_states(corp)
        self._where: dict[str, Whereabouts] = {}
        self._wanted: dict[str, str] = {}
        self._found = Found()

    def existing(self, userids: Collection[str], *, now: datetime) -> set[str]:
        """Those of these userids, folded, that exist in the company. They are not asked about again by `found`."""
        self._found.read_since = now
        self._reader.use_departments(_present(self._departments))
        return self._reader.existing(userids)

    def forget(self, userids: Iterable[str]) -> None:
        """Somebody else knows more about these than `existing` has read."""
        self._reader.forget(userids)

    def found(self, *, now: datetime) -> Found:
        """`now`: from then on it is read, unless `existing` has begun before."""
        self._found.read_since = self._found.read_since or now
        self._wanted = {**self._changes.people, **self._tagged()}
        if self._changes.has_structure or self._corp.department_root_ids:
            self._read_departments()
        else:
            self._reader.use_departments(_present(self._departments))
        self._look_up(self._wanted)
        if self._reader.has_met_unknown_department and not self._corp.department_root_ids:
            self._read_departments()
            self._look_up(self._wanted)
        self._plan_people(self._reader.read_company({*self._wanted, *self._reader.snapshot.people}))
        return self._found

    def _tagged(self) -> dict[str, str]:
        """Members of changed tags that the app's visible scope names."""
        tagged = self._changes.tagged
        if not tagged:
            return {}
        seen = self._reader.read_scope_tags()
        self._found.is_too_much |= not seen.isdisjoint(self._changes.tags_with_departments)
        return {folded: userid for tag in seen & tagged.keys() for folded, userid in tagged[tag].items()}

    def _read_departments(self) -> None:
        """The departments; with them the people of those that have come into view, or have left it."""
        snapshot = self._reader.read_departments()
        self._found.plan.departments = department_differences(self._departments, snapshot.departments)
        present = _present(self._departments)
        new, gone = snapshot.departments.keys() - present.keys(), present.keys() - snapshot.departments.keys()
        if len(new) > LISTS_AT_MOST:
            self._found.is_too_much = True
        else:
            self._reader.read_lists(new)
        people = Member.objects.filter(corp=self._corp, memberships__department__wecom_department_id__in=gone).here()
        named = dict(people.distinct().values_list("userid_folded", "userid")[: LOOK_UPS_AT_MOST + 1])
        if len(named) > LOOK_UPS_AT_MOST:
            self._found.is_too_much = True
        else:
            self._wanted |= {folded: userid for folded, userid in named.items() if folded not in self._wanted}

    def _look_up(self, wanted: Mapping[str, str]) -> None:
        found = self._reader.look_up(list(wanted.values()))
        self._where = dict(zip(wanted, found, strict=True))

    def _plan_people(self, company: set[str] | None) -> None:
        snapshot = self._reader.snapshot
        for where in self._where.values():
            if where.person is not None:
                snapshot.add(where.person)
        self._where |= dict.fromkeys(snapshot.left - self._where.keys(), _HAS_LEFT)
        listed = {folded for folded, one in snapshot.people.items() if one.is_seen_by_app} - self._where.keys()
        states = selectors.member_states_of(self._corp, {*self._where, *listed})
        for folded in [*self._where, *listed]:
            seen, state = self._where.get(folded), states.get(folded)
            person = snapshot.people.get(folded) if seen is None or seen.person is not None else None
            is_of_company = company is not None and folded in company
            exists = seen is None or seen.exists or (is_of_company and not seen.has_left)
            self._plan_one(state, person, exists=exists)

    def _plan_one(self, state: MemberState | None, person: Person | None, *, exists: bool) -> None:
        plan = self._found.plan
        if state is None:
            plan.joined += [] if person is None else [person]
        elif person is not None:
            plan.add(difference(state, person, Presence.HERE))
        elif state.presence in (Presence.DELETED, Presence.MISSING):
            return
        elif not exists and self._may_be_renamed(state.folded):
            self._found.has_unexplained = True
        else:
            plan.add(absence(state, Presence.OUT_OF_SCOPE if exists else Presence.DELETED))

    def _may_be_renamed(self, folded: str) -> bool:
        changes = self._changes
        return folded not in changes.leavers and changes.try_counts.get(folded, UNEXPLAINED_TRIES) < UNEXPLAINED_TRIES


_HAS_LEFT = Whereabouts(None, exists=False, has_left=True)


class EventWriter(RowWriter):
    """Writes what events brought. `hold`, called in each transaction, raises where the work is not ours any more;
    `touch`, in the same one, takes the keys of the members that are written.
    """

    def __init__(
        self,
        *,
        corp: Corp,
        read_since: datetime | None,
        clock: Callable[[], datetime],
        hold: Callable[[], None],
        touch: Callable[[Sequence[int]], None],
        own: Mapping[int, datetime],
    ) -> None:
        super().__init__(corp=corp, read_since=read_since, own=own)
        self._clock, self._hold, self._touch = clock, hold, touch

    @contextmanager
    def _chunk(self, counts: Mapping[str, int]) -> Iterator[datetime]:
        with transaction.atomic():
            self._hold()
            yield self._clock()
        if counts:
            logger.info("directory by events corp=%s %s", self._corp.pk, dict(counts))

    def _note(self, changes: Sequence[Difference], joined: Sequence[Member], now: datetime) -> None:
        """The audit trail has what comes of it for people; the copy itself keeps no history between runs."""
        self._touch([*(one.state.pk for one in changes), *(one.pk for one in joined)])


def put_out_of_reach(
    *,
    corp: Corp,
    userids: Iterable[str],
    now: datetime,
    hold: Callable[[], None],
    touch: Callable[[Sequence[int]], None],
) -> int:
    """While WeCom cannot be asked, its word that these have left is taken: out of scope, which heals by itself.

    Once it can be asked, the same events say what is true. Why are they touched? Should it be that they are out of
    scope, nothing differs then any more, and what waits for them still has to be withdrawn.
    """
    folded = {fold_userid(one) for one in userids}
    if not folded:
        return 0
    with transaction.atomic():
        hold()
        here = Member.objects.filter(corp=corp, userid_folded__in=folded).here()
        touch(list(here.order_by("pk").values_list("pk", flat=True)))
        return here.update(presence=Presence.OUT_OF_SCOPE, left_at=now, changed_at=now)


def _present(states: Iterable[DepartmentState]) -> dict[int, SeenDepartment]:
    return {
        one.number: SeenDepartment(one.number, one.parent, one.name, one.order) for one in states if not one.is_removed
    }


def has_copy(corp: Corp) -> bool:
    """Whether the directory of a corp was copied once: before that there is nothing to bring up to date."""
    return SyncRun.objects.filter(corp=corp, status=SyncRun.Status.DONE).exists()
