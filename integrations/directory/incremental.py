"""Updates of the members that WeCom's events name: look them up one by one, compare and write.

It makes as few calls to WeCom as possible: user/get for each person; department/list only if departments may have
changed, and then user/list for the new ones; user/list_id once if the company has a contacts secret. If that is not
enough, a run of the whole directory is requested.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import transaction

from integrations.callbacks import EventBatch
from integrations.clients.wecom.callbacks import Callback, parse_callback
from integrations.core import hooks
from integrations.directory import sync
from integrations.directory.diff import DirectoryPlan, compare_departments, plan_changes
from integrations.directory.fetch import CallPacer, Reader, SeenDepartment, is_userid
from integrations.models import CallbackEvent, Corp, Department, Member, SyncRun, fold_userid
from integrations.models.fields import Unreadable

logger = logging.getLogger(__name__)
Presence = Member.Presence
CHANGE_CONTACT, ENTERED_SCOPE, LEFT_SCOPE = "change_contact", "subscribe", "unsubscribe"
UPDATE_USER = "update_user"
_PEOPLE_CHANGES = frozenset({"create_user", UPDATE_USER, "delete_user"})
_DEPARTMENT_CHANGES = frozenset({"create_party", "update_party", "delete_party"})
_TAG_CHANGE = "update_tag"
# The events that this module processes, each alone or as `event:ChangeType` (integrations.callbacks.Consumer.wants).
DIRECTORY_EVENTS = frozenset(
    {
        ENTERED_SCOPE,
        LEFT_SCOPE,
        *(f"{CHANGE_CONTACT}:{change}" for change in (*_PEOPLE_CHANGES, *_DEPARTMENT_CHANGES, _TAG_CHANGE)),
    }
)
# Values of an event's Status: the person was disabled, or has left.
_LOSING_STATUS = frozenset({"2", "5"})
# The number of people or departments that WeCom names in one event at most.
_ITEMS_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class Rename:
    """An event saying that a person got another userid. `try_count`: the number of earlier tries to apply it."""

    old: str
    new: str
    happened_at: datetime
    try_count: int = 0

    @property
    def record(self) -> dict[str, str]:
        """The entry for this rename in Member.renames."""
        happened_at = self.happened_at.astimezone(UTC).isoformat()
        return {"old": fold_userid(self.old), "new": fold_userid(self.new), "happened_at": happened_at}


@dataclass(slots=True)
class EventChanges:
    """The changes named by some events. People are mapped from their folded userid to the userid as WeCom spells it.

    `people`: all to look up. `leavers`: those who by their last event left, were disabled, or are out of the app's
    scope. `tagged`: by tag number, people who got or lost the tag; `tags_with_departments`: tags that departments got
    or lost. `must_read_departments`: departments, or the app's scope, may have changed. `try_counts`: by folded userid,
    how often an event about it was tried before.
    """

    people: dict[str, str] = field(default_factory=dict)
    leavers: dict[str, str] = field(default_factory=dict)
    renames: list[Rename] = field(default_factory=list)
    tagged: dict[int, dict[str, str]] = field(default_factory=dict)
    tags_with_departments: set[int] = field(default_factory=set)
    must_read_departments: bool = False
    try_counts: dict[str, int] = field(default_factory=dict)


def collect_changes(events: Iterable[CallbackEvent]) -> EventChanges:
    """Collect the changes of events, which are in order of time."""
    changes = EventChanges()
    for event in events:
        if isinstance(event.body, Unreadable):  # no key decrypts it; the next run of the directory reads the change
            continue
        callback = parse_callback(event.body.encode())
        if event.event != CHANGE_CONTACT:
            changes.must_read_departments = True
            _add_person(changes, callback.userid, is_leaving=event.event == LEFT_SCOPE, try_count=event.try_count)
        elif event.change in _DEPARTMENT_CHANGES:
            changes.must_read_departments = True
        elif event.change == _TAG_CHANGE:
            number = callback.text("TagId").strip()
            if not (number.isascii() and number.isdigit() and len(number) < 12):
                continue
            users = [*_split_items(callback, "AddUserItems"), *_split_items(callback, "DelUserItems")]
            named = {fold_userid(userid): userid for userid in users if is_userid(userid)}
            changes.tagged.setdefault(int(number), {}).update(named)
            for folded in named:
                changes.try_counts[folded] = max(event.try_count, changes.try_counts.get(folded, 0))
            if _split_items(callback, "AddPartyItems") or _split_items(callback, "DelPartyItems"):
                changes.tags_with_departments.add(int(number))
        else:
            _add_changed_person(changes, event, callback)
    return changes


def _add_changed_person(changes: EventChanges, event: CallbackEvent, callback: Callback) -> None:
    """Add the person whom an event names. If the event has a new userid, add that, too, and the rename."""
    old, new = callback.text("UserID").strip(), callback.text("NewUserID").strip()
    if new and is_userid(old) and is_userid(new):
        changes.renames.append(Rename(old, new, event.happened_at, event.try_count))
    status = callback.text("Status").strip()
    is_leaving: bool | None = None  # the event does not say
    if event.change == "delete_user" or status in _LOSING_STATUS:
        is_leaving = True
    elif event.change == "create_user" or status:
        is_leaving = False
    _add_person(changes, old, is_leaving=None if new else is_leaving, try_count=event.try_count)
    _add_person(changes, new, is_leaving=is_leaving, try_count=event.try_count)


def _add_person(changes: EventChanges, userid: str, *, is_leaving: bool | None, try_count: int) -> None:
    if not is_userid(userid):
        return
    folded = fold_userid(userid)
    changes.people[folded] = userid
    changes.try_counts[folded] = max(try_count, changes.try_counts.get(folded, 0))
    if is_leaving:
        changes.leavers[folded] = userid
    elif is_leaving is False:
        changes.leavers.pop(folded, None)


def _split_items(callback: Callback, name: str) -> list[str]:
    return [one.strip() for one in callback.text(name).split(",")[:_ITEMS_AT_MOST] if one.strip()]


# Beyond these limits a run of the whole directory is requested.
LISTS_AT_MOST, LOOK_UPS_AT_MOST = 50, 500
# How often to look up somebody whom WeCom no longer has and whom no event reports as a leaver. With the pauses of
# events.py that is some ten seconds.
UNEXPLAINED_TRIES = 5


class EventLookup:
    """A look-up at WeCom for some events. Raises the errors of `integrations.clients.errors`, and MissingRootError.

    `plan`: the changes to write. `read_since`: the time of the first call. `needs_run`: the look-ups exceed a limit, or
    departments got or lost a tag, so a run must follow. `has_unexplained`: somebody is missing in WeCom without an
    event, perhaps because of a new userid. Nothing is written about them, because that event may come later.
    """

    def __init__(self, *, corp: Corp, changes: EventChanges, pacer: CallPacer) -> None:
        self.plan = DirectoryPlan()
        self.read_since: datetime | None = None
        self.needs_run = self.has_unexplained = False
        self._corp, self._changes = corp, changes
        self.reader = Reader(corp=corp, pacer=pacer, progress=lambda _phase, _done, _total: None)
        self._departments = list(Department.objects.filter(corp=corp).order_by("pk"))
        self._wanted: dict[str, str] = {}

    def find_existing(self, userids: Collection[str], *, now: datetime) -> set[str]:
        """Return which of these userids, folded, exist in the company. `look_up` then uses the same answers."""
        self.read_since = now
        self.reader.snapshot.departments = _find_present(self._departments)
        return self.reader.find_existing(userids)

    def look_up(self, *, now: datetime) -> None:
        """Look up everything and plan the changes. `now`: the time of reading, unless `find_existing` read earlier."""
        self.read_since = self.read_since or now
        self._wanted = dict(self._changes.people)
        if tagged := self._changes.tagged:  # only tags in the app's visible scope matter
            seen = set(self.reader.read_agent().allowed_tag_ids)
            self.needs_run |= not seen.isdisjoint(self._changes.tags_with_departments)
            for tag in seen & tagged.keys():
                self._wanted |= tagged[tag]
        if self._changes.must_read_departments or self._corp.department_root_ids:
            self._read_departments()
        else:
            self.reader.snapshot.departments = _find_present(self._departments)
        self._look_up_people()
        # Somebody is in a department that the copy does not have: read the departments, and place the people again.
        if self.reader.unknown_departments and not self._corp.department_root_ids:
            self._read_departments()
            self._look_up_people()
        snapshot, reader, departments = self.reader.snapshot, self.reader, self.plan.departments
        reader.read_company({*self._wanted, *snapshot.people})
        members = sync.read_stored_members(self._corp, {*self._wanted, *snapshot.people, *snapshot.left_userids})
        self.plan = plan_changes(snapshot=snapshot, members=members, look_up=reader.look_up, turn=None)
        self.plan.departments = departments
        explained = []
        for one in self.plan.losing:
            folded = one.member.userid_folded
            tries = self._changes.try_counts.get(folded, UNEXPLAINED_TRIES)
            is_missing = one.kind == SyncRun.Change.DELETED and folded not in self._changes.leavers
            if is_missing and tries < UNEXPLAINED_TRIES:  # no event reports that they left, so they may be renamed
                self.has_unexplained = True
            else:
                explained.append(one)
        self.plan.losing = explained

    def _read_departments(self) -> None:
        """Read the departments and the people of new ones, and look up the people of removed ones."""
        snapshot = self.reader.read_departments()
        self.plan.departments = compare_departments(self._departments, snapshot.departments)
        present = _find_present(self._departments)
        new, gone = snapshot.departments.keys() - present.keys(), present.keys() - snapshot.departments.keys()
        if len(new) > LISTS_AT_MOST:
            self.needs_run = True
        else:
            self.reader.read_lists(new)
        people = Member.objects.filter(corp=self._corp, departments__wecom_department_id__in=gone).in_scope()
        named = dict(people.distinct().values_list("userid_folded", "userid")[: LOOK_UPS_AT_MOST + 1])
        if len(named) > LOOK_UPS_AT_MOST:
            self.needs_run = True
        else:
            self._wanted |= {folded: userid for folded, userid in named.items() if folded not in self._wanted}

    def _look_up_people(self) -> None:
        found, snapshot = self.reader.look_up(list(self._wanted.values())), self.reader.snapshot
        for folded, result in zip(self._wanted, found, strict=True):
            if result.person is not None:
                snapshot.add(result.person)
            elif result.has_left:
                snapshot.left_userids.add(folded)


def _find_present(stored: Iterable[Department]) -> dict[int, SeenDepartment]:
    return {
        (number := one.wecom_department_id): SeenDepartment(number, one.wecom_parent_id, one.name, one.order)
        for one in stored
        if one.removed_at is None
    }


def has_copy(corp: Corp) -> bool:
    """Return whether a run has copied the company's directory. Without a copy, events have nothing to update."""
    return SyncRun.objects.filter(corp=corp, status=SyncRun.Status.DONE).exists()


