"""The whole state, saved and restored, and the limits of what the sandbox keeps."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import requests
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from wecom_sandbox import server
from wecom_sandbox.control import system
from wecom_sandbox.control.system import ROWS_AT_ONCE, split_lines
from wecom_sandbox.http.bodies import encode_in_pieces
from wecom_sandbox.messages import inbox
from wecom_sandbox.messages.inbox import INBOX_LENGTH, Message, MessageStore, RecentMessages
from wecom_sandbox.settings import Settings
from wecom_sandbox.state import administration, events, files, world
from wecom_sandbox.state.world import MissingPaths, World
from wecom_sandbox.testing import ControlError

from tests.sandbox.conftest import Api
from tests.sandbox.direct import PNG
from tests.sandbox.test_messages import BUTTON
from tests.sandbox.test_oauth import PRIVATE, authorize, code_of, consent
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company, start_sandbox

LINES = {"Content-Type": "application/x-ndjson"}
ROBOT = {"key": "robot-key", "name": "日报"}


def take(sandbox: SandboxHandle) -> bytes:
    response = sandbox.session.get(f"{sandbox.base_url}/sandbox/api/snapshot", timeout=120)
    assert (response.status_code, response.headers["Content-Type"]) == (200, LINES["Content-Type"])
    return response.content


def put(sandbox: SandboxHandle, lines: bytes, headers: dict[str, str] | None = None) -> requests.Response:
    url = f"{sandbox.base_url}/sandbox/api/snapshot"
    return sandbox.session.put(url, data=lines, headers=headers or LINES, timeout=120)


def parsed(lines: bytes) -> list[dict[str, Any]]:
    """Return the rows without the clock, which goes on, and without those in no order."""
    rows = [json.loads(line) for line in lines.splitlines()]
    return [row for row in rows if not row.keys() & {"clock", "response_code", "token"}]


@pytest.fixture
def lived(api: Api, sandbox: SandboxHandle) -> dict[str, str]:
    """A state with messages, an answered and a recalled card, a group, a robot's message and a picture."""
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    sandbox.control("POST", f"companies/{CORPID}/robots", [ROBOT])
    card = api.send(msgtype="template_card", template_card=BUTTON)
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/click", {"msgid": card["msgid"], "key": "yes"})
    files = {"media": ("图.png", PNG, "image/png")}
    query = {"access_token": api.token(), "type": "image"}
    media_id = api.raw("POST", "media/upload", params=query, files=files).json()["media_id"]
    api.send("lilei|hanmeimei", msgtype="image", image={"media_id": media_id})
    api.post("message/recall", {"msgid": api.send("jim")["msgid"]})
    api.post("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "c1", "name": "群"})
    api.post("appchat/send", {"chatid": "c1", "msgtype": "text", "text": {"content": "in the group"}})
    text = {"msgtype": "text", "text": {"content": "from the robot"}}
    api.raw("POST", "webhook/send", params={"key": ROBOT["key"]}, json=text)
    return {"response_code": card["response_code"], "media_id": media_id}


def test_everything_comes_back(api: Api, sandbox: SandboxHandle, lived: dict[str, str]) -> None:
    saved = take(sandbox)
    sandbox.control("POST", "reset", {"companies": True})

    answer = put(sandbox, saved)

    assert answer.json() == {"companies": 1, "messages": 5}
    assert parsed(take(sandbox)) == parsed(saved)
    assert [one["msgtype"] for one in sandbox.messages(CORPID, "lilei")] == ["template_card", "image", "text"]
    assert sandbox.messages(CORPID, "jim")[0]["recalled"] is True
    picture = api.raw("GET", "media/get", params={"access_token": api.token(), "media_id": lived["media_id"]})
    assert picture.content == PNG
    assert api.get("appchat/get", chatid="c1")["chat_info"]["userlist"] == ["LiLei", "jim"]
    update = {"agentid": AGENTID, "atall": 1, "response_code": lived["response_code"], "button": {"replace_name": "好"}}
    assert api.post("message/update_template_card", update)["errcode"] == 0
    assert api.send(msgtype="template_card", template_card=BUTTON)["errcode"] == 42014


def test_a_sign_in_goes_on_where_the_snapshot_was_taken(api: Api, phone: SandboxHandle) -> None:
    """Keep the app's token, the person's code and consent, the ticket of the code, and the tickets of pages."""
    assert authorize(phone, scope=PRIVATE).status_code == 200
    token, code = api.token(), code_of(consent(phone))
    tickets = [api.get("get_jsapi_ticket")["ticket"], api.get("ticket/get", type="agent_config")["ticket"]]
    before = api.send()["msgid"]
    saved = take(phone)
    api.send()
    phone.control("POST", "reset", {"companies": True})
    put(phone, saved)

    def ask(method: str, path: str, document: object = None, **query: str) -> dict[str, Any]:
        return dict(api.raw(method, path, params={"access_token": token, **query}, json=document).json())

    found = ask("GET", "auth/getuserinfo", code=code)
    put(phone, take(phone))
    detail = ask("POST", "auth/getuserdetail", {"user_ticket": found["user_ticket"]})

    assert [(one["errcode"], one["userid"]) for one in (found, detail)] == [(0, "LiLei")] * 2
    assert ask("GET", "auth/getuserinfo", code=code)["errcode"] == 40029
    assert authorize(phone, scope=PRIVATE).status_code == 302
    assert [
        ask("GET", "get_jsapi_ticket")["ticket"],
        ask("GET", "ticket/get", type="agent_config")["ticket"],
    ] == tickets
    assert [one["msgid"] for one in phone.messages(CORPID, "lilei")] == [before]


def test_a_deleted_company_leaves_nothing(api: Api, phone: SandboxHandle, lived: dict[str, str]) -> None:
    api.get("get_jsapi_ticket")
    consent(phone)
    phone.control("DELETE", f"companies/{CORPID}")

    saved = take(phone)
    assert [list(row) for row in parsed(saved)] == [["settings", "bi", "companies"]]
    assert put(phone, saved).json() == {"companies": 0, "messages": 0}
    assert lived["media_id"].encode() not in saved


def test_the_clock_goes_on(sandbox: SandboxHandle) -> None:
    saved = take(sandbox)
    sandbox.advance(1000)
    now = sandbox.control("GET", "clock")["now"]
    later = take(sandbox)

    put(sandbox, saved)
    assert sandbox.control("GET", "clock")["now"] >= now
    with start_sandbox() as other:
        put(other, later)
        assert other.control("GET", "clock")["now"] >= now


def nested(levels: int) -> dict[str, Any]:
    return {"x": nested(levels - 1)} if levels else {}


def test_what_a_call_may_leave_can_be_restored(api: Api, sandbox: SandboxHandle) -> None:
    """Restore bodies of the greatest depth, 16 levels; refuse deeper ones."""
    menu = {"type": "click", "name": "n", "key": "k"}
    assert api.post("menu/create", {"button": [menu | nested(14)]}, agentid=AGENTID)["errcode"] == 0
    assert put(sandbox, take(sandbox)).status_code == 200
    refused = api.post("menu/create", {"button": [menu | nested(15)]}, agentid=AGENTID)
    assert refused["errcode"] == 40058
    assert refused["errmsg"].startswith("invalid Request Parameter: body is nested too deeply")


SEED_LINE = json.dumps({"companies": [company()]}).encode()
GOOD: dict[str, Any] = {
    **{"msgid": "m", "corpid": CORPID, "agentid": AGENTID, "msgtype": "text", "content": {"content": "x"}},
    **{"sent_at": 1.0, "receivers": ["lilei"], "dropped": [], "views": {}},
}
CODE = {"value": "v", "msgid": "m", "expires_at": 1.0, "folded": "", "used": False}
TOKEN = {"value": "t", "corpid": CORPID, "agentid": AGENTID, "expires_at": 1.0, "secret": "s"}
MEDIA = {
    **{"media_id": "x", "corpid": CORPID, "kind": "file", "filename": "f", "content_type": "text/plain"},
    **{"expires_at": 1.0, "body": "AAAA"},
}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"message": GOOD | {"corpid": "ww9"}}, "there is no company ww9"),
        ({"message": GOOD | {"receivers": "lilei"}}, "receivers must be a list of texts"),
        ({"response_code": CODE | {"msgid": "other"}}, "and the msgid of a message above"),
        ({"response_code": {"msgid": "m"}}, "response_code must have expires_at, folded, used, value"),
        ({"media": MEDIA | {"body": "é"}}, "media.body must be base64"),
        ({"clock": True}, "clock must be a number"),
        ({"robot": {}}, "it must be an object with one of clock, token, code, user_ticket, js_ticket, consent"),
        ({"token": TOKEN | {"expires_at": "soon"}}, "token.expires_at must be of type float"),
        ([], "it must be an object"),
    ],
)
def test_a_wrong_line_is_told_and_changes_nothing(sandbox: SandboxHandle, line: object, complaint: str) -> None:
    before = parsed(take(sandbox))

    answer = put(sandbox, SEED_LINE + b"\n" + json.dumps(line).encode())

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("line 2: ")
    assert complaint in answer.json()["error"]
    assert parsed(take(sandbox)) == before


