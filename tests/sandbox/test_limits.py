"""WeCom's frequency limits: what counts in which, and how long a block lasts."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

APP = f"companies/{CORPID}/apps/{AGENTID}"
DAY, CHINA = 86_400, 8 * 3600
BODY = b'{"touser":"lilei","msgtype":"text","agentid":1000002,"text":{"content":"x"}}'


@pytest.fixture
def whole(api: Api, sandbox: SandboxHandle) -> Api:
    """The app sees the root department: only such apps may make group chats."""
    sandbox.control("PATCH", APP, {"scope": {"partyids": [1]}})
    return api


def go_to(sandbox: SandboxHandle, hour_in_china: float) -> None:
    """Move the clock forward to the next time that it is so late in China."""
    now = sandbox.control("GET", "clock")["now"]
    sandbox.advance((hour_in_china * 3600 - (now + CHINA)) % DAY)


def send_with(api: Api, token: str, **query: str) -> int:
    answer = api.raw("POST", "message/send", params={"access_token": token, **query}, data=BODY).json()
    return int(answer["errcode"])


def test_app_messages_do_not_count_in_the_basic_frequency(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"company_per_minute": 1, "company_per_hour": 1, "ip_per_minute": 1})
    token = api.token()

    assert [send_with(api, token) for _ in range(4)] == [0, 0, 0, 0]
    query = {"access_token": token, "userid": "lilei"}
    codes = [api.raw("GET", "user/get", params=query).json()["errcode"] for _ in range(2)]
    assert codes == [0, 45009]


# --- Parallel calls --------------------------------------------------------------------------------------------------


class Slow:
    """A message/send whose body is still on its way: all but the last byte is sent."""

    def __init__(self, base_url: str, token: str) -> None:
        parts = urlsplit(base_url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        head = (
            f"POST /cgi-bin/message/send?access_token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + BODY[:-1])

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *args: object) -> None:
        self._socket.close()

    def finish(self) -> bytes:
        """Send the last byte; returns the whole answer."""
        self._socket.sendall(BODY[-1:])
        return b"".join(iter(lambda: self._socket.recv(65_536), b""))


def code_within(api: Api, token: str, wanted: int, seconds: float = 60) -> int:
    """The errcode of message/send, as soon as it is `wanted` or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        time.sleep(0.1)  # a question that is under way when a slow call arrives would take its place
        code = send_with(api, token)
        if code == wanted or time.monotonic() > deadline:
            return code


def test_the_301st_parallel_call_of_a_company_is_refused(api: Api, sandbox: SandboxHandle) -> None:
    token = api.token()
    with ExitStack() as stack:
        calls = [stack.enter_context(Slow(sandbox.base_url, token)) for _ in range(300)]

        assert code_within(api, token, 45033) == 45033
        assert b'"errcode":0' in calls[0].finish()
        assert send_with(api, token) == 0
        assert all(b'"errcode":0' in call.finish() for call in calls[1:])


def test_300_parallel_calls_are_not_too_many(api: Api, sandbox: SandboxHandle) -> None:
    token = api.token()
    with ExitStack() as stack:
        calls = [stack.enter_context(Slow(sandbox.base_url, token)) for _ in range(299)]

        assert {send_with(api, token) for _ in range(20)} == {0}
        assert all(b'"errcode":0' in call.finish() for call in calls)


def test_a_call_that_is_one_too_many_uses_up_no_fault(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"parallel_calls": 1})
    token = api.token()
    with Slow(sandbox.base_url, token) as call:
        assert code_within(api, token, 45033) == 45033
        sandbox.fault("busy", "message/send")
        assert send_with(api, token) == 45033
        assert len(sandbox.control("GET", "faults")["faults"]) == 1
        assert b'"errcode":-1' in call.finish()
    assert send_with(api, token) == 0