# WeCom's clock and ours may differ by this. A member first seen later than this after a rename is another person.
TOLERANCE = timedelta(minutes=10)
# How often a rename is tried while it waits for an earlier one. With the pauses of events.py that is some ten seconds.
RENAME_TRIES = 5


@dataclass(slots=True)
class RenameResult:
    """The result of renames. `written`: by key of a member, when it was written. `blocked`: renames that wait for
    another one. `outdated`: renames of members whom another writer has changed since WeCom was asked.
    """

    written: dict[int, datetime] = field(default_factory=dict)
    blocked: list[Rename] = field(default_factory=list)
    outdated: list[Rename] = field(default_factory=list)


def apply_renames(
    batch: EventBatch, renames: Sequence[Rename], *, known: Collection[str], read_since: datetime
) -> RenameResult:
    """Carry out the renames, given in any order: one waits while another person still has its new userid.

    `known`: the old and new userids, folded, that exist in WeCom, as read since `read_since`. If an old userid still
    exists there, it is somebody else's or the event is wrong: the stored member waits for an administrator. After
    RENAME_TRIES a waiting rename is forced: the event that frees its new userid will not come any more, and the
    member with that userid counts as deleted. One transaction also records the written members; a repeat does no harm.
    """
    result, touched, corp, now = RenameResult(), list[int](), batch.corp, batch.clock()
    with transaction.atomic():
        batch.lock_job()
        # Locks all named members until the renames are written.
        members = _lock_members(corp, {fold_userid(userid) for one in renames for userid in (one.old, one.new)})
        newer = {one.userid_folded for one in members if one.changed_at > read_since}
        result.outdated = [one for one in renames if {fold_userid(one.old), fold_userid(one.new)} & newer]
        waiting = [one for one in renames if _confirm_rename(corp, one, renames, known, touched, now)]
        while waiting:
            blocked = [one for one in waiting if not _apply_rename(corp, one, touched, now, by_force=False)]
            if len(blocked) == len(waiting):
                break
            waiting = blocked
        for one in waiting:
            if one.try_count < RENAME_TRIES:
                result.blocked.append(one)
            else:
                _apply_rename(corp, one, touched, now, by_force=True)
        batch.touch(touched)
    result.written = dict.fromkeys(touched, now)
    return result


