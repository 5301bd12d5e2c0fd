"""Many members: changes of one of them must not look at all the others, and what is kept has an end."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from wecom_sandbox.api.call import Request, answer
from wecom_sandbox.messages import inbox
from wecom_sandbox.messages.inbox import Mailroom, Message, Recent
from wecom_sandbox.settings import Settings
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import Directory, Member
from wecom_sandbox.state.world import World

from tests.sandbox.conftest import Api
from tests.sandbox.test_messages import BUTTON
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company

PEOPLE = 5000
CALLBACK = {"url": "http://127.0.0.1:9/", "token": "t", "aes_key": "k" * 43}


class Unwalked(OrderedDict[Any, Any]):
    """A table in which rows may be looked up; whoever goes through all of it fails."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("all rows are looked at")

    values = items = __iter__  # type: ignore[assignment]  # neither is to be called


class Compared(str):
    """A userid that counts how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Compared.comparisons += 1
        return str(self) == other

    __hash__ = str.__hash__


@pytest.fixture(scope="module")
def world() -> World:
    """Two apps with callback addresses see everybody."""
    found = World()
    base = company()
    apps = [
        {**base["apps"][0], "agentid": number, "secret": f"s{number}", "callback": CALLBACK, "scope": {"partyids": [1]}}
        for number in (1, 2)
    ]
    members = [{"userid": f"u{number}", "name": f"员工{number}", "department": [3]} for number in range(PEOPLE)]
    administration.put_company(found, {**base, "members": members, "tags": [], "apps": apps})
    return found


def call(world: World, name: str, body: dict[str, object], secret: str = "s2") -> dict[str, object]:
    """A call of the second app, or of whom the secret is."""
    request = Request("GET", "/cgi-bin/gettoken", {"corpid": CORPID, "corpsecret": secret}, b"", "127.0.0.1")
    token = str(json.loads(answer(world, "gettoken", request).body)["access_token"])
    request = Request("POST", f"/cgi-bin/{name}", {"access_token": token}, json.dumps(body).encode(), "127.0.0.1")
    return dict(json.loads(answer(world, name, request).body))


def announced(world: World) -> list[tuple[str, str]]:
    """Event and member of what waits for callback addresses, app by app; nothing waits afterwards."""
    waiting = world.outbox.claim(most_running=10 * PEOPLE)
    return [(str(one.elements["Event"]), str(one.elements["FromUserName"])) for one in waiting]


def test_one_member_changes_among_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world.companies[CORPID]
    monkeypatch.setattr(one.directory, "members", Unwalked(one.directory.members))
    monkeypatch.setitem(one.directory._direct, 3, Unwalked(one.directory._direct[3]))

    administration.put_members(world, one, [{"userid": "u9", "status": 2}])
    administration.put_members(world, one, [{"userid": "u9", "status": 1}])

    assert announced(world) == [("unsubscribe", "u9"), ("subscribe", "u9")] * 2


def test_a_new_member_s_mobile_is_compared_with_nobody_s() -> None:
    world = World()
    one = administration.put_company(world, company(contacts_secret="s"))
    one.directory.members = Unwalked(one.directory.members)

    def create(userid: str, mobile: str) -> object:
        body: dict[str, object] = {"userid": userid, "name": "新人", "department": [2], "mobile": mobile}
        return call(world, "user/create", body, secret="s")["errcode"]

    assert (create("new", "13900000001"), create("newer", "+86 139-0000-0001")) == (0, 60104)
    administration.put_members(world, one, [{"userid": "new", "mobile": "13900000002"}])
    assert (create("newest", "13900000001"), create("newer", "13900000002")) == (0, 60104)
    one.directory.remove_member("new")
    assert create("newer", "13900000002") == 0


def test_a_department_changes_its_place(world: World) -> None:
    one = world.companies[CORPID]
    administration.put_apps(world, one, [{"agentid": 1, "scope": {"partyids": [4]}}])
    assert len(announced(world)) == PEOPLE
    administration.put_members(world, one, [{"userid": "u7", "department": [4]}])
    assert announced(world) == [("subscribe", "u7")]

    administration.put_departments(world, one, [{"id": 3, "parentid": 4}])
    assert len(announced(world)) == PEOPLE - 1

    administration.remove_member(world, one, "u8")
    assert announced(world) == [("unsubscribe", "u8"), ("unsubscribe", "u8")]


def test_people_change_and_no_department_is_looked_at(world: World) -> None:
    """Whom an app sees is worked out from the tree of departments once, however many people change after that."""
    one = world.companies[CORPID]
    list(map(one.visibility, one.apps.values()))
    looked_at: list[int] = []
    found = Directory.subtree

    def subtree(self: Directory, number: int) -> set[int]:
        looked_at.append(number)
        return found(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Directory, "subtree", subtree)
        administration.put_members(world, one, [{"userid": "u20", "name": "新名"}, {"userid": "n1", "name": "新人"}])
        administration.remove_members(world, one, ["n1"])
        assert looked_at == []
        administration.put_departments(world, one, [{"id": 5, "name": "新部门", "parentid": 1}])

    assert sorted(looked_at) == sorted(app.scope.partyids[0] for app in one.apps.values())
    assert 5 in one.visibility(one.apps[2]).departments
    announced(world)


class Walks(OrderedDict[Any, Any]):
    """A table that counts how often somebody goes through all of it."""

    count = 0

    def items(self) -> Any:
        self.count += 1
        return super().items()


def test_many_people_leave_and_the_codes_are_gone_through_once() -> None:
    world = World()
    members = [{"userid": f"u{number}", "name": "x", "department": [2]} for number in range(200)]
    tag = {"tagid": 1, "tagname": "x", "userids": ["u0", "U1", "kept"]}
    kept = {"userid": "kept", "name": "x", "department": [2]}
    administration.put_company(world, company(members=[*members, kept], tags=[tag], contacts_secret="s"))
    codes = world.codes = Walks()
    for number in range(200):
        world.new_code(corpid=CORPID, userid=f"U{number}", netloc="localhost")
    left = world.new_code(corpid=CORPID, userid="kept", netloc="localhost")

    userids: dict[str, object] = {"useridlist": [f"u{number}" for number in range(200)]}
    assert call(world, "user/batchdelete", userids, secret="s")["errcode"] == 0

    assert (codes.count, list(codes)) == (1, [left.value])
    one = world.companies[CORPID]
    assert (list(one.directory.members), one.directory.tags[1].userids) == (["kept"], ["kept"])


def test_a_card_of_everybody_is_updated_for_a_large_tag(world: World) -> None:
    """No member of the tag is looked for among the card's receivers one by one."""
    everybody = tuple(Compared(f"u{number}") for number in range(PEOPLE))
    card = Message("m", CORPID, 2, "template_card", dict(BUTTON), world.now(), receivers=everybody)
    code = world.mail.new_response_code(card, now=world.now())
    tag = {"tagid": 1, "tagname": "大", "userids": [f"U{number}" for number in range(20, 3000)]}
    administration.put_tags(world, world.companies[CORPID], [tag])
    body = {"agentid": 2, "tagids": [1], "response_code": code, "button": {"replace_name": "好"}}

    answer = call(world, "message/update_template_card", body)

    assert Compared.comparisons < 10 * PEOPLE
    assert answer == {"errcode": 0, "errmsg": "ok", "invaliduser": []}
    assert len(card.views) == 3000 - 20


