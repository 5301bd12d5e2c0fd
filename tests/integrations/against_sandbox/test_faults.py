"""What goes wrong between the client and WeCom: dead tokens, a busy server, broken answers, cut connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from integrations.clients.errors import (
    ConfigurationError,
    IntegrationError,
)
from integrations.clients.wecom.calls import Timeouts
from tests.integrations.against_sandbox.message_cases import text
from tests.integrations.against_sandbox.place import Place
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