@pytest.mark.parametrize("lines", [b"", b"{broken", b'{"companies": [{}]}', SEED_LINE + b"\n\xff"])
def test_what_is_no_snapshot_is_told(sandbox: SandboxHandle, lines: bytes) -> None:
    """Refuse plain text, which browsers send across sites without asking first."""
    assert put(sandbox, lines).status_code == 400
    assert put(sandbox, lines, {"Content-Type": "text/plain"}).status_code == 415


T = TypeVar("T")
OTHER = "ww0000000000000002"


def message(msgid: str, *receivers: str, corpid: str = CORPID, **values: Any) -> Message:
    content: dict[str, object] = {"content": msgid}
    return Message(msgid, corpid, AGENTID, "text", content, 0.0, receivers=receivers, **values)


def shown(mail: MessageStore, userid: str, corpid: str = CORPID) -> list[str]:
    return [one.msgid for one in mail.inbox(corpid, userid)]


def test_a_message_that_its_company_lost_stands_nowhere() -> None:
    mail = MessageStore(Settings(messages_kept=2))
    for number in range(3):
        mail.deliver(message(f"m{number}", "lilei", "jim" if number == 0 else "han"))
    mail.deliver(message("other", "lilei", corpid=OTHER))

    assert list(mail.messages) == ["m1", "m2", "other"]
    assert (shown(mail, "lilei"), shown(mail, "han")) == (["m1", "m2"], ["m1", "m2"])
    assert set(mail.inboxes) == {(CORPID, "lilei"), (CORPID, "han"), (OTHER, "lilei")}
    for msgid in ("r0", "r1", "r2"):
        mail.deliver_to_group(message(msgid, robot="k"))
    assert [one.msgid for one in mail.groups[CORPID, "k"]] == ["r1", "r2"]


