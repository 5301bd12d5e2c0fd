"""What the sandbox keeps has an end, and lists of it are read page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import psutil
import pytest
from wecom_sandbox.api.token import TOKENS_KEPT
from wecom_sandbox.control.whole import lines
from wecom_sandbox.messages import inbox
from wecom_sandbox.messages.inbox import INBOX_LENGTH, Mailroom, Message, Page, Ring
from wecom_sandbox.settings import Settings
from wecom_sandbox.state import events, files, world
from wecom_sandbox.testing import ControlError

from tests.nightly import nightly
from tests.sandbox.conftest import Api
from tests.sandbox.test_messages import BUTTON
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox

OTHER = "ww0000000000000002"


def ring(rows: str, most: int | None = None) -> Ring[str]:
    found: Ring[str] = Ring(most)
    for row in rows:
        found.add(row)
    return found


def message(msgid: str, *receivers: str, corpid: str = CORPID, **values: object) -> Message:
    content = {"content": msgid}
    return Message(msgid, corpid, AGENTID, "text", content, 0.0, receivers=receivers, **values)  # type: ignore[arg-type]


def shown(mail: Mailroom, userid: str, corpid: str = CORPID) -> list[str]:
    return [one.msgid for one in mail.inbox(corpid, userid)]


@pytest.mark.parametrize(
    ("after", "most", "page"),
    [
        (0, 2, Page(["c", "d"], 4, more=True, missed=2)),
        (4, 2, Page(["e"], 5, more=False, missed=0)),
        (5, 2, Page([], 5, more=False, missed=0)),
        (1, 3, Page(["c", "d", "e"], 5, more=False, missed=1)),
        (99, 2, Page([], 5, more=False, missed=0)),
    ],
)
def test_pages_of_a_ring(after: int, most: int, page: Page[str]) -> None:
    assert ring("abcde", 3).page(after, most) == page


def test_a_page_of_wanted_rows_goes_on_behind_the_last_of_them() -> None:
    rows = ring("axbxxcx")

    first = rows.page(0, 2, "x".__ne__)
    assert (first.rows, first.after, first.more) == (["a", "b"], 3, True)
    assert rows.page(first.after, 2, "x".__ne__) == Page(["c"], 7, more=False, missed=0)


def test_a_ring_that_was_emptied_counts_on() -> None:
    rows = ring("ab")
    rows.clear()
    rows.add("c")

    assert rows.page(2, 9) == Page(["c"], 3, more=False, missed=0)


def test_a_message_that_its_company_lost_stands_nowhere() -> None:
    mail = Mailroom(Settings(messages_kept=2))
    for number in range(3):
        mail.deliver(message(f"m{number}", "lilei", "jim" if number == 0 else "han"))
    mail.deliver(message("other", "lilei", corpid=OTHER))

    assert list(mail.messages) == ["m1", "m2", "other"]
    assert (shown(mail, "lilei"), shown(mail, "han")) == (["m1", "m2"], ["m1", "m2"])
    assert set(mail.inboxes) == {(CORPID, "lilei"), (CORPID, "han"), (OTHER, "lilei")}


def test_a_robot_s_message_that_its_company_lost_is_gone_from_the_group() -> None:
    mail = Mailroom(Settings(messages_kept=1))
    for msgid in ("m0", "m1"):
        mail.deliver_to_group(message(msgid, robot="k"))

    assert [one.msgid for one in mail.groups[CORPID, "k"]] == ["m1"]


def test_a_lost_card_takes_its_codes_and_its_task_along() -> None:
    mail = Mailroom(Settings(messages_kept=1))
    card = Message("card", CORPID, AGENTID, "template_card", dict(BUTTON), 0.0, receivers=("lilei",))
    mail.deliver(card)
    mail.task_ids.add((CORPID, AGENTID, str(BUTTON["task_id"])))
    mail.new_response_code(card, now=0.0)
    mail.new_response_code(card, now=0.0, folded="lilei")
    assert len(mail.response_codes) == 2

    mail.deliver(message("m1"))

    assert (dict(mail.response_codes), mail.task_ids) == ({}, set())


def test_a_phone_holds_the_newest() -> None:
    mail = Mailroom(Settings())
    for number in range(INBOX_LENGTH + 1):
        mail.deliver(message(f"m{number}", "lilei"))

    assert shown(mail, "lilei") == [f"m{number}" for number in range(1, INBOX_LENGTH + 1)]


def test_somebody_who_left_and_came_back_has_an_inbox_of_her_own() -> None:
    mail = Mailroom(Settings(messages_kept=2))
    mail.deliver(message("before", "lilei"))
    del mail.inboxes[CORPID, "lilei"]
    mail.deliver(message("after", "lilei"))
    mail.deliver(message("elsewhere", "jim"))

    assert shown(mail, "lilei") == ["after"]


def test_large_messages_push_old_ones_out_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "KEPT_CHARACTERS", 5000)
    mail = Mailroom(Settings())
    for number in range(3):
        mail.deliver(message(f"m{number}", *(f"u{one}" for one in range(100))))

    assert list(mail.messages) == ["m1", "m2"]
    mail.deliver(message("large", *(f"u{one}" for one in range(1000))))
    assert list(mail.messages) == ["large"]


def test_old_files_go_when_there_are_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BYTES_MOST", 10)
    kept = files.Files()
    for name, size in (("a", 4), ("b", 4), ("c", 6), ("large", 11), ("large", 4), ("d", 6)):
        kept.add(files.Media(name, CORPID, "file", "f", "text/plain", b"x" * size, 0.0))
        expected = {"a": ["a"], "b": ["a", "b"], "c": ["b", "c"], "large": ["large"], "d": ["large", "d"]}[name]
        assert [one.media_id for one in kept] == expected


def test_old_files_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILES_MOST", 2)
    kept = files.Files()
    for name in "abc":
        kept.add(files.Media(name, CORPID, "file", "f", "text/plain", b"", 0.0))

    assert [one.media_id for one in kept] == ["b", "c"]


def test_events_that_wait_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app whose address hangs loses its oldest one; the log tells of it."""
    monkeypatch.setattr(events, "WAITING_MOST", 3)
    outbox = events.Outbox()
    for agentid, name in ((1, "a"), (1, "b"), (2, "c"), (2, "d")):
        outbox.add(events.Outgoing(CORPID, agentid, events.event(CORPID, agentid, name, now=7.0)))

    assert [one.as_json() for one in outbox.log] == [
        {
            "at": 7.0,
            "corpid": CORPID,
            "agentid": 1,
            "event": "a",
            "attempt": 0,
            "outcome": "given up: too many events wait",
            "status": 0,
        }
    ]
    assert [one.elements["Event"] for one in outbox.claim(most_running=9)] == ["b", "c", "d"]


