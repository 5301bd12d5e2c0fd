"""Parses directory events: which members and departments they name. Pure.

What they say of somebody is not believed but looked up: events come late, twice and out of order, and what was set up
after 2022-08-15 is told little more than userids. Only a change of a userid is taken from the event, which alone knows
it. Source: developer.work.weixin.qq.com/document/path/96302 (page of 2023-11-01), 96304, 90376.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from integrations.clients.wecom import callbacks as wire
from integrations.directory.normalize import is_userid
from integrations.models import CallbackEvent, fold_userid
from integrations.models.fields import Unreadable

CHANGE_CONTACT, ENTERED, LEFT = "change_contact", "subscribe", "unsubscribe"
UPDATE_USER = "update_user"
_OF_PEOPLE = frozenset({"create_user", UPDATE_USER, "delete_user"})
_OF_DEPARTMENTS = frozenset({"create_party", "update_party", "delete_party"})
_OF_TAGS = "update_tag"
# Values of Status: disabled, has left.
_LOSING_STATUS = frozenset({"2", "5"})
# No list of one event is longer at WeCom.
_ITEMS_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class Rename:
    """Another userid for the same person. `try_count`: how often it was tried before."""

    old: str
    new: str
    happened_at: datetime
    try_count: int = 0


@dataclass(slots=True)
class EventChanges:
    """What some events name. `people`, `leavers`, `tagged`: folded userid to its spelling.

    `leavers`: of whom the last word is that they have left, were disabled, or are out of the app's scope. `tagged`: by
    the number of each tag, whose members changed. `has_structure`: departments, or what the app sees, may be others.
    `try_counts`: by folded userid, how often the events that name it were tried before.
    """

    people: dict[str, str] = field(default_factory=dict)
    leavers: dict[str, str] = field(default_factory=dict)
    renames: list[Rename] = field(default_factory=list)
    tagged: dict[int, dict[str, str]] = field(default_factory=dict)
    tags_with_departments: set[int] = field(default_factory=set)
    has_structure: bool = False
    try_counts: dict[str, int] = field(default_factory=dict)

    def leave_out(self, userids: Iterable[str]) -> None:
        """Do not look at these now."""
        for folded in map(fold_userid, userids):
            self.people.pop(folded, None)
            self.leavers.pop(folded, None)


def is_about_directory(event: str, change: str) -> bool:
    """Whether an event of this name and ChangeType is for this module."""
    if event == CHANGE_CONTACT:
        return change in _OF_PEOPLE or change in _OF_DEPARTMENTS or change == _OF_TAGS
    return event in {ENTERED, LEFT}


def changes_in(events: Iterable[CallbackEvent], tries: Mapping[int, int]) -> EventChanges:
    """`events`: in the order in which they happened; `tries`: how often each, by its key, was tried before."""
    changes = EventChanges()
    for event in events:
        if isinstance(event.body, Unreadable):  # stored under a key that is lost: the next synchronisation sees it
            continue
        callback = wire.parse(event.body.encode())
        if event.event == CHANGE_CONTACT:
            _add_change(changes, event, callback, tries.get(event.pk, 0))
        else:
            changes.has_structure = True
            _add_person(changes, callback.userid, is_leaving=event.event == LEFT, try_count=tries.get(event.pk, 0))
    return changes


def _add_change(changes: EventChanges, event: CallbackEvent, callback: wire.Callback, try_count: int) -> None:
    if event.change in _OF_DEPARTMENTS:
        changes.has_structure = True
    elif event.change == _OF_TAGS:
        _add_tag(changes, callback, try_count)
    else:
        old, new = callback.text("UserID").strip(), callback.text("NewUserID").strip()
        if new and is_userid(old) and is_userid(new):
            changes.renames.append(Rename(old, new, event.happened_at, try_count))
        is_leaving = _is_leaving(event.change, callback.text("Status").strip())
        _add_person(changes, old, is_leaving=None if new else is_leaving, try_count=try_count)
        _add_person(changes, new, is_leaving=is_leaving, try_count=try_count)


def _is_leaving(change: str, status: str) -> bool | None:
    """None where nothing is said of it."""
    if change == "delete_user" or status in _LOSING_STATUS:
        return True
    return False if change == "create_user" or status else None


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


def _add_tag(changes: EventChanges, callback: wire.Callback, try_count: int) -> None:
    number = callback.text("TagId").strip()
    if not (number.isascii() and number.isdigit() and len(number) < 12):
        return
    users = [*_items(callback, "AddUserItems"), *_items(callback, "DelUserItems")]
    named = {fold_userid(one): one for one in users if is_userid(one)}
    changes.tagged.setdefault(int(number), {}).update(named)
    changes.try_counts.update({folded: max(try_count, changes.try_counts.get(folded, 0)) for folded in named})
    if _items(callback, "AddPartyItems") or _items(callback, "DelPartyItems"):
        changes.tags_with_departments.add(int(number))


def _items(callback: wire.Callback, name: str) -> list[str]:
    return [one.strip() for one in callback.text(name).split(",")[:_ITEMS_AT_MOST] if one.strip()]