def _confirm_rename(
    corp: Corp, rename: Rename, renames: Sequence[Rename], known: Collection[str], touched: list[int], now: datetime
) -> bool:
    """Return whether WeCom confirms the rename. `renames`: all renames, because one person may have several in a row.

    If the old userid exists in WeCom, it may be another person's now. Unless another rename explains that, the member
    waits for an administrator.
    """
    old, last = fold_userid(rename.old), fold_userid(rename.new)
    if last == old:
        return True
    if old in known:
        # A renamed member, whose own userid no longer exists in WeCom, may have taken this one.
        takers = {fold_userid(each.old): each for each in renames if fold_userid(each.new) == old}
        gone = [folded for folded in takers if folded not in known]
        candidates = Member.objects.filter(corp=corp, userid_folded__in=gone)
        if not any(_concerns_member(candidate, takers[candidate.userid_folded]) for candidate in candidates):
            member = next(iter(_lock_members(corp, {old})), None)
            if member is not None and _concerns_member(member, rename) and not _is_recorded(corp, rename):
                Member.objects.filter(pk=member.pk).update(renames=[*member.renames, rename.record])
                Member.objects.filter(pk=member.pk, waits_since__isnull=True).update(waits_since=now, changed_at=now)
                touched.append(member.pk)
                logger.warning("rename that WeCom does not confirm corp=%s member=%s", corp.pk, member.pk)
            return False
    following = {fold_userid(each.old): fold_userid(each.new) for each in renames}
    seen = {old}
    while last in following and last not in seen:
        seen.add(last)
        last = following[last]
    return last in known