def read_lines(chunks: list[bytes], **most: int) -> list[bytes]:
    async def sent() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def read() -> list[bytes]:
        return [line async for line in lines(sent(), **most)]

    # In a thread of its own: a browser of an earlier test may have left its event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, read()).result()


def test_a_snapshot_is_read_line_by_line() -> None:
    assert read_lines([b"a", b"b\nc", b"\n\nd\n"], line_most=2, most=9) == [b"ab", b"c", b"", b"d"]


@pytest.mark.parametrize("most", [{"line_most": 3}, {"most": 6}])
def test_a_snapshot_that_is_too_large_is_refused(most: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a snapshot has at most"):
        read_lines([b"a\nbb", b"bb", b"\nc"], **most)


def test_codes_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "KEPT_CODES", 2)
    found = world.World()
    codes = [found.new_code(corpid=CORPID, userid="lilei", netloc="localhost").value for _ in range(3)]

    assert list(found.codes) == codes[1:]


def test_user_tickets_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "KEPT_TICKETS", 2)
    found = world.World()
    for value in "abc":
        found.keep_ticket(world.Ticket(value, CORPID, AGENTID, 0.0, "lilei"))

    assert list(found.user_tickets) == ["b", "c"]


def test_groups_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "KEPT_CHATS", 2)
    found = world.World()
    for chatid in "abc":
        found.keep_chat(world.Chat(chatid, CORPID, AGENTID, "x", "lilei", {"lilei": None}))

    assert list(found.chats) == ["b", "c"]


def test_tokens_of_an_app_have_an_end(api: Api, contacts: Api, sandbox: SandboxHandle) -> None:
    other = contacts.token()
    sandbox.control("PATCH", "settings", {"rotate_tokens": True, "limits_enabled": False})
    tokens = [api.token() for _ in range(TOKENS_KEPT + 1)]

    def errcode(token: str) -> int:
        return int(api.raw("GET", "department/simplelist", params={"access_token": token}).json()["errcode"])

    assert [errcode(token) for token in (tokens[0], tokens[1], tokens[-1], other)] == [40014, 0, 0, 0]