def test_robots_messages_have_an_end_too() -> None:
    mail = Mailroom(Settings(messages_kept=3))

    for number in range(5):
        mail.deliver_to_group(Message(f"m{number}", CORPID, None, "text", {}, 0.0, robot="k"))

    assert list(mail.messages) == ["m2", "m3", "m4"]


def test_what_was_sent_for_duplicates_has_an_end_too() -> None:
    recent = Recent(8)
    bodies = [b"%d" % number for number in range(10)]

    for number, body in enumerate([*bodies[:8], bodies[0], *bodies[8:]], 1):
        recent.add(CORPID, AGENTID, body, until=float(number))

    known = [recent.until(CORPID, AGENTID, body) for body in bodies]
    assert known == [9.0, 0.0, 0.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 11.0]
    assert len(recent) == 8
    assert (recent.until("ww0000000000000002", AGENTID, b"9"), recent.until(CORPID, 2, b"9")) == (0.0, 0.0)


def test_a_new_code_looks_at_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "KEPT_CODES", 2)
    mail = Mailroom(Settings())
    mail.response_codes = Unwalked()
    message = Message("m", CORPID, 2, "template_card", {}, 0.0)

    for _ in range(5):
        mail.new_response_code(message, now=0.0)

    assert len(mail.response_codes) == 2


def test_one_department_named_a_hundred_times_is_looked_at_once(world: World) -> None:
    body = {"toparty": "|".join(["1"] * 100), "agentid": 2, "msgtype": "text", "text": {"content": "x"}}
    world.settings.limits_enabled = False
    searched = 0

    def members_below(self: Directory, numbers: Iterable[int]) -> Iterator[Member]:
        nonlocal searched
        for member in found(self, numbers):
            searched += 1
            yield member

    found = Directory.members_below
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Directory, "members_below", members_below)
        answer = call(world, "message/send", body)

    assert answer["errcode"] == 0
    assert searched == len(world.companies[CORPID].directory.members)


def test_a_group_member_above_two_hundred_a_minute_gets_nothing(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    api.post("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "c1"})
    api.post("appchat/create", {"userlist": ["lilei", "hanmeimei"], "chatid": "c2"})
    message = {"chatid": "c1", "msgtype": "text", "text": {"content": "x"}}
    for _ in range(200):
        api.post("appchat/send", message)

    assert api.post("appchat/send", {**message, "chatid": "c2"}) == {"errcode": 0, "errmsg": "ok"}

    last = sandbox.control("GET", f"companies/{CORPID}/messages")["messages"][-1]
    assert (last["receivers"], last["dropped"]) == (["hanmeimei"], ["lilei"])
