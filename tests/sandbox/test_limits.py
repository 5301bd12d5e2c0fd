"""WeCom's frequency limits: what counts towards each, and how long a block lasts."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox.direct import TEXT, DirectApi
from tests.sandbox_process import CORPID, SECRET, SandboxHandle

DAY, CHINA = 86_400, 8 * 3600
BODY = b'{"touser":"lilei","msgtype":"text","agentid":1000002,"text":{"content":"x"}}'


@pytest.fixture
def whole(direct: DirectApi) -> DirectApi:
    """An app that sees the root department, which making group chats requires."""
    direct.change_app(scope={"partyids": [1]})
    return direct


def go_to(direct: DirectApi, hour_in_china: float) -> None:
    """Move the clock forward to the next time at which it is this hour in China."""
    direct.advance((hour_in_china * 3600 - (direct.world.now() + CHINA)) % DAY)


def test_app_messages_do_not_count_in_the_basic_frequency(direct: DirectApi) -> None:
    direct.world.settings.change({"company_per_minute": 6, "company_per_hour": 8, "ip_per_minute": 8})

    assert [direct.errcode("message/send", TEXT) for _ in range(5)] == [0] * 5
    assert direct.errcode("gettoken", {"corpid": CORPID, "corpsecret": SECRET}) == 0
    assert direct.errcode("gettoken", {"corpid": CORPID, "corpsecret": SECRET}) == 45009
    direct.advance(61)
    assert direct.errcode("gettoken", {"corpid": CORPID, "corpsecret": SECRET}) == 0


# --- Parallel calls --------------------------------------------------------------------------------------------------


class Slow:
    """A message/send whose body lacks its last byte."""

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
        """Send the last byte. Return the whole answer."""
        self._socket.sendall(BODY[-1:])
        return b"".join(iter(lambda: self._socket.recv(65_536), b""))


def send_with(api: Api, token: str) -> int:
    return int(api.raw("POST", "message/send", params={"access_token": token}, data=BODY).json()["errcode"])


def test_the_301st_parallel_call_of_a_company_is_refused(api: Api, sandbox: SandboxHandle) -> None:
    token = api.token()
    with ExitStack() as stack:
        calls = [stack.enter_context(Slow(sandbox.base_url, token)) for _ in range(299)]
        assert {send_with(api, token) for _ in range(20)} == {0}

        calls.append(stack.enter_context(Slow(sandbox.base_url, token)))
        deadline = time.monotonic() + 60
        while send_with(api, token) != 45033:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # a question under way when a slow call arrives would take its place
        assert b'"errcode":0' in calls[0].finish()
        assert send_with(api, token) == 0
        assert all(b'"errcode":0' in call.finish() for call in calls[1:])


# --- Days, hours, minutes ---------------------------------------------------------------------------------------------


def test_a_day_s_rule_blocks_until_the_day_ends_in_china(whole: DirectApi) -> None:
    go_to(whole, 23)
    people = {"userlist": ["lilei", "jim"]}
    for _ in range(1000):
        whole.errcode("appchat/create", {"userlist": ["lilei"]})

    assert whole.errcode("appchat/create", people) == 45009
    whole.advance(1800)
    assert whole.errcode("appchat/create", people) == 45009
    whole.advance(1800)
    assert whole.errcode("appchat/create", people) == 0


@pytest.mark.parametrize(("setting", "seconds"), [("group_per_minute", 61), ("group_per_hour", 3601)])
def test_group_messages_have_a_minute_and_an_hour(whole: DirectApi, setting: str, seconds: int) -> None:
    whole("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "abc"})
    message = {"chatid": "abc", "msgtype": "text", "text": {"content": "x"}}
    whole.world.settings.change({setting: 5})

    assert [whole.errcode("appchat/send", message) for _ in range(3)] == [0, 0, 45009]
    whole.advance(seconds - 10)
    assert whole.errcode("appchat/send", message) == 45009
    whole.advance(10 + seconds)
    assert whole.errcode("appchat/send", message) == 0


def test_a_group_member_above_two_hundred_a_minute_gets_nothing(whole: DirectApi) -> None:
    whole("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "c1"})
    whole("appchat/create", {"userlist": ["lilei", "hanmeimei"], "chatid": "c2"})
    message = {"chatid": "c1", "msgtype": "text", "text": {"content": "x"}}
    for _ in range(200):
        whole("appchat/send", message)

    assert whole("appchat/send", {**message, "chatid": "c2"}) == {"errcode": 0, "errmsg": "ok"}

    last = list(whole.world.mail.messages.values())[-1]
    assert (last.receivers, last.dropped) == (("hanmeimei",), ("lilei",))


def test_debug_mode_is_for_five_calls_a_minute(direct: DirectApi) -> None:
    right = {"corpid": CORPID, "corpsecret": SECRET}
    codes = [direct.errcode("message/send", TEXT, debug="1") for _ in range(3)]
    codes += [direct.errcode("gettoken", right, debug="1") for _ in range(3)]

    assert codes == [0, 0, 0, 0, 0, 45009]
    assert [direct.errcode("message/send", TEXT, debug=one) for one in "10"] == [45009, 0]
    direct.advance(61)
    assert direct.errcode("message/send", TEXT, debug="1") == 0