def test_the_log_keeps_little_of_a_claimed_company(api: Api, sandbox: SandboxHandle) -> None:
    api.raw("GET", "gettoken", params={"corpid": "w" * 5000, "corpsecret": "x"})

    assert sandbox.control("GET", "calls")["calls"][-1]["corpid"] == "w" * 64


def test_lists_are_read_page_by_page(api: Api, sandbox: SandboxHandle) -> None:
    msgids = [api.send()["msgid"] for _ in range(3)]
    path = f"companies/{CORPID}/messages"

    first = sandbox.control("GET", path, limit="2")
    assert [one["msgid"] for one in first["messages"]] == msgids[:2]
    assert {name: first[name] for name in ("after", "more", "missed")} == {"after": 2, "more": True, "missed": 0}
    second = sandbox.control("GET", path, limit="2", after="2")
    assert [one["msgid"] for one in second["messages"]] == msgids[2:]
    assert second["more"] is False
    phone = sandbox.control("GET", f"companies/{CORPID}/members/lilei/messages", after="1", limit="1")
    assert [one["msgid"] for one in phone["messages"]] == [msgids[1]]
    calls = sandbox.control("GET", "calls", endpoint="message/send", limit="2")
    assert (len(calls["calls"]), calls["more"]) == (2, True)
    assert sandbox.control("GET", "callbacks", limit="1")["callbacks"] == []


def test_a_reader_that_was_overtaken_is_told(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"messages_kept": 1})
    msgids = [api.send()["msgid"] for _ in range(3)]

    page = sandbox.control("GET", f"companies/{CORPID}/messages", after="1")

    assert ([one["msgid"] for one in page["messages"]], page["missed"]) == ([msgids[2]], 1)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "10001"}, {"limit": "x"}, {"after": "-1"}, {"after": "٣"}])
def test_a_wrong_page_is_told(sandbox: SandboxHandle, query: dict[str, str]) -> None:
    with pytest.raises(ControlError, match=f"400 .*{next(iter(query))} must be"):
        sandbox.control("GET", f"companies/{CORPID}/messages", **query)


def big_company(members: int) -> dict[str, object]:
    """Departments of 500, all under one that the app sees."""
    count = members // 500
    departments = [{"id": number, "name": f"部门{number}", "parentid": 2} for number in range(100, 100 + count)]
    people = [
        {"userid": f"user{number}", "name": f"员工{number}", "department": [100 + number % count]}
        for number in range(members)
    ]
    base = company()
    return {**base, "departments": base["departments"] + departments, "members": people, "tags": []}


async def load(base_url: str, numbers: range, connections: int = 16, members: int = 1000) -> None:
    """Send a text to two members for each number. Raises AssertionError for one that is not accepted."""
    left = iter(numbers)
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        query = {"corpid": CORPID, "corpsecret": SECRET}
        async with session.get(f"{base_url}/cgi-bin/gettoken", params=query) as answer:
            token = (await answer.json())["access_token"]
        url = f"{base_url}/cgi-bin/message/send?access_token={token}"

        async def sender() -> None:
            for number in left:
                people = f"user{number % members}|User{(number * 7) % members}"
                message = {
                    "touser": people,
                    "msgtype": "text",
                    "agentid": AGENTID,
                    "text": {"content": f"报告 {number}"},
                }
                body = {**message, "enable_duplicate_check": 1}
                async with session.post(url, json=body) as answer:
                    result = await answer.json()
                assert result["errcode"] == 0, result

        await asyncio.gather(*(sender() for _ in range(connections)))


def sent(sandbox: SandboxHandle, numbers: range) -> int:
    """Send the messages; the sandbox's memory afterwards."""
    asyncio.run(load(sandbox.base_url, numbers))
    return int(psutil.Process(sandbox.pid).memory_info().rss)


@nightly
def test_a_million_messages_take_no_more_memory_than_the_first_ones() -> None:
    """Over the wire, to 1000 people. After the first third all is full: phones, lists, the log, duplicates."""
    settings = {"limits_enabled": False, "messages_kept": 120_000}
    seed = {"companies": [big_company(1000)], "settings": settings}
    # In a thread of their own: a browser of an earlier test may have left its event loop in this one.
    with start_sandbox(seed=seed) as handle, ThreadPoolExecutor(1) as thread:
        first = thread.submit(sent, handle, range(300_000)).result()
        phones = [len(handle.messages(CORPID, f"user{number}")) for number in (1, 499, 999)]
        last = thread.submit(sent, handle, range(300_000, 1_000_000)).result()

    assert phones == [INBOX_LENGTH] * 3
    assert last < 1.1 * first
