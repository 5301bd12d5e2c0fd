"""What changes in a company's directory are told to whom: change_contact, subscribe, unsubscribe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from integrations.sandbox.directory import Department, Member, Tag
from integrations.sandbox.events import Outgoing, event
from integrations.sandbox.world import Company, World

# Fields of a member in a change_contact event: ours to WeCom's.
_MEMBER_ELEMENTS = {
    "name": "Name",
    "department": "Department",
    "main_department": "MainDepartment",
    "is_leader_in_dept": "IsLeaderInDept",
    "direct_leader": "DirectLeader",
    "position": "Position",
    "mobile": "Mobile",
    "gender": "Gender",
    "email": "Email",
    "biz_mail": "BizMail",
    "status": "Status",
    "avatar": "Avatar",
    "alias": "Alias",
    "telephone": "Telephone",
    "address": "Address",
}
# All that a callback set up after 2022-08-15 carries.
_MINIMAL_MEMBER, _MINIMAL_DEPARTMENT = frozenset({"Department"}), frozenset({"ParentId"})


class Announcer:
    """Tells the sync assistant (unless the change is its own) and, where that is switched on, the apps."""

    def __init__(self, world: World, company: Company, *, tell_contacts: bool = True) -> None:
        self._world = world
        self._company = company
        self._tell_contacts = tell_contacts

    def member(self, old: Member | None, new: Member | None) -> None:
        """`old` None: joined; `new` None: left."""
        if new is None:
            if old is not None:
                self._tell("delete_user", UserID=old.userid)
            return
        before = _member_elements(old) if old is not None else {}
        elements = {name: value for name, value in _member_elements(new).items() if before.get(name) != value}
        if self._world.settings.contact_events_minimal:
            elements = {name: value for name, value in elements.items() if name in _MINIMAL_MEMBER}
        if old is None:
            self._tell("create_user", UserID=new.userid, **elements)
        elif asdict(old) != asdict(new):
            renamed = {"NewUserID": new.userid} if old.userid != new.userid else {}
            self._tell("update_user", UserID=old.userid, **renamed, **elements)

    def department(self, old: Department | None, new: Department | None) -> None:
        if new is None:
            if old is not None:
                self._tell("delete_party", Id=old.id)
            return
        before = _department_elements(old) if old is not None else {}
        elements = {name: value for name, value in _department_elements(new).items() if before.get(name) != value}
        if self._world.settings.contact_events_minimal:
            elements = {name: value for name, value in elements.items() if name in _MINIMAL_DEPARTMENT}
        if old is None or old != new:
            self._tell("create_party" if old is None else "update_party", Id=new.id, **elements)

    def tag(self, old: Tag | None, new: Tag) -> None:
        users, parties = set(old.userids if old else ()), set(old.partyids if old else ())
        changes: dict[str, Sequence[object]] = {
            "AddUserItems": [one for one in new.userids if one not in users],
            "DelUserItems": sorted(users - set(new.userids)),
            "AddPartyItems": [one for one in new.partyids if one not in parties],
            "DelPartyItems": sorted(parties - set(new.partyids)),
        }
        filled: dict[str, object] = {name: _joined(value) for name, value in changes.items() if value}
        if filled:
            self._tell("update_tag", TagId=new.tagid, **filled)

    @contextmanager
    def scopes(self) -> Iterator[None]:
        """Around a change: members who enter or leave the scope of an app with a callback are told to it."""
        before = self._receivers()
        yield
        after = self._receivers()
        for agentid in before.keys() & after.keys():
            old, new = before[agentid], after[agentid]
            self._tell_app(agentid, "subscribe", [userid for folded, userid in new.items() if folded not in old])
            self._tell_app(agentid, "unsubscribe", [userid for folded, userid in old.items() if folded not in new])

    def _receivers(self) -> dict[int, dict[str, str]]:
        """Folded to spelt userids of each app that hears events."""
        company = self._company
        return {
            app.agentid: {
                one.folded: one.userid for one in company.directory.members.values() if company.receives(app, one)
            }
            for app in company.apps.values()
            if app.callback.url
        }

    def _tell_app(self, agentid: int, name: str, userids: list[str]) -> None:
        for userid in userids:
            elements = event(self._company.corpid, agentid, name, now=self._world.now(), userid=userid)
            self._world.outbox.add(Outgoing(self._company.corpid, agentid, elements))

    def _tell(self, change: str, **elements: object) -> None:
        corpid = self._company.corpid
        told = event(corpid, None, "change_contact", now=self._world.now()) | {"ChangeType": change} | elements
        if self._tell_contacts and self._company.contacts_callback.url:
            self._world.outbox.add(Outgoing(corpid, None, told))
        if self._world.settings.apps_get_contact_events:
            for app in self._company.apps.values():
                if app.callback.url:
                    self._world.outbox.add(Outgoing(corpid, app.agentid, told))


def _member_elements(member: Member) -> dict[str, object]:
    values = {theirs: getattr(member, ours) for ours, theirs in _MEMBER_ELEMENTS.items()}
    return {name: _joined(value) if isinstance(value, list) else value for name, value in values.items() if value != ""}


def _department_elements(department: Department) -> dict[str, object]:
    return {"Name": department.name, "ParentId": department.parentid, "Order": department.order}


def _joined(values: Sequence[object]) -> str:
    return ",".join(str(value) for value in values)