def test_a_reset_in_the_middle_of_a_call_does_not_spoil_its_answer(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"parallel_calls": 1})
    token = api.token()
    with Slow(sandbox.base_url, token) as call:
        assert code_within(api, token, 45033) == 45033
        sandbox.control("POST", "reset", {})
        answer = call.finish()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"errcode":40014' in answer


# --- Days, hours, minutes ---------------------------------------------------------------------------------------------


@pytest.fixture
def chats(whole: Api, sandbox: SandboxHandle) -> Api:
    """It is eleven in the evening in China, and this day's 1000 group chats are made."""
    go_to(sandbox, 23)
    token = whole.token()
    for _ in range(1000):
        whole.raw("POST", "appchat/create", params={"access_token": token}, json={"userlist": ["lilei"]})
    return whole


def create(api: Api) -> int:
    return int(api.post("appchat/create", {"userlist": ["lilei", "jim"]})["errcode"])


def test_a_day_s_rule_blocks_until_the_day_ends_in_china(chats: Api, sandbox: SandboxHandle) -> None:
    assert create(chats) == 45009
    sandbox.advance(1800)
    assert create(chats) == 45009

    sandbox.advance(1800)

    assert create(chats) == 0


def test_a_day_s_rule_counts_the_calendar_s_day(chats: Api, sandbox: SandboxHandle) -> None:
    go_to(sandbox, 0.5)

    assert create(chats) == 0


def test_wrong_telephone_numbers_block_for_a_whole_day(api: Api, sandbox: SandboxHandle) -> None:
    """The page says "a day" of this one, not that it ends with the calendar's."""
    go_to(sandbox, 23)
    codes = [api.post("user/getuserid", {"mobile": "1"})["errcode"] for _ in range(3)]
    sandbox.advance(2 * 3600)
    codes.append(api.post("user/getuserid", {"mobile": "13000000001"})["errcode"])
    sandbox.advance(22 * 3600)
    codes.append(api.post("user/getuserid", {"mobile": "13000000001"})["errcode"])

    assert codes == [46004, 46004, 45009, 45009, 0]


@pytest.fixture
def group(whole: Api) -> Api:
    """A group of two people."""
    assert whole.post("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "abc"})["errcode"] == 0
    return whole


def post_to_group(api: Api) -> int:
    message = {"chatid": "abc", "msgtype": "text", "text": {"content": "x"}}
    return int(api.post("appchat/send", message)["errcode"])


def test_group_messages_of_a_minute(group: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"group_per_minute": 4})

    assert [post_to_group(group) for _ in range(3)] == [0, 0, 45009]
    sandbox.advance(61)
    assert post_to_group(group) == 0


def test_group_messages_of_an_hour(group: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"group_per_hour": 5})

    assert [post_to_group(group) for _ in range(3)] == [0, 0, 45009]
    sandbox.advance(61)
    assert post_to_group(group) == 45009
    sandbox.advance(3601)
    assert post_to_group(group) == 0


def test_the_numbers_of_group_messages_are_those_that_wecom_published(sandbox: SandboxHandle) -> None:
    settings = sandbox.control("GET", "settings")

    assert (settings["group_per_minute"], settings["group_per_hour"], settings["debug_per_minute"]) == (
        20_000,
        150_000,
        5,
    )


def test_debug_mode_is_for_five_calls_a_minute(api: Api, sandbox: SandboxHandle) -> None:
    token = api.token()
    query = {"corpid": CORPID, "corpsecret": api.secret, "debug": "1"}
    codes = [send_with(api, token, debug="1") for _ in range(3)]
    codes += [api.raw("GET", "gettoken", params=query).json()["errcode"] for _ in range(3)]

    assert codes == [0, 0, 0, 0, 0, 45009]
    assert send_with(api, token, debug="1") == 45009
    assert (send_with(api, token, debug="0"), send_with(api, token)) == (0, 0)
    sandbox.advance(61)
    assert send_with(api, token, debug="1") == 0
