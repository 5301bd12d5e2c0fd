"""What goes wrong between the client and WeCom: dead tokens, a busy server, broken answers, cut connections."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from integrations.clients.errors import (
    ConfigurationError,
    ForeignAnswerError,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.wecom.api.messages import SendResult
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.token_store import InMemoryTokenStore
from integrations.clients.wecom.transport import Timeouts
from tests.integrations.against_sandbox.message_cases import text
from tests.integrations.against_sandbox.place import PATIENT, Place
from tests.integrations.against_sandbox.test_refusals import refused
from tests.sandbox_process import AGENTID, CORPID, SECRET

APP = f"companies/{CORPID}/apps/{AGENTID}"
# Time for a busy sandbox to do what it does before it falls silent.
HASTY = Timeouts(connect_seconds=5, total_seconds=1.5, transfer_seconds=1.5)
READ, SEND = "user/get", "message/send"


def invalidate(at: Place, code: int) -> None:
    at.sandbox.control("POST", f"{APP}/invalidate", {"code": code})


@pytest.mark.parametrize("code", [40014, 42001])
def test_a_stale_token_costs_one_repeat(place: Place, code: int) -> None:
    place.app.user_get("lilei")
    invalidate(place, code)

    assert place.app.message_send(text()).invalid_userids == ()

    assert place.errcodes(SEND) == [code, 0]
    assert place.errcodes("gettoken") == [0, 0]
    assert len(place.phone()) == 1


def test_a_token_that_ended_is_fetched_anew(place: Place) -> None:
    """The client's clock still trusts it, WeCom's does not."""
    place.app.user_get("lilei")
    place.sandbox.advance(7201)
    assert place.app.user_get("lilei").userid == "LiLei"
    assert place.errcodes(READ) == [0, 42001, 0]


@pytest.mark.parametrize("code", [40014, 42001])
def test_a_fresh_token_that_is_refused_too_ends_the_call(place: Place, code: int) -> None:
    place.sandbox.fault("errcode", READ, code=code, count=None)
    with pytest.raises(IntegrationError) as caught:
        place.app.user_get("lilei")
    assert caught.value.code == code
    assert place.errcodes(READ) == [code, code]
    assert place.errcodes("gettoken") == [0, 0]


def test_a_secret_that_was_reset(place: Place) -> None:
    place.app.user_get("lilei")
    place.sandbox.control("POST", f"{APP}/secret", {})

    refused(ConfigurationError, 40001, lambda: place.app.user_get("lilei"))

    assert place.errcodes(READ) == [0, 40001]
    assert place.errcodes("gettoken") == [0, 40001]
    # Until somebody enters another secret nothing more goes out: wrong ones block the address.
    with pytest.raises(ConfigurationError):
        place.app.user_get("lilei")
    assert place.errcodes("gettoken") == [0, 40001]
    place.app_control(secret=SECRET)
    assert place.client().user_get("lilei").userid == "LiLei"


def test_many_threads_find_the_token_dead_and_fetch_one(place: Place) -> None:
    place.app.user_get("lilei")
    invalidate(place, 40014)
    with ThreadPoolExecutor(16) as pool:
        users = list(pool.map(place.app.user_get, ["lilei"] * 32))
    assert {user.userid for user in users} == {"LiLei"}
    assert place.errcodes("gettoken") == [0, 0]


def test_a_download_with_a_stale_token(place: Place) -> None:
    media = place.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv")
    invalidate(place, 42001)
    assert place.app.media_get(media.media_id).content == b"1,2,3\n"
    assert place.errcodes("media/get") == [42001, 0]


def test_a_code_survives_a_stale_token(place: Place) -> None:
    code = place.code()
    place.app.user_get("lilei")
    invalidate(place, 40014)
    assert place.app.auth_getuserinfo(code).userid == "LiLei"


Row = tuple[str, dict[str, Any], type[IntegrationError], type[IntegrationError], int | None, bool]
# fault, its values, the class on a call that reads, on a send, the code, whether a send was carried out
FAULTS: tuple[Row, ...] = (
    ("busy", {}, TransientError, OutcomeUnknownError, -1, False),
    ("rate_limited", {}, RateLimitedError, RateLimitedError, 45009, False),
    ("concurrent", {}, RateLimitedError, RateLimitedError, 45033, False),
    ("ip_refused", {}, ConfigurationError, ConfigurationError, 60020, False),
    ("errcode", {"code": 48002}, ConfigurationError, ConfigurationError, 48002, False),
    ("errcode", {"code": 6000}, TransientError, TransientError, 6000, False),
    ("errcode", {"code": 987654}, UnexpectedResponseError, UnexpectedResponseError, 987654, False),
    ("http_500", {}, TransientError, OutcomeUnknownError, None, False),
    ("http_500", {"processed": True}, TransientError, OutcomeUnknownError, None, True),
    ("html", {}, ForeignAnswerError, OutcomeUnknownError, None, False),
    ("html", {"processed": True}, ForeignAnswerError, OutcomeUnknownError, None, True),
    ("broken_json", {"processed": True}, ForeignAnswerError, OutcomeUnknownError, None, True),
    ("close_before", {}, TransientError, OutcomeUnknownError, None, False),
    ("close_after", {}, TransientError, OutcomeUnknownError, None, True),
    ("hang", {"seconds": 60}, TransientError, OutcomeUnknownError, None, False),
    ("hang", {"seconds": 60, "processed": True}, TransientError, OutcomeUnknownError, None, True),
    ("slow", {"seconds": 60}, TransientError, OutcomeUnknownError, None, True),
    ("drip", {"seconds": 0.1}, TransientError, OutcomeUnknownError, None, True),
)
IDS = [f"{row[0]}-{row[1]}" for row in FAULTS]


def failing(at: Place, endpoint: str, fault: Row, call: Callable[[WeComClient], object]) -> IntegrationError:
    """The error of a call that meets a fault; it must have gone out once."""
    store = InMemoryTokenStore()
    at.client(token_store=store).agent_get()
    is_silent = fault[0] in {"hang", "slow", "drip"}
    client = at.client(timeouts=HASTY if is_silent else PATIENT, token_store=store)
    at.sandbox.fault(fault[0], endpoint, **fault[1])
    with pytest.raises(IntegrationError) as caught:
        call(client)
    assert ("TimeoutError" in caught.value.message) is is_silent  # the client did not wait for the sandbox's minute
    assert caught.value.code == fault[4]
    assert [one["fault"] for one in at.sandbox.calls(endpoint)] == [fault[0]]
    return caught.value


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_a_fault_on_a_call_that_reads(place: Place, fault: Row) -> None:
    error = failing(place, READ, fault, lambda client: client.user_get("lilei"))
    assert type(error) is fault[2]
    assert place.app.user_get("lilei").userid == "LiLei"


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_a_fault_on_a_send(place: Place, fault: Row) -> None:
    error = failing(place, SEND, fault, lambda client: client.message_send(text()))
    assert type(error) is fault[3]
    assert len(place.phone()) == (1 if fault[5] else 0)


def test_the_warning_of_a_lenient_parser_is_told(place: Place) -> None:
    result = place.app.message_send(text() + b"rubbish")
    assert result == SendResult(result.msgid, warning="ok. Warning: wrong json format. ")
    place.sandbox.fault("wrong_json_warning", "webhook/send")
    assert "wrong json format" in place.robot.webhook_send(b'{"msgtype":"text","text":{"content":"x"}}').warning


def test_a_fault_of_gettoken_is_certain_on_a_send(place: Place) -> None:
    """Nothing was sent while there was no token: the send may safely be tried again."""
    place.sandbox.fault("close_after", "gettoken")
    with pytest.raises(IntegrationError) as caught:
        place.app.message_send(text())
    assert type(caught.value) is TransientError
    assert place.sandbox.calls(SEND) == []
