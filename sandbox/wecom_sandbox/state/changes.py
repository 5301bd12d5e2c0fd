"""Events about changes of a company's directory, and the effects of a renamed member."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from wecom_sandbox.state.directory import Department, Member, Tag, Visibility, fold_id
from wecom_sandbox.state.events import Outgoing, make_event
from wecom_sandbox.state.world import Code, Company, Ticket, World

# Fields of a member in a change_contact event: our name to WeCom's.
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
# The only fields for a callback set up after 2022-08-15.
_MINIMAL_MEMBER, _MINIMAL_DEPARTMENT = frozenset({"Department"}), frozenset({"ParentId"})


class Announcer:
    """Sender of change events to the sync assistant and, if a setting allows it, to the apps."""

    def __init__(self, world: World, company: Company) -> None:
        self._world = world
        self._company = company

    def announce_member(self, old: Member | None, new: Member | None) -> None:
        """Announce a change of a member. `old` None: joined; `new` None: left."""
        if new is None:
            if old is not None:
                self._announce("delete_user", UserID=old.userid)
            return
        before = _make_member_elements(old) if old is not None else {}
        elements = {name: value for name, value in _make_member_elements(new).items() if before.get(name) != value}
        if self._world.settings.contact_events_minimal:
            elements = {name: value for name, value in elements.items() if name in _MINIMAL_MEMBER}
        if old is None:
            self._announce("create_user", UserID=new.userid, **elements)
        elif asdict(old) != asdict(new):
            renamed = {"NewUserID": new.userid} if old.userid != new.userid else {}
            self._announce("update_user", UserID=old.userid, **renamed, **elements)

    def announce_department(self, old: Department | None, new: Department | None) -> None:
        if new is None:
            if old is not None:
                self._announce("delete_party", Id=old.id)
            return
        before = _make_department_elements(old) if old is not None else {}
        elements = {name: value for name, value in _make_department_elements(new).items() if before.get(name) != value}
        if self._world.settings.contact_events_minimal:
            elements = {name: value for name, value in elements.items() if name in _MINIMAL_DEPARTMENT}
        if old is None or old != new:
            self._announce("create_party" if old is None else "update_party", Id=new.id, **elements)

    def announce_tag(self, old: Tag | None, new: Tag) -> None:
        users, parties = set(old.userids if old else ()), set(old.partyids if old else ())
        changes: dict[str, Sequence[object]] = {
            "AddUserItems": [one for one in new.userids if one not in users],
            "DelUserItems": sorted(users - set(new.userids)),
            "AddPartyItems": [one for one in new.partyids if one not in parties],
            "DelPartyItems": sorted(parties - set(new.partyids)),
        }
        filled: dict[str, object] = {name: _join(value) for name, value in changes.items() if value}
        if filled:
            self._announce("update_tag", TagId=new.tagid, **filled)

    @contextmanager
    def announce_scope_changes(self, userids: Iterable[str] = ()) -> Iterator[None]:
        """Announce, around a change, the members who enter or leave the scope of an app with a callback. `userids`: the
        members who themselves change (join, move, are disabled, leave). Others are checked only where a scope grew or
        shrank, so that one change among 100,000 people costs little."""
        directory = self._company.directory
        before = {fold_id(userid): directory.find(userid) for userid in userids}
        visibilities = self._find_visibilities()
        yield
        for agentid, new in self._find_visibilities().items():
            old = visibilities.get(agentid)
            if old is None:
                continue
            moved = sorted((old.singles ^ new.singles) - before.keys())
            if old.departments is not new.departments:
                moved += [one.folded for one in directory.members_below(sorted(old.departments ^ new.departments))]
            affected = dict.fromkeys([*before, *moved])
            pairs = [(before.get(one, directory.find(one)), directory.find(one)) for one in affected]
            entered = [now.userid for was, now in pairs if _reaches(new, now) and now and not _reaches(old, was)]
            left = [was.userid for was, now in pairs if _reaches(old, was) and was and not _reaches(new, now)]
            self._announce_to_app(agentid, "subscribe", entered)
            self._announce_to_app(agentid, "unsubscribe", left)

    def _find_visibilities(self) -> dict[int, Visibility]:
        """Return what each app with a callback address sees."""
        apps = self._company.apps.values()
        return {app.agentid: self._company.visibility(app) for app in apps if app.callback.url}

    def _announce_to_app(self, agentid: int, name: str, userids: list[str]) -> None:
        for userid in userids:
            elements = make_event(self._company.corpid, agentid, name, now=self._world.now(), userid=userid)
            self._world.outbox.add(Outgoing(self._company.corpid, agentid, elements))

    def _announce(self, change: str, **details: object) -> None:
        corpid = self._company.corpid
        elements = make_event(corpid, None, "change_contact", now=self._world.now()) | {"ChangeType": change} | details
        if self._company.contacts_callback.url:
            self._world.outbox.add(Outgoing(corpid, None, elements))
        if self._world.settings.apps_get_contact_events:
            for app in self._company.apps.values():
                if app.callback.url:
                    self._world.outbox.add(Outgoing(corpid, app.agentid, elements))


def _reaches(visibility: Visibility, member: Member | None) -> bool:
    """Return whether an app with this visibility can send messages to the member."""
    return member is not None and visibility.reaches(member)


def _make_member_elements(member: Member) -> dict[str, object]:
    values = {theirs: getattr(member, ours) for ours, theirs in _MEMBER_ELEMENTS.items()}
    return {name: _join(value) if isinstance(value, list) else value for name, value in values.items() if value != ""}


def _make_department_elements(department: Department) -> dict[str, object]:
    return {"Name": department.name, "ParentId": department.parentid, "Order": department.order}


def _join(values: Sequence[object]) -> str:
    return ",".join(str(value) for value in values)


def move_member_data(world: World, company: Company, old: Member, new: Member) -> None:
    """Move a member's scopes, messages with their choices, groups, codes and consents to another userid."""
    for app in company.apps.values():
        app.scope.userids = [new.userid if fold_id(one) == old.folded else one for one in app.scope.userids]
    company.forget_visibility()
    world.mail.rename(company.corpid, old.folded, new.folded)
    for chat in world.chats.values():
        if chat.corpid == company.corpid and old.folded in chat.members:
            chat.members = {new.folded if one == old.folded else one: None for one in chat.members}
            chat.owner = new.folded if chat.owner == old.folded else chat.owner
    credentials: list[Code | Ticket] = [*world.codes.values(), *world.user_tickets.values()]
    for one in credentials:
        if one.corpid == company.corpid and fold_id(one.userid) == old.folded:
            one.userid = new.userid
    for corpid, agentid, folded in list(world.consents):
        if (corpid, folded) == (company.corpid, old.folded):
            world.consents[corpid, agentid, new.folded] = world.consents.pop((corpid, agentid, folded))