def test_a_lost_card_takes_its_codes_and_its_task_along() -> None:
    mail = MessageStore(Settings(messages_kept=1))
    card = Message("card", CORPID, AGENTID, "template_card", dict(BUTTON), 0.0, receivers=("lilei",))
    mail.deliver(card)
    mail.task_ids.add((CORPID, AGENTID, str(BUTTON["task_id"])))
    mail.new_response_code(card, now=0.0)
    mail.new_response_code(card, now=0.0, folded="lilei")
    assert len(mail.response_codes) == 2

    mail.deliver(message("m1"))

    assert (dict(mail.response_codes), mail.task_ids) == ({}, set())


def test_a_phone_holds_the_newest_and_nothing_of_the_time_before_one_left() -> None:
    mail = MessageStore(Settings())
    for number in range(INBOX_LENGTH + 1):
        mail.deliver(message(f"m{number}", "lilei"))

    assert shown(mail, "lilei") == [f"m{number}" for number in range(1, INBOX_LENGTH + 1)]
    del mail.inboxes[CORPID, "lilei"]
    mail.deliver(message("after", "lilei"))
    assert shown(mail, "lilei") == ["after"]


def test_large_messages_push_old_ones_out_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "CHARACTERS_MOST", 5000)
    mail = MessageStore(Settings())
    for number in range(3):
        mail.deliver(message(f"m{number}", *(f"u{one}" for one in range(100))))

    assert list(mail.messages) == ["m1", "m2"]
    mail.deliver(message("large", *(f"u{one}" for one in range(1000))))
    assert list(mail.messages) == ["large"]