def _is_recorded(corp: Corp, rename: Rename) -> bool:
    """Return whether the rename is recorded. Its members are locked, so nobody records it meanwhile."""
    return Member.objects.filter(corp=corp).exclude(renames=[]).filter(renames__contains=[rename.record]).exists()


def _apply_rename(corp: Corp, rename: Rename, touched: list[int], now: datetime, *, by_force: bool) -> bool:
    """Apply a rename. Return False if it must wait."""
    old, new = fold_userid(rename.old), fold_userid(rename.new)
    rows = {one.userid_folded: one for one in _lock_members(corp, {old, new})}
    member, holder = rows.get(old), rows.get(new)
    if _is_recorded(corp, rename):
        return True
    if member is None:  # perhaps another rename, not applied yet, gives somebody this userid
        return by_force
    if not _concerns_member(member, rename):
        return True
    if member is holder:
        holder = None
    if holder is not None:
        # A deleted holder loses the userid. So does one first seen after the rename: that is the renamed person, whom
        # the copy took for a new one.
        is_gone = holder.presence in (Presence.DELETED, Presence.MISSING)
        if not (by_force or is_gone or holder.first_seen_at >= rename.happened_at):
            return False
    try:
        with transaction.atomic():
            _write_rename(member, holder, rename, now)
            hooks.member_renamed(corp, rename.old, rename.new)
    except hooks.RenameRefusedError:
        logger.warning("rename of a protected account corp=%s member=%s", corp.pk, member.pk)
        return True
    touched += [one.pk for one in (member, holder) if one is not None]
    logger.info("member renamed corp=%s member=%s", corp.pk, member.pk)
    return True


def _lock_members(corp: Corp, folded: set[str]) -> list[Member]:
    return list(Member.objects.select_for_update().filter(corp=corp, userid_folded__in=folded).order_by("pk"))


def _concerns_member(member: Member, rename: Rename) -> bool:
    """Return whether the rename can be about the person who has this userid now. Deleted people are not renamed."""
    if member.presence in (Presence.DELETED, Presence.MISSING):
        return False
    if member.first_seen_at > rename.happened_at + TOLERANCE:
        return False
    return member.renamed_at is None or member.renamed_at <= rename.happened_at


def _write_rename(member: Member, holder: Member | None, rename: Rename, now: datetime) -> None:
    """Write the rename. `holder`, who had the new userid, is marked as deleted and gets the old one, which is free."""
    if holder is not None:
        _update_member(member, f"#{member.pk}", f"#{member.pk}", changed_at=now)  # a temporary value
        gone = {"presence": Presence.DELETED, "waits_since": None, "left_at": holder.left_at or now}
        _update_member(holder, rename.old, fold_userid(rename.old), changed_at=now, **gone)
    done = {"renames": [*member.renames, rename.record], "renamed_at": rename.happened_at}
    _update_member(member, rename.new, fold_userid(rename.new), changed_at=now, **done)


def _update_member(member: Member, userid: str, folded: str, **values: object) -> None:
    Member.objects.filter(pk=member.pk).update(userid=userid, userid_folded=folded, **values)
