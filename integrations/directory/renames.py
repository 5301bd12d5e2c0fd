"""Renames a member whose userid changed, and tells higher apps.

Only an event tells a rename, but whoever holds the callback's keys can write an event. So WeCom must know the new
userid and not know the old one any more (unless another rename explains that), and accounts that lend rights are not
moved. The old userid must stand for the person whom the event means, since WeCom may have given it to somebody else
since; the new one must be free, or be what a look at WeCom has made of the same person already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from integrations.core import hooks
from integrations.directory.event_payloads import Rename
from integrations.models import Corp, Member, MemberRename, fold_userid

logger = logging.getLogger(__name__)

Presence = Member.Presence
# WeCom's clock and ours differ, and we see somebody a while after they joined.
TOLERANCE = timedelta(minutes=10)
# So often a rename waits for another one that comes before it. With the pauses of events.py that is some ten seconds.
TRIES = 5


@dataclass(slots=True)
class Renamed:
    """`touched`: members who were written, at `written_at`. `blocked`: renames that wait for another one. `outdated`:
    renames of whose people somebody else has written since WeCom was asked: what it said of their userids is old.
    """

    written_at: datetime | None = None
    touched: list[int] = field(default_factory=list)
    blocked: list[Rename] = field(default_factory=list)
    outdated: list[Rename] = field(default_factory=list)

    @property
    def written(self) -> dict[int, datetime]:
        """When each member was written."""
        return {} if self.written_at is None else dict.fromkeys(self.touched, self.written_at)


def apply_renames(
    *,
    corp: Corp,
    renames: Sequence[Rename],
    known: Collection[str],
    read_since: datetime,
    now: datetime,
    hold: Callable[[], None],
    touch: Callable[[Sequence[int]], None],
) -> Renamed:
    """Carry out what can be, in whatever order they came: a userid must be given up before another person gets it.

    `known`: those of the userids named, folded, that exist in WeCom, as read from `read_since` on. Where the old one
    does, it is somebody else's or the event is wrong: whoever has it here waits for an administrator.
    What still waits after TRIES is carried out all the same: the event before it does not come any more, and who has
    the userid is taken for gone. Safe to repeat. All of it is one transaction, in which `hold` is called, and `touch`
    with the keys of the members that are written.
    """
    done = Renamed(now)
    if not renames:
        return done
    with transaction.atomic():
        hold()
        done.outdated = _outdated(corp, renames, read_since)
        waiting = [one for one in renames if _is_true(corp, one, renames, known, done.touched, now)]
        while waiting:
            blocked = [one for one in waiting if not _apply(corp, one, done.touched, now, by_force=False)]
            if len(blocked) == len(waiting):
                break
            waiting = blocked
        for one in waiting:
            if one.try_count < TRIES:
                done.blocked.append(one)
            else:
                _apply(corp, one, done.touched, now, by_force=True)
        touch(done.touched)
    return done


def _outdated(corp: Corp, renames: Sequence[Rename], read_since: datetime) -> list[Rename]:
    """Locks all who are named, so that what is found here holds until the renames are written."""
    members = _locked(corp, {fold_userid(userid) for one in renames for userid in (one.old, one.new)})
    newer = {one.userid_folded for one in members if one.changed_at > read_since}
    return [one for one in renames if not newer.isdisjoint({fold_userid(one.old), fold_userid(one.new)})]


def _is_true(
    corp: Corp, rename: Rename, renames: Sequence[Rename], known: Collection[str], touched: list[int], now: datetime
) -> bool:
    """Whether what WeCom shows agrees with it. `renames`: all of them, for several in a row."""
    old, last = fold_userid(rename.old), fold_userid(rename.new)
    if last == old:
        return True
    if old in known and not _is_explained(corp, old, renames, known):
        _doubt(corp, rename, touched, now)
        return False
    becomes = {fold_userid(one.old): fold_userid(one.new) for one in renames}
    seen = {old}
    while last in becomes and last not in seen:
        seen.add(last)
        last = becomes[last]
    return last in known


def _is_explained(corp: Corp, userid: str, renames: Sequence[Rename], known: Collection[str]) -> bool:
    """Whether somebody who is here, and whose own userid WeCom does not know any more, has taken this one."""
    by_old = {fold_userid(one.old): one for one in renames if fold_userid(one.new) == userid}
    gone = [folded for folded in by_old if folded not in known]
    members = Member.objects.filter(corp=corp, userid_folded__in=gone)
    return any(_is_meant(member, by_old[member.userid_folded]) for member in members)


def _doubt(corp: Corp, rename: Rename, touched: list[int], now: datetime) -> None:
    """Whoever has the old userid in WeCom may be another person than the one here: an administrator must say."""
    done = _record_of(corp, rename)
    member = next(iter(_locked(corp, {fold_userid(rename.old)})), None)
    if member is None or not _is_meant(member, rename) or MemberRename.objects.filter(**done).exists():
        return
    MemberRename.objects.create(member=member, **done)
    Member.objects.filter(pk=member.pk, waits_since__isnull=True).update(waits_since=now, changed_at=now)
    touched.append(member.pk)
    logger.warning("rename that WeCom does not confirm corp=%s member=%s", corp.pk, member.pk)


def _record_of(corp: Corp, rename: Rename) -> dict[str, Any]:
    return {
        "corp": corp,
        "old_folded": fold_userid(rename.old),
        "new_folded": fold_userid(rename.new),
        "happened_at": rename.happened_at,
    }


def _apply(corp: Corp, rename: Rename, touched: list[int], now: datetime, *, by_force: bool) -> bool:
    """False where it must wait."""
    old, new = fold_userid(rename.old), fold_userid(rename.new)
    rows = {one.userid_folded: one for one in _locked(corp, {old, new})}
    member, holder = rows.get(old), rows.get(new)
    done = _record_of(corp, rename)
    if MemberRename.objects.filter(**done).exists():
        return True
    if member is None:  # perhaps about to get this userid, by an event that is still to come
        return by_force
    if not _is_meant(member, rename):
        return True
    if old != new and not all(hooks.member_renaming(corp, rename.old, rename.new)):
        logger.warning("rename of a protected account corp=%s member=%s", corp.pk, member.pk)
        return True
    if member is holder:
        holder = None
    if holder is not None and not (by_force or _may_give_way(holder, rename)):
        return False
    _write(member, holder, rename, now)
    MemberRename.objects.create(member=member, **done)
    touched += [one.pk for one in (member, holder) if one is not None]
    hooks.member_renamed(corp, rename.old, rename.new)
    logger.info("member renamed corp=%s member=%s", corp.pk, member.pk)
    return True


def _locked(corp: Corp, folded: set[str]) -> list[Member]:
    return list(Member.objects.select_for_update().filter(corp=corp, userid_folded__in=folded).order_by("pk"))


def _is_meant(member: Member, rename: Rename) -> bool:
    """Whether the event can be about the person whom the row stands for now. Somebody who is gone, is not renamed."""
    if member.presence in (Presence.DELETED, Presence.MISSING):
        return False
    if member.first_seen_at > rename.happened_at + TOLERANCE:
        return False
    return member.renamed_at is None or member.renamed_at <= rename.happened_at


def _may_give_way(holder: Member, rename: Rename) -> bool:
    """Who is gone, and who was seen for the first time since: that is the renamed person, who looked like a joiner."""
    return holder.presence in (Presence.DELETED, Presence.MISSING) or holder.first_seen_at >= rename.happened_at


def _write(member: Member, holder: Member | None, rename: Rename, now: datetime) -> None:
    """Why does `holder` get the old userid? Nobody has it any more: should it come back, an administrator is asked."""
    if holder is not None:
        _set(member, f"#{member.pk}", f"#{member.pk}", changed_at=now)  # out of the way for a moment
        gone = {"presence": Presence.DELETED, "waits_since": None, "left_at": holder.left_at or now}
        _set(holder, rename.old, fold_userid(rename.old), changed_at=now, **gone)
    _set(member, rename.new, fold_userid(rename.new), changed_at=now, renamed_at=rename.happened_at)


def _set(member: Member, userid: str, folded: str, **values: object) -> None:
    Member.objects.filter(pk=member.pk).update(userid=userid, userid_folded=folded, **values)
