"""gettoken, and what spoils a token."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle

APP = f"companies/{CORPID}/apps/{AGENTID}"


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"corpsecret": SECRET}, 41002),
        ({"corpid": CORPID}, 41004),
        ({"corpid": "wwunknown", "corpsecret": SECRET}, 40013),
        ({"corpid": CORPID, "corpsecret": "wrong"}, 40001),
        ({"corpid": CORPID, "corpsecret": SECRET}, 0),
        ({"corpid": CORPID, "corpsecret": "sandbox-secret-of-contacts"}, 0),
    ],
)
def test_gettoken(api: Api, query: dict[str, str], errcode: int) -> None:
    assert api.raw("GET", "gettoken", params=query).json()["errcode"] == errcode


@pytest.mark.parametrize(
    "given",
    [
        {"params": {"corpid": CORPID, "corpsecret": SECRET}},
        {"params": {"corpid": CORPID, "corpsecret": SECRET}, "json": {}},
        {"json": {"corpid": CORPID, "corpsecret": SECRET}},
        {"data": {"corpid": CORPID, "corpsecret": SECRET}},
    ],
)
def test_gettoken_by_post(api: Api, given: dict[str, Any]) -> None:
    assert api.raw("POST", "gettoken", **given).json()["access_token"] == api.token()


@pytest.mark.parametrize(
    ("given", "errcode"),
    [
        ({}, 41002),
        ({"json": {"corpid": CORPID}}, 41004),
        ({"json": {"corpid": 7, "corpsecret": SECRET}}, 40013),
        ({"json": {"corpid": CORPID, "corpsecret": ["x"]}}, 40001),
        ({"json": {"corpid": CORPID, "corpsecret": "wrong"}}, 40001),
        ({"data": b"[]"}, 40058),
    ],
)
def test_gettoken_by_post_refused(api: Api, given: dict[str, Any], errcode: int) -> None:
    assert api.raw("POST", "gettoken", **given).json()["errcode"] == errcode


def test_the_same_token_comes_again_and_counts_down(api: Api, sandbox: SandboxHandle) -> None:
    query = {"corpid": CORPID, "corpsecret": SECRET}
    first = api.raw("GET", "gettoken", params=query).json()
    sandbox.advance(100)
    second = api.raw("GET", "gettoken", params=query).json()

    assert first["expires_in"] == 7200
    assert second["access_token"] == first["access_token"]
    assert 7098 <= second["expires_in"] <= 7100


def test_an_expired_token_is_followed_by_another(api: Api, sandbox: SandboxHandle) -> None:
    first = api.token()
    sandbox.advance(7200)

    assert api.token() != first


def test_rotating_tokens_all_stay_good(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"rotate_tokens": True})
    first, second = api.token(), api.token()

    assert first != second
    for token in (first, second):
        assert api.raw("GET", "user/get", params={"access_token": token, "userid": "lilei"}).json()["errcode"] == 0


@pytest.mark.parametrize("errcode", [40014, 42001])
def test_tokens_can_be_spoilt(api: Api, sandbox: SandboxHandle, errcode: int) -> None:
    old = api.token()
    assert sandbox.control("POST", f"{APP}/invalidate", {"code": errcode}) == {"tokens": 1}

    assert api.raw("GET", "user/get", params={"access_token": old, "userid": "lilei"}).json()["errcode"] == errcode
    assert api.get("user/get", userid="lilei")["errcode"] == 0


def test_a_reset_secret_spoils_the_old_token_and_the_old_secret(api: Api, sandbox: SandboxHandle) -> None:
    old = api.token()
    sandbox.control("PATCH", APP, {"secret": "another-secret"})

    assert api.raw("GET", "user/get", params={"access_token": old, "userid": "lilei"}).json()["errcode"] == 40001
    answer = api.raw("GET", "gettoken", params={"corpid": CORPID, "corpsecret": SECRET}).json()
    assert answer["errcode"] == 40001
    assert "access_token" not in answer


def test_a_disabled_app_is_refused(api: Api, sandbox: SandboxHandle) -> None:
    token = api.token()
    sandbox.control("PATCH", APP, {"disabled": True})

    assert api.raw("GET", "user/get", params={"access_token": token, "userid": "lilei"}).json()["errcode"] == 50003
    answer = api.raw("GET", "gettoken", params={"corpid": CORPID, "corpsecret": SECRET}).json()
    assert answer["errcode"] == 50003


def test_gettoken_is_not_subject_to_the_trusted_ips(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", APP, {"trusted_ips": []})

    assert api.token()


def test_wrong_secrets_block_the_address_for_an_hour(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"wrong_secrets_per_hour": 2})
    wrong, right = ({"corpid": CORPID, "corpsecret": secret} for secret in ("wrong", SECRET))

    codes = [api.raw("GET", "gettoken", params=query).json()["errcode"] for query in (wrong, wrong, wrong, right)]
    sandbox.advance(3601)

    assert codes == [40001, 40001, 40001, 45009]
    assert api.raw("GET", "gettoken", params=right).json()["errcode"] == 0