def test_old_files_go_when_there_are_too_many_or_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def media(name: str, size: int) -> files.Media:
        return files.Media(name, CORPID, "file", "f", "text/plain", b"x" * size, 0.0)

    monkeypatch.setattr(files, "BYTES_MOST", 10)
    kept = files.Files()
    for name, size in (("a", 4), ("b", 4), ("c", 6), ("large", 11), ("large", 4), ("d", 6)):
        kept.add(media(name, size))
        expected = {"a": ["a"], "b": ["a", "b"], "c": ["b", "c"], "large": ["large"], "d": ["large", "d"]}[name]
        assert [one.media_id for one in kept] == expected
    monkeypatch.setattr(files, "FILES_MOST", 2)
    kept.add(media("e", 0))
    assert [one.media_id for one in kept] == ["d", "e"]


def test_events_that_wait_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop the oldest event of the app whose address hangs, and log that."""
    monkeypatch.setattr(events, "WAITING_MOST", 3)
    outbox = events.Outbox()
    for agentid, name in ((1, "a"), (1, "b"), (2, "c"), (2, "d")):
        outbox.add(events.Outgoing(CORPID, agentid, events.make_event(CORPID, agentid, name, now=7.0)))

    [lost] = (one.as_json() for one in outbox.log)
    assert (lost["at"], lost["agentid"], lost["event"], lost["attempt"]) == (7.0, 1, "a", 0)
    assert lost["outcome"] == "given up: too many events wait"
    assert [one.elements["Event"] for one in outbox.claim(most_running=9)] == ["b", "c", "d"]


def test_codes_tickets_groups_duplicates_and_missing_paths_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CODES_MOST", "TICKETS_MOST", "CHATS_MOST"):
        monkeypatch.setattr(world, name, 2)
    found, missing, recent = World(), MissingPaths(), RecentMessages(8)
    codes = [found.new_code(corpid=CORPID, userid="lilei", netloc="localhost").value for _ in range(3)]
    for value in "abc":
        found.store_ticket(world.Ticket(value, CORPID, AGENTID, 0.0, "lilei"))
        found.store_chat(world.Chat(value, CORPID, AGENTID, "x", "lilei", {"lilei": None}))
    for number in [*range(1100), 100]:
        missing.note("GET", f"/cgi-bin/{number}")
    bodies = [b"%d" % number for number in range(10)]
    for number, body in enumerate([*bodies[:8], bodies[0], *bodies[8:]], 1):
        recent.add(CORPID, AGENTID, body, until=float(number))

    assert list(found.codes) == codes[1:]
    assert (list(found.user_tickets), list(found.chats)) == (["b", "c"], ["b", "c"])
    assert len(missing.as_json()) == 1000
    assert missing.as_json()[0] == {"method": "GET", "path": "/cgi-bin/100", "count": 2}
    known = [recent.find_end(CORPID, AGENTID, body) for body in bodies]
    assert known == [9.0, 0.0, 0.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 11.0]
    assert (recent.find_end(OTHER, AGENTID, b"9"), recent.find_end(CORPID, 2, b"9")) == (0.0, 0.0)


def in_a_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run in a thread of its own: an earlier browser test may have left its event loop in this one."""

    async def run() -> T:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def read_lines(chunks: list[bytes], **most: int) -> list[bytes]:
    async def sent() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def read() -> list[bytes]:
        return [line async for line in split_lines(sent(), **most)]

    return in_a_loop(read)


def test_a_snapshot_is_read_line_by_line_and_one_that_is_too_large_refused() -> None:
    assert read_lines([b"a", b"b\nc", b"\n\nd\n"], line_most=2, most=9) == [b"ab", b"c", b"", b"d"]
    for most in ({"line_most": 3}, {"most": 6}):
        with pytest.raises(ValueError, match="a snapshot has at most"):
            read_lines([b"a\nbb", b"bb", b"\nc"], **most)


