"""The WeCom client at the wire: every method's success and stale token, failures of each kind, and what differs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from integrations.clients.errors import (
    BadRequestError,
    CodeRejectedError,
    ConfigurationError,
    ForeignAnswerError,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.transport import open_session
from integrations.clients.wecom import client as api
from integrations.clients.wecom import contacts as contacts_api
from integrations.clients.wecom.builders import MessageError
from integrations.clients.wecom.calls import AnswerError, Wire
from integrations.clients.wecom.client import RobotClient, SendResult, WeComClient
from integrations.clients.wecom.contacts import parse_user
from integrations.clients.wecom.errcodes import ENTRIES, explain, find_error_class
from integrations.clients.wecom.oauth import sign_page
from integrations.clients.wecom.tokens import TokenStore
from tests.integrations.clients.wecom.contract import CASES, COMPOSED, KINDS, Case, open_client, public_methods
from tests.wecom import (
    AGENTID,
    CALLER_IP,
    CORPID,
    ENDPOINTS,
    HINT,
    ROBOT_KEY,
    SECRET,
    TOKEN,
    WeComAnswers,
    fixture,
    refusal,
    wecom_answers,
)

EVERY_METHOD = pytest.mark.parametrize("case", CASES, ids=lambda case: case.endpoint)
EACH_KIND = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.endpoint)

REFUSALS = (
    (-1, None),
    (6000, TransientError),
    (45009, RateLimitedError),
    (45033, RateLimitedError),
    (60020, ConfigurationError),
    (48002, ConfigurationError),
    (301002, ConfigurationError),
    (60011, RecipientError),
    (40029, CodeRejectedError),
    (40058, BadRequestError),
    (999999, UnexpectedResponseError),
)
# Bytes that are no answer of WeCom, each with its status.
GARBAGE = (
    (b"", 200),
    (b"<html><body>502 Bad Gateway</body></html>", 200),
    (b'{"errcode":0,"errm', 200),
    (b"[]", 200),
    (b'"ok"', 200),
    (b"null", 200),
    (b"\xff\xfe\x00", 200),
    (b'{"errcode":"zero"}', 200),
    (b'{"errcode":true}', 200),
    (b'{"errcode":1.5}', 200),
    (b"[" * 100_000, 200),
    (b"not found", 404),
    (b"", 302),
)


def _answers(wecom: WeComAnswers, case: Case) -> None:
    if not case.is_robot:
        wecom.gives("gettoken")


def _success(wecom: WeComAnswers, case: Case, token: str = TOKEN) -> None:
    wecom.gives(case.endpoint, params=case.params, body=case.body, token=token)


def _error(case: Case) -> IntegrationError:
    with pytest.raises(IntegrationError) as caught:
        case.call(open_client(case))
    return caught.value


@EVERY_METHOD
def test_success(case: Case) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        _success(wecom, case)

        result = case.call(open_client(case))

    assert result == case.expected
    request = wecom.calls[-1]
    method, path = ENDPOINTS[case.endpoint]
    assert (request.method, request.url.partition("?")[0]) == (method, wecom.base_url + path)
    assert "Cookie" not in request.headers


@EACH_KIND
@pytest.mark.parametrize(("code", "expected"), REFUSALS)
def test_each_kind_of_refusal(case: Case, code: int, expected: type[IntegrationError] | None) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.refuses(case.endpoint, code, "sim text")

        error = _error(case)

    assert type(error) is (expected or (TransientError if case.is_repeatable else OutcomeUnknownError))
    assert (error.system, error.operation, error.code) == ("wecom", case.endpoint, code)
    assert (error.message, error.hint, error.caller_ip) == ("sim text", HINT, CALLER_IP)
    assert len(wecom.calls) == (1 if case.is_robot else 2)


@EVERY_METHOD
def test_whether_to_repeat_is_known_after_an_unclear_failure(case: Case) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.refuses(case.endpoint, -1)

        error = _error(case)

    assert type(error) is (TransientError if case.is_repeatable else OutcomeUnknownError)


@EACH_KIND
@pytest.mark.parametrize(("content", "status"), GARBAGE, ids=range(len(GARBAGE)))
def test_garbage(case: Case, content: bytes, status: int) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.sends(case.endpoint, content, status=status)

        error = _error(case)

    assert type(error) is (ForeignAnswerError if case.is_repeatable else OutcomeUnknownError)
    assert (error.operation, error.code) == (case.endpoint, None)


@EACH_KIND
@pytest.mark.parametrize("failure", [429, 503, requests.ReadTimeout("read"), requests.ConnectionError("reset")])
def test_a_server_that_fails_and_a_connection_that_breaks_off(case: Case, failure: int | Exception) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        if isinstance(failure, int):
            wecom.sends(case.endpoint, b"<html>", status=failure)
        else:
            wecom.sends(case.endpoint, failure)

        error = _error(case)

    assert type(error) is (TransientError if case.is_repeatable else OutcomeUnknownError)


@EACH_KIND
def test_no_connection_is_certain(case: Case) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.sends(case.endpoint, requests.ConnectTimeout("no route"))

        error = _error(case)

    assert type(error) is TransientError


@EVERY_METHOD
def test_a_stale_token_is_replaced_once(case: Case) -> None:
    code = 40014
    if case.is_robot:
        with wecom_answers() as wecom:
            wecom.refuses(case.endpoint, code)
            assert _error(case).code == code
            assert len(wecom.calls) == 1
        return
    with wecom_answers() as wecom:
        wecom.says("gettoken", {**fixture("gettoken"), "access_token": "stale"})
        wecom.refuses(case.endpoint, code, token="stale")
        wecom.gives("gettoken")
        _success(wecom, case)

        result = case.call(open_client(case))

    assert result == case.expected
    assert len(wecom.calls) == 4


@EACH_KIND
@pytest.mark.parametrize("code", [42001, 40014])
def test_a_token_that_stays_stale_ends_after_one_repeat(case: Case, code: int) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.refuses(case.endpoint, code)

        error = _error(case)

    assert (type(error), error.code) == (TransientError, code)
    assert len(wecom.calls) == (1 if case.is_robot else 4)


def test_no_call_is_made_with_a_token_that_was_refused() -> None:
    case = KINDS[0]
    with wecom_answers() as wecom:
        for token in ("first", "second", TOKEN):
            wecom.says("gettoken", {**fixture("gettoken"), "access_token": token})
        for token in ("first", "second"):
            wecom.refuses(case.endpoint, 40014, token=token)
        _success(wecom, case)
        client = open_client(case)
        with pytest.raises(IntegrationError):
            case.call(client)

        assert case.call(client) == case.expected

    assert len(wecom.calls) == 6


@pytest.mark.parametrize(("code", "expected"), [(40001, ConfigurationError), (-1, TransientError)])
def test_a_failure_of_gettoken_is_certain_and_goes_no_further(code: int, expected: type[IntegrationError]) -> None:
    with wecom_answers() as wecom:
        wecom.says("gettoken", refusal(code))

        error = _error(KINDS[1])

    assert (type(error), error.code, error.operation) == (expected, code, "gettoken")
    assert len(wecom.calls) == 1


def app_client(**options: Any) -> WeComClient:
    client = open_client(**options)
    assert isinstance(client, WeComClient)
    return client


def failed(cls: type[Exception], call: Callable[[], object]) -> Any:
    with pytest.raises(cls) as caught:
        call()
    return caught.value


def test_every_method_has_a_case_in_the_contract() -> None:
    assert {case.endpoint for case in CASES} | COMPOSED == public_methods()
    assert {case.endpoint for case in CASES} | {"gettoken"} == set(ENDPOINTS)


@pytest.mark.parametrize("base_url", ["", "qyapi.weixin.qq.com", "ftp://host", "https://", "http://[::1"])
def test_an_address_that_cannot_be_used_is_a_matter_of_settings(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="address or its proxy cannot be used"):
        RobotClient(key=ROBOT_KEY, wire=Wire(base_url=base_url, session=open_session())).webhook_send(b"{}")


@pytest.mark.parametrize("proxy", ["http://", "http://user:pass-word-1@[::1"])
def test_a_proxy_that_cannot_be_used_is_a_matter_of_settings_and_keeps_its_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RobotClient(key=ROBOT_KEY, wire=Wire(proxy=proxy, session=open_session())).webhook_send(b"{}")

    assert "pass-word-1" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_a_session_without_deadlines_is_refused() -> None:
    with pytest.raises(TypeError):
        Wire(session=requests.Session())


def test_a_base_address_may_have_a_path() -> None:
    with wecom_answers("https://gateway.example.com/wecom") as wecom:
        wecom.gives("gettoken")
        wecom.gives("agent_get", params={"agentid": str(AGENTID)})

        assert app_client(base_url="https://gateway.example.com/wecom/").agent_get().agentid == AGENTID


def test_a_reset_secret_ends_with_the_second_refusal() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.refuses("agent_get", 40001)
        wecom.gives("gettoken", "40001")

        error = failed(ConfigurationError, app_client().agent_get)

    assert (error.operation, len(wecom.calls)) == ("gettoken", 3)


@pytest.mark.parametrize(
    ("endpoint", "code", "seconds"), [("gettoken", 45009, 3600), ("agent_get", 45009, 60), ("agent_get", 45033, 5)]
)
def test_a_limit_says_how_long_to_wait(endpoint: str, code: int, seconds: int) -> None:
    with wecom_answers() as wecom:
        if endpoint != "gettoken":
            wecom.gives("gettoken")
        wecom.refuses(endpoint, code)

        error = failed(RateLimitedError, app_client().agent_get)

    assert error.retry_after_seconds == seconds


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

        failed(UnexpectedResponseError, app_client().agent_get)

    assert len(wecom.calls) == 1


def test_the_directory_sync_assistant_has_no_agent() -> None:
    with pytest.raises(BadRequestError):
        app_client(agentid=None).agent_get()


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

        error = failed(RecipientError, lambda: app_client().message_send(b"{}"))

    assert (error.code, error.invalid_userids) == (81013, ("nobody", "ghost"))
    assert json.loads(error.answer)["errcode"] == 81013
    assert str(error) == "wecom message_send 81013: user & party & tag all invalid"


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
        (
            {"errcode": 0, "errmsg": "ok. Warning: wrong json format. "},
            SendResult(warning="ok. Warning: wrong json format. "),
        ),
    ],
)
def test_an_accepted_message_is_never_an_error(answer: dict[str, Any], expected: SendResult) -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.says("message_send", answer)

        assert app_client().message_send(b"{}") == expected


def test_bodies_are_sent_byte_by_byte_with_their_type() -> None:
    body = '{"text":{"content":"营收 🎉"}, "a" :1}'.encode()
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("message_send")
        wecom.gives("agent_set")
        client = app_client()
        client.message_send(body)
        client.agent_set(home_url="https://门户")

    assert [one.body for one in wecom.calls[1:]] == [body, '{"agentid":1000002,"home_url":"https://门户"}'.encode()]
    assert wecom.calls[1].headers["Content-Type"] == "application/json; charset=UTF-8"


def test_all_pages_of_the_member_list_are_read() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("user_list_id", "first", body={"limit": 3})
        wecom.gives("user_list_id", body={"cursor": "sim-cursor-2", "limit": 3})

        pages = list(app_client(agentid=None).user_list_id_pages(limit=3))

    assert [row for page in pages for row in page.rows] == [
        ("hanmeimei", 2),
        ("lilei", 2),
        ("lilei", 5),
    ]


def test_a_list_without_end_is_an_error_and_not_a_short_list() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        for cursor in ("c0", "c1", "c2", "c0", "c0"):
            wecom.says("user_list_id", {**fixture("user_list_id"), "next_cursor": cursor})
        client = app_client()

        failed(UnexpectedResponseError, lambda: list(client.user_list_id_pages(pages_at_most=3)))
        assert len(wecom.calls) == 1 + 3
        failed(UnexpectedResponseError, lambda: list(client.user_list_id_pages()))
        assert len(wecom.calls) == 1 + 3 + 2


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
        ("appchat_create", {"errcode": 0}),
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


def test_what_may_be_missing_is_empty() -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.says("agent_get", {"errcode": 0, "agentid": "1000002", "close": 1}, params={"agentid": str(AGENTID)})
        wecom.gives("auth_getuserinfo", "visitor", params={"code": "CODE1"})
        client = app_client()

        assert client.agent_get() == api.Agent(AGENTID, is_closed=True)
        assert client.auth_getuserinfo("CODE1") == contacts_api.Identity(openid="oSIM0001")


@pytest.mark.parametrize(
    ("kind", "size", "file_name", "field"),
    [
        *(("file", size, "x.bin", "media") for size in (5, 20 * 1024 * 1024 + 1)),
        *(("image", size, "x.bin", "media") for size in (0, 10 * 1024 * 1024 + 1)),
        *(("file", 6, name, "filename") for name in ("", "a\r\nX-Injected: 1", "a\x00b", "\ud800")),
    ],
)
def test_a_file_that_wecom_would_refuse_is_not_sent(kind: Any, size: int, file_name: str, field: str) -> None:
    with wecom_answers() as wecom:
        error = failed(MessageError, lambda: app_client().media_upload(b"x" * size, kind=kind, file_name=file_name))
        assert len(wecom.calls) == 0

    assert error.field == field


def test_a_new_secret_drops_the_tickets_too(store: TokenStore) -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("get_jsapi_ticket")
        app_client(token_store=store).find_jsapi_ticket()

        store.forget(CORPID, AGENTID)
        app_client(token_store=store).find_jsapi_ticket()

        assert len(wecom.calls) == 4


def test_a_page_is_signed_without_its_fragment() -> None:
    signed = sign_page(
        ticket="sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_simticket",
        nonce="Wm3WZYTPz0wzccnW",
        timestamp=1764000004,
        url="https://portal.example.com/m/home?from=wecom#/inner",
    )

    assert signed == "2985067f6f9de7927858a101be4d0160f69cd6f6"


@pytest.mark.parametrize(
    ("page", "answer"),
    [
        (
            f"<a href='/x?access_token={fixture('gettoken')['access_token']}'>{SECRET} corpsecret=other key=other2</a>",
            "<a href='/x?access_token=***'>*** corpsecret=*** key=***</a>",
        ),
        ("页" * 5000, "页" * 500),
    ],
)
def test_an_answer_is_clipped_and_names_no_secret_that_a_proxy_prints(page: str, answer: str) -> None:
    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.sends("agent_get", page.encode(), status=403)

        error = failed(UnexpectedResponseError, app_client().agent_get)

    assert error.answer == answer


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


def test_each_code_has_its_sentences() -> None:
    for code in ENTRIES:
        advice = explain(code)
        for sentence in (advice.what, advice.who, advice.where):
            assert sentence[0].isupper()
            assert sentence.endswith(".")


@pytest.mark.parametrize("code", [1, 999_999, -2])
def test_an_unknown_code_is_unexpected_and_says_what_to_do(code: int) -> None:
    assert find_error_class(code) is UnexpectedResponseError
    assert "does not know" in explain(code).what
    assert "devtool/query" in explain(code).where


def own_fields(extattr: Any) -> tuple[tuple[str, str], ...]:
    return parse_user({"userid": "lilei", "extattr": extattr}).own_fields


def test_plain_texts_are_read_in_both_forms_and_links_are_not() -> None:
    attrs = [
        {"type": 0, "name": "工号", "text": {"value": "A007"}},
        {"name": "爱好", "value": "旅游"},
        {"type": 0, "name": "空", "text": {"value": ""}},
        {"type": 1, "name": "主页", "web": {"url": "https://example.com", "title": "x"}},
    ]

    assert own_fields({"attrs": attrs}) == (("工号", "A007"), ("爱好", "旅游"), ("空", ""))
    assert parse_user({"userid": "lilei"}).own_fields == own_fields({}) == ()


@pytest.mark.parametrize("extattr", [{"attrs": "x"}, {"attrs": ["x"]}])
def test_what_is_no_field_is_no_answer(extattr: Any) -> None:
    with pytest.raises(AnswerError):
        own_fields(extattr)
