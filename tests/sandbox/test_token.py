"""gettoken, and the changes that invalidate a token."""

from __future__ import annotations

from typing import Any

import pytest
from wecom_sandbox.api import token
from wecom_sandbox.api.token import TOKENS_KEPT

from tests.sandbox.conftest import Api
from tests.sandbox.direct import CONTACTS, DirectApi
from tests.sandbox_process import AGENTID, CORPID, SECRET

RIGHT = {"corpid": CORPID, "corpsecret": SECRET}


@pytest.mark.parametrize(
    "given", [{"params": RIGHT}, {"params": RIGHT, "json": {}}, {"json": RIGHT}, {"data": RIGHT}], ids=range(4)
)
def test_gettoken_by_post(api: Api, given: dict[str, Any]) -> None:
    assert api.raw("POST", "gettoken", **given).json()["access_token"] == api.token()


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (None, 41002),
        ({"corpid": CORPID}, 41004),
        ({"corpid": 7, "corpsecret": SECRET}, 40013),
        ({"corpid": CORPID, "corpsecret": ["x"]}, 40001),
        (b"[]", 40058),
    ],
)
def test_gettoken_by_post_refused(direct: DirectApi, body: object, errcode: int) -> None:
    assert direct.errcode("gettoken", body, method="POST") == errcode


def use(direct: DirectApi, value: str) -> int:
    return direct.errcode("user/get", {"userid": "lilei"}, access_token=value)


def test_the_same_token_comes_again_and_counts_down_until_it_is_over(direct: DirectApi) -> None:
    first = direct("gettoken", RIGHT)
    direct.advance(100)
    second = direct("gettoken", RIGHT)

    assert first["expires_in"] == 7200
    assert second["access_token"] == first["access_token"]
    assert 7098 <= second["expires_in"] <= 7100
    direct.advance(7100)
    assert direct.token() != first["access_token"]
    answer = direct("user/get", {"access_token": first["access_token"]})
    assert answer["errmsg"] == (
        "access_token expired, more info at https://open.work.weixin.qq.com/devtool/query?e=42001"
    )


def test_rotating_tokens_stay_good_but_for_the_oldest(direct: DirectApi) -> None:
    other = DirectApi(CONTACTS, direct.world).token()
    direct.world.settings.change({"rotate_tokens": True, "limits_enabled": False})
    tokens = [direct.token() for _ in range(TOKENS_KEPT + 1)]

    assert [use(direct, one) for one in (tokens[0], tokens[1], tokens[-1])] == [40014, 0, 0]
    assert other in direct.world.tokens


@pytest.mark.parametrize("errcode", [40014, 42001])
def test_tokens_can_be_spoilt(direct: DirectApi, errcode: int) -> None:
    old = direct.token()
    assert token.invalidate(direct.world, CORPID, AGENTID, code=errcode) == 1

    assert use(direct, old) == errcode
    assert use(direct, direct.token()) == 0


def test_what_is_missing_or_invented_is_no_token(direct: DirectApi, api: Api) -> None:
    assert (use(direct, ""), use(direct, "nonsense")) == (41001, 40014)
    assert api.raw("POST", "message/send", json={"access_token": api.token()}).json()["errcode"] == 41001


@pytest.mark.parametrize(
    ("change", "used", "asked"),
    [({"secret": "another-secret"}, 40001, 40001), ({"disabled": True}, 50003, 50003), ({"trusted_ips": []}, 60020, 0)],
)
def test_what_spoils_a_token_and_gettoken(direct: DirectApi, change: dict[str, Any], used: int, asked: int) -> None:
    """Let gettoken ignore the trusted IPs."""
    old = direct.token()
    direct.change_app(**change)

    assert use(direct, old) == used
    answer = direct("gettoken", RIGHT)
    assert (answer["errcode"], "access_token" in answer) == (asked, asked == 0)


def test_wrong_secrets_block_the_address_for_an_hour(direct: DirectApi) -> None:
    direct.world.settings.wrong_secrets_per_hour = 2
    wrong = RIGHT | {"corpsecret": "wrong"}

    assert [direct.errcode("gettoken", one) for one in (wrong, wrong, wrong, RIGHT)] == [40001, 40001, 40001, 45009]
    direct.advance(3601)
    assert direct.errcode("gettoken", RIGHT) == 0