def test_lists_are_read_page_by_page(api: Api, sandbox: SandboxHandle) -> None:
    api.raw("GET", "gettoken", params={"corpid": "w" * 5000, "corpsecret": "x"})
    assert sandbox.control("GET", "calls")["calls"][-1]["corpid"] == "w" * 64
    msgids = [api.send()["msgid"] for _ in range(3)]
    path = f"companies/{CORPID}/messages"

    first = sandbox.control("GET", path, limit="2")
    assert [one["msgid"] for one in first["messages"]] == msgids[:2]
    assert {name: first[name] for name in ("after", "more", "missed")} == {"after": 2, "more": True, "missed": 0}
    second = sandbox.control("GET", path, limit="2", after="2")
    assert ([one["msgid"] for one in second["messages"]], second["more"]) == (msgids[2:], False)
    phone = sandbox.control("GET", f"companies/{CORPID}/members/lilei/messages", after="1", limit="1")
    assert [one["msgid"] for one in phone["messages"]] == [msgids[1]]
    calls = sandbox.control("GET", "calls", endpoint="message/send", limit="2")
    assert (len(calls["calls"]), calls["more"]) == (2, True)
    sandbox.control("PATCH", "settings", {"messages_kept": 1})
    last = api.send()["msgid"]
    overtaken = sandbox.control("GET", path, after="1")
    assert ([one["msgid"] for one in overtaken["messages"]], overtaken["missed"]) == ([last], 2)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "10001"}, {"limit": "x"}, {"after": "-1"}, {"after": "٣"}])
def test_a_wrong_page_is_told(sandbox: SandboxHandle, query: dict[str, str]) -> None:
    with pytest.raises(ControlError, match=f"400 .*{next(iter(query))} must be"):
        sandbox.control("GET", f"companies/{CORPID}/messages", **query)


# --- Large work ------------------------------------------------------------------------------------------------------

PEOPLE = 20 * ROWS_AT_ONCE


def people(number: int = PEOPLE) -> list[dict[str, Any]]:
    return [{"userid": f"u{one}", "name": "x", "department": [2]} for one in range(number)]


@pytest.fixture
def place() -> World:
    found = World()
    administration.put_company(found, company(members=[], tags=[]))
    return found


def request() -> web.Request:
    return make_mocked_request("GET", "/?limit=10000", match_info={"corpid": CORPID})


def test_calls_are_answered_while_members_are_written(place: World) -> None:
    """Ask over the wire: members that are already written are visible."""

    async def count() -> list[int]:
        async with server.run_server(place, server.ListenOptions("127.0.0.1", 0)) as ports, ClientSession() as session:
            url = f"http://127.0.0.1:{ports.plain}/sandbox/api/companies"
            body, headers = json.dumps(people()), {"Content-Type": "application/json"}
            writing = asyncio.ensure_future(session.post(f"{url}/{CORPID}/members", data=body, headers=headers))
            seen: list[int] = []
            while not writing.done():
                async with session.get(url) as answer:
                    seen.append((await answer.json())["companies"][0]["members"])
            assert (await (await writing).json()) == {"count": PEOPLE}
            return seen

    assert [number for number in in_a_loop(count) if 0 < number < PEOPLE]


def test_a_wrong_state_changes_nothing_however_late_it_shows(place: World) -> None:
    wrong = [*people(), {"userid": "?", "name": "x"}]
    before = administration.dump_seed(place)

    with pytest.raises(ValueError, match=r"userid '\?'"):
        in_a_loop(lambda: system.put_state(request(), place, {"companies": [company(members=wrong)]}))

    assert administration.dump_seed(place) == before


def test_a_state_is_what_was_there_when_it_was_asked_for(place: World) -> None:
    here = place.companies[CORPID]
    administration.put_members(place, here, list(people(9)))
    expected = administration.dump_seed(place)

    pieces = encode_in_pieces(administration.dump_seed(place, iter))
    first = next(pieces)
    administration.remove_member(place, here, "u5")
    administration.put_members(place, here, [{"userid": "u6", "name": "y"}])
    administration.put_apps(place, here, [{"agentid": AGENTID, "name": "z"}])

    assert json.loads(first + b"".join(pieces)) == expected
