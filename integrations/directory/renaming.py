"""The same person under another userid: the member's row goes on under it, and higher apps follow at once.

Only an event tells a rename. The old userid must stand for the person whom the event means, since WeCom may have given
it to somebody else since; the new one must be free, or be what a look at WeCom has made of the same person already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from integrations.directory.followers import tell_renamed
from integrations.directory.told import Rename
from integrations.models import Corp, Member, MemberRename, fold_userid

logger = logging.getLogger(__name__)

Presence = Member.Presence
# WeCom's clock and ours differ, and we see somebody a while after they joined.
TOLERANCE = timedelta(minutes=10)
# So often a rename waits for another one that comes before it. With the pauses of events.py that is some ten seconds.
TRIES = 5


@dataclass(slots=True)
class Renamed:
    """`touched`: members who were written. `blocked`: renames that wait for another one."""

    touched: list[int] = field(default_factory=list)
    blocked: list[Rename] = field(default_factory=list)


def apply_renames(*, corp: Corp, renames: Sequence[Rename], now: datetime, hold: Callable[[], None]) -> Renamed:
    """Carry out what can be, in whatever order they came: a userid must be given up before another person gets it.

    What still waits after TRIES is carried out all the same: the event before it does not come any more, and who has
    the userid is taken for gone. Safe to repeat. All of it is one transaction, in which `hold` is called.
    """
    done = Renamed()
    if not renames:
        return done
    with transaction.atomic():
        hold()
        waiting = list(renames)
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
    return done


def _apply(corp: Corp, rename: Rename, touched: list[int], now: datetime, *, by_force: bool) -> bool:
    """False where it must wait."""
    old, new = fold_userid(rename.old), fold_userid(rename.new)
    rows = {one.userid_folded: one for one in _locked(corp, {old, new})}
    member, taker = rows.get(old), rows.get(new)
    done = {"corp": corp, "old_folded": old, "new_folded": new, "happened_at": rename.happened_at}
    if MemberRename.objects.filter(**done).exists():
        return True
    if member is None:  # perhaps about to get this userid, by an event that is still to come
        return by_force
    if not _is_meant(member, rename):
        return True
    if member is taker:
        taker = None
    if taker is not None and not (by_force or _may_give_way(taker, rename)):
        return False
    _write(member, taker, rename, now)
    MemberRename.objects.create(member=member, **done)
    touched += [one.pk for one in (member, taker) if one is not None]
    tell_renamed(corp=corp, old=rename.old, new=rename.new)
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


def _may_give_way(taker: Member, rename: Rename) -> bool:
    """Who is gone, and who was seen for the first time since: that is the renamed person, who looked like a joiner."""
    return taker.presence in (Presence.DELETED, Presence.MISSING) or taker.first_seen_at >= rename.happened_at


def _write(member: Member, taker: Member | None, rename: Rename, now: datetime) -> None:
    """Why does `taker` get the old userid? Nobody has it any more: should it come back, an administrator is asked."""
    if taker is not None:
        _set(member, f"#{member.pk}", f"#{member.pk}", changed_at=now)  # out of the way for a moment
        gone = {"presence": Presence.DELETED, "waits_since": None, "left_at": taker.left_at or now}
        _set(taker, rename.old, fold_userid(rename.old), changed_at=now, **gone)
    _set(member, rename.new, fold_userid(rename.new), changed_at=now, renamed_at=rename.happened_at)


def _set(member: Member, userid: str, folded: str, **values: object) -> None:
    Member.objects.filter(pk=member.pk).update(userid=userid, userid_folded=folded, **values)
