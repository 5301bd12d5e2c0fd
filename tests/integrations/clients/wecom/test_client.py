"""The WeCom client, where one method or one rule differs from the contract of all."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import requests

from integrations.clients.errors import (
    BadRequestError,
    ConfigurationError,
    RateLimitedError,
    RecipientError,
    UnexpectedResponseError,
)
from integrations.clients.transport import open_session
from integrations.clients.wecom import client as agent_api
from integrations.clients.wecom import contacts as contacts_api
from integrations.clients.wecom.builders import MessageError
from integrations.clients.wecom.client import AgentChanges, RobotClient, SendResult, WeComClient
from integrations.clients.wecom.oauth import sign
from integrations.clients.wecom.tokens import TokenStore, TrialTokens
from tests.integrations.clients.wecom.contract import CASES, COMPOSED, open_client, public_methods
from tests.wecom import AGENTID, CALLER_IP, CORPID, ENDPOINTS, HINT, ROBOT_KEY, SECRET, fixture, wecom_answers


def app_client(**options: Any) -> WeComClient:
    client = open_client(**options)
    assert isinstance(client, WeComClient)
    return client


def robot_client() -> RobotClient:
    return RobotClient(key=ROBOT_KEY, session=open_session())


def _constructed(**changed: Any) -> WeComClient:
    values: dict[str, Any] = {
        "corpid": CORPID,
        "agentid": AGENTID,
        "secret": SECRET,
        "session": open_session(),
        "token_store": TrialTokens(),
    }
    return WeComClient(**{**values, **changed})


def test_every_method_has_a_case_in_the_contract() -> None:
    assert {case.endpoint for case in CASES} | COMPOSED == public_methods()
    assert {case.endpoint for case in CASES} | {"gettoken"} == set(ENDPOINTS)


# --- Constructing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "qyapi.weixin.qq.com",
        "ftp://host",
        "https://",
        "https://host?x=1",
        "https://host#x",
        "https://a:b@host",
        "http://[::1",
    ],
)
def test_an_address_that_cannot_be_used_is_a_matter_of_settings(base_url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _constructed(base_url=base_url)

    assert caught.value.operation == "base_url"


@pytest.mark.parametrize("proxy", ["proxy:3128", "http://", "http://user:pass-word-1@[::1", "ftp://host"])
def test_a_proxy_that_cannot_be_used_is_a_matter_of_settings_and_keeps_its_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _constructed(proxy=proxy)

    assert caught.value.operation == "proxy"
    assert "pass-word-1" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_a_session_without_deadlines_is_refused() -> None:
    with pytest.raises(TypeError):
        _constructed(session=requests.Session())


def test_a_base_address_may_have_a_path() -> None:
    with wecom_answers("https://gateway.example.com/wecom") as wecom:
        wecom.gives("gettoken")
        wecom.gives("agent_get", params={"agentid": str(AGENTID)})

        assert _constructed(base_url="https://gateway.example.com/wecom/").agent_get().agentid == AGENTID


def test_a_client_shows_no_secret() -> None:
    assert repr(_constructed()) == "WeComClient(corpid='ww1a2b3c4d5e6f7a8b', agentid=1000002)"
    assert repr(robot_client()) == "RobotClient()"


# --- Tokens ----------------------------------------------------------------------------------------------------------


def test_a_reset_secret_ends_with_the_second_refusal() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.refuses("agent_get", 40001)
        wecom.gives("gettoken", "40001")

        with pytest.raises(ConfigurationError) as caught:
            app_client().agent_get()

    assert (caught.value.operation, len(wecom.calls)) == ("gettoken", 3)


def test_too_many_wrong_secrets_mean_an_hour() -> None:
    with wecom_answers() as wecom:
        wecom.refuses("gettoken", 45009)

        with pytest.raises(RateLimitedError) as caught:
            app_client().agent_get()

    assert caught.value.retry_after_seconds == 3600


@pytest.mark.parametrize(("code", "seconds"), [(45009, 60), (45033, 5)])
def test_a_limit_says_how_long_to_wait(code: int, seconds: int) -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.refuses("message_send", code)

        with pytest.raises(RateLimitedError) as caught:
            app_client().message_send(b"{}")

    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 0, "expires_in": 7200},
        {"errcode": 0, "access_token": "", "expires_in": 7200},
        {"errcode": 0, "access_token": "sim", "expires_in": 0},
        {"errcode": 0, "access_token": "sim"},
        {"errcode": 0, "access_token": 5, "expires_in": 7200},
    ],
)
def test_a_token_that_is_none_is_not_used(answer: dict[str, Any]) -> None:
    with wecom_answers() as wecom:
        wecom.says("gettoken", answer)

        with pytest.raises(UnexpectedResponseError):
            app_client().agent_get()

    assert len(wecom.calls) == 1


def test_the_directory_sync_assistant_has_no_agent() -> None:
    with pytest.raises(BadRequestError):
        app_client(agentid=None).agent_get()


# --- Messages --------------------------------------------------------------------------------------------------------


def test_partial_success_is_a_result() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("message_send", "partial")

        result = app_client().message_send(b"{}")

    assert result == SendResult(
        msgid="sim-msg-0002",
        response_code="sim-rc-0001",
        invalid_userids=("nobody", "ghost"),
        unlicensed_userids=("hanmeimei",),
    )


def test_nobody_reached_names_them() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("message_send", "81013")

        with pytest.raises(RecipientError) as caught:
            app_client().message_send(b"{}")

    assert (caught.value.code, caught.value.invalid_userids) == (81013, ("nobody", "ghost"))
    assert json.loads(caught.value.answer)["errcode"] == 81013


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"errcode": 0}, SendResult()),
        ({}, SendResult()),
        ({"errcode": 0, "invaliduser": ["a", "b"]}, SendResult(invalid_userids=("a", "b"))),
        (
            {"errcode": 0, "invaliduser": " a | b |", "msgid": 7},
            SendResult("7", invalid_userids=("a", "b")),
        ),
        ({"errcode": 0, "invaliduser": {"a": 1}, "msgid": None}, SendResult()),
    ],
)
def test_an_accepted_message_is_never_an_error(answer: dict[str, Any], expected: SendResult) -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.says("message_send", answer)

        assert app_client().message_send(b"{}") == expected


def test_a_warning_beside_success_is_kept() -> None:
    with wecom_answers() as wecom:
        wecom.gives("webhook_send", "warning")

        assert robot_client().webhook_send(b"{}").warning == "ok. Warning: wrong json format. "


def test_the_body_is_sent_byte_by_byte_with_its_type() -> None:
    body = '{"text":{"content":"营收 🎉"}, "a" :1}'.encode()
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("message_send")
        app_client().message_send(body)

    assert wecom.calls[1].body == body
    assert wecom.calls[1].headers["Content-Type"] == "application/json; charset=UTF-8"


def test_other_json_bodies_keep_their_characters() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("agent_set")
        app_client().agent_set(AgentChanges(name="门户"))

    assert wecom.calls[1].body == '{"agentid":1000002,"name":"门户"}'.encode()


# --- Directory -------------------------------------------------------------------------------------------------------


def test_all_pages_of_the_member_list_are_read() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("user_list_id", "first", body={"limit": 3})
        wecom.gives("user_list_id", body={"cursor": "sim-cursor-2", "limit": 3})

        pages = list(app_client(agentid=None).user_list_id_pages(limit=3))

    assert [row for page in pages for row in page.rows] == [
        contacts_api.MemberRow("hanmeimei", 2),
        contacts_api.MemberRow("lilei", 2),
        contacts_api.MemberRow("lilei", 5),
    ]


def test_a_cursor_that_comes_again_is_an_error() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("user_list_id", "first")

        with pytest.raises(UnexpectedResponseError):
            list(app_client().user_list_id_pages())

    assert len(wecom.calls) == 3


def test_a_list_longer_than_the_cap_is_an_error_and_not_a_short_list() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        for number in range(3):
            wecom.says("user_list_id", {**fixture("user_list_id"), "next_cursor": f"c{number}"})

        with pytest.raises(UnexpectedResponseError):
            list(app_client().user_list_id_pages(pages_at_most=3))


@pytest.mark.parametrize(
    ("endpoint", "answer"),
    [
        ("user_list", {"errcode": 0}),
        ("user_list", {"errcode": 0, "userlist": [{"name": "李雷"}]}),
        ("user_list", {"errcode": 0, "userlist": ["lilei"]}),
        ("department_list", {"errcode": 0, "department": {}}),
        ("department_list", {"errcode": 0, "department": [{"id": "x"}]}),
        ("department_get", {"errcode": 0, "department": []}),
        ("user_list_id", {"errcode": 0, "next_cursor": ""}),
        ("agent_get", {"errcode": 0}),
        ("auth_getuserinfo", {"errcode": 0}),
        ("getcallbackip", {"errcode": 0}),
        ("menu_get", {"errcode": 0}),
        ("media_upload", {"errcode": 0}),
        ("appchat_get", {"errcode": 0}),
    ],
)
def test_an_answer_without_what_was_asked_for_is_unexpected(endpoint: str, answer: dict[str, Any]) -> None:
    case = next(case for case in CASES if case.endpoint == endpoint)
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.says(endpoint, answer, params=case.params)

        with pytest.raises(UnexpectedResponseError) as caught:
            case.call(app_client())

    assert (caught.value.operation, caught.value.code) == (endpoint, None)


def test_an_application_without_a_scope_is_read() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.says("agent_get", {"errcode": 0, "agentid": "1000002", "close": 1}, params={"agentid": str(AGENTID)})

        agent = app_client().agent_get()

    assert agent == agent_api.Agent(AGENTID, is_closed=True)


def test_a_visitor_has_an_openid() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("auth_getuserinfo", "visitor", params={"code": "CODE1"})

        identity = app_client().auth_getuserinfo("CODE1")

    assert identity == contacts_api.Identity(openid="oSIM0001")


# --- Files and tickets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "size"), [("file", 5), ("file", 20 * 1024 * 1024 + 1), ("image", 10 * 1024 * 1024 + 1), ("image", 0)]
)
def test_a_file_of_a_size_that_wecom_refuses_is_not_sent(kind: Any, size: int) -> None:
    with wecom_answers() as wecom:
        with pytest.raises(MessageError) as caught:
            app_client().media_upload(b"x" * size, kind=kind, file_name="x.bin")
        assert len(wecom.calls) == 0

    assert caught.value.field == "media"


@pytest.mark.parametrize("file_name", ["", "a\r\nX-Injected: 1", "a\x00b", "\ud800"])
def test_a_file_name_cannot_break_the_form(file_name: str) -> None:
    with pytest.raises(MessageError) as caught:
        app_client().media_upload(b"1,2,3\n", kind="file", file_name=file_name)

    assert caught.value.field == "filename"


def test_a_new_secret_drops_the_tickets_too(store: TokenStore) -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("get_jsapi_ticket")
        app_client(token_store=store).jsapi_ticket()

        store.forget(CORPID, AGENTID)
        app_client(token_store=store).jsapi_ticket()

        assert len(wecom.calls) == 4


def test_a_page_is_signed_without_its_fragment() -> None:
    signed = sign(
        ticket="sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_simticket",
        nonce="Wm3WZYTPz0wzccnW",
        timestamp=1764000004,
        url="https://portal.example.com/m/home?from=wecom#/inner",
    )

    assert signed.signature == "2985067f6f9de7927858a101be4d0160f69cd6f6"


# --- Errors ----------------------------------------------------------------------------------------------------------


def test_an_error_names_no_secret_that_a_proxy_prints() -> None:
    client = app_client()
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        page = (
            f"<a href='/x?access_token={fixture('gettoken')['access_token']}'>{SECRET} corpsecret=other key=other2</a>"
        )
        wecom.sends("agent_get", page.encode(), status=403)

        with pytest.raises(UnexpectedResponseError) as caught:
            client.agent_get()

    assert caught.value.answer == "<a href='/x?access_token=***'>*** corpsecret=*** key=***</a>"


def test_a_long_answer_is_clipped() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.sends("agent_get", "页".encode() * 5000, status=404)

        with pytest.raises(UnexpectedResponseError) as caught:
            app_client().agent_get()

    assert caught.value.answer == "页" * 500


OLD_HINT = "1700000000_1_0123456789abcdef0123456789abcdef"
LINK = "more info at https://open.work.weixin.qq.com/devtool/query?e=60020"


@pytest.mark.parametrize(
    ("errmsg", "message", "hint", "caller_ip"),
    [
        (f"not allowed, hint: [{HINT}], from ip: {CALLER_IP}, {LINK}", "not allowed", HINT, CALLER_IP),
        (f"access_token expired, {LINK}", "access_token expired", "", ""),
        (f"invalid, hint: [{OLD_HINT}], from ip: 2001:db8::1", "invalid", OLD_HINT, "2001:db8::1"),
        (f"all invalid, hint: [], from ip: {CALLER_IP}", "all invalid", "", CALLER_IP),
        ("", "no text", "", ""),
    ],
)
def test_hint_and_address_are_found_in_every_wording(errmsg: str, message: str, hint: str, caller_ip: str) -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.sends("agent_get", json.dumps({"errcode": 60020, "errmsg": errmsg}).encode())

        with pytest.raises(ConfigurationError) as caught:
            app_client().agent_get()

    assert (caught.value.message, caught.value.hint, caught.value.caller_ip) == (message, hint, caller_ip)


def test_errors_survive_pickling() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("message_send", "81013")
        with pytest.raises(RecipientError) as caught:
            app_client().message_send(b"{}")

    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own bytes

    assert type(copy) is RecipientError
    assert vars(copy) == vars(caught.value)
    assert str(copy) == "wecom message_send 81013: user & party & tag all invalid"
