"""The client of the public API at the wire: its requests, its reading of answers, and its repeats."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from integrations.clients import guandata as module
from integrations.clients.errors import (
    ConfigurationError,
    IntegrationError,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.guandata import CatalogueEntry, GuandataClient, Login
from integrations.clients.transport import open_session
from integrations.clients.wecom.tokens import FetchedToken, TrialTokens
from tests.guandata import APP_TOKEN, HOST, PASSWORD, PASSWORD_BASE64, TOKEN, GuandataAnswers, fixture, guandata_answers


def never_fetch() -> FetchedToken:
    raise AssertionError("there is a token")


@pytest.fixture
def bi() -> Iterator[GuandataAnswers]:
    with guandata_answers() as answers:
        yield answers


def open_client(tokens: TrialTokens | None = None, **changes: Any) -> GuandataClient:
    known: dict[str, Any] = {
        "base_url": HOST,
        "login": Login("guanbi", "robot", PASSWORD),
        "app_token": APP_TOKEN,
        "session": open_session(),
        "token_store": tokens or TrialTokens(),
    }
    return GuandataClient(**{**known, **changes})


@pytest.mark.parametrize(("name", "sent_as"), [("robot", "loginId"), ("robot@example.com", "email")])
def test_signs_in_with_the_password_as_base64(bi: GuandataAnswers, name: str, sent_as: str) -> None:
    bi.gives("sign_in", body={"domain": "guanbi", sent_as: name, "password": PASSWORD_BASE64})
    tokens = TrialTokens()

    open_client(tokens, login=Login("guanbi", name, PASSWORD)).fetch_token()

    assert tokens.get(f"{HOST}|guanbi|{name}", 0, never_fetch) == TOKEN


def test_lists_pages_and_their_cards_with_the_app_token(bi: GuandataAnswers) -> None:
    bi.gives("page_list", body={"token": APP_TOKEN})
    bi.gives("page_cards", headers={"token": APP_TOKEN})

    assert open_client().page_list() == [CatalogueEntry("p1", "销售总览", "PAGE")]
    cards = [CatalogueEntry("c1", "每日销售额", "CHART"), CatalogueEntry("c2", "", "SELECTOR")]
    assert open_client().page_cards("p1") == cards


def data_body(offset: int = 0, **changes: Any) -> dict[str, Any]:
    return {"view": "GRID", "offset": offset, "limit": 200, "filters": [], "dynamicParams": [], **changes}


def test_reads_a_card_with_the_token_of_the_login(bi: GuandataAnswers) -> None:
    bi.gives("sign_in")
    chosen = {"name": "region", "filterType": "IN", "filterValue": ["华东", "华南"]}
    bi.gives("card_data", body=data_body(filters=[chosen]), headers={"X-Auth-Token": TOKEN})

    parts = list(open_client().card_data("c1", filters=[chosen]))

    assert [len(part["data"]) for part in parts] == [2]
    assert parts[0]["data"][1][1] == {"v": 96, "d": "96.00"}


def test_reads_on_until_the_bi_says_that_there_is_no_more(bi: GuandataAnswers) -> None:
    bi.gives("sign_in")
    for offset, has_more in ((0, True), (2, True), (4, False)):
        answer = fixture("card_data")
        answer["response"]["chartMain"]["hasMoreData"] = has_more
        bi.gives("card_data", answer, body=data_body(offset))

    assert sum(len(part["data"]) for part in open_client().card_data("c1")) == 6
    assert (bi.calls("card_data"), bi.calls("sign_in")) == (3, 1)


def more(rows: int) -> dict[str, Any]:
    answer = fixture("card_data")
    main = answer["response"]["chartMain"]
    main["hasMoreData"], main["data"] = True, [[{"v": 1}]] * rows
    return answer


@pytest.mark.parametrize(("rows", "said", "calls"), [(200, "more than 500 rows", 3), (0, "gives nothing", 1)])
def test_a_card_that_never_ends_or_gives_nothing_more_is_given_up(
    bi: GuandataAnswers, monkeypatch: pytest.MonkeyPatch, rows: int, said: str, calls: int
) -> None:
    monkeypatch.setattr(module, "ROWS_AT_MOST", 500)
    bi.gives("sign_in")
    bi.gives("card_data", more(rows))

    with pytest.raises(UnexpectedResponseError, match=said):
        list(open_client().card_data("c1"))

    assert bi.calls("card_data") == calls


FAIL_401 = {"result": "fail", "error": {"status": 401, "message": "token 已过期"}}


@pytest.mark.parametrize(("answer", "status"), [(FAIL_401, 200), (FAIL_401, 401), (b"", 401), (b"<html>", 403)])
def test_signs_in_once_more_when_the_token_is_refused(bi: GuandataAnswers, answer: Any, status: int) -> None:
    tokens = TrialTokens()
    tokens.get(f"{HOST}|guanbi|robot", 0, lambda: FetchedToken("old", 600))
    bi.gives("card_data", answer, status=status, headers={"X-Auth-Token": "old"})
    bi.gives("sign_in")
    bi.gives("card_data", headers={"X-Auth-Token": TOKEN})

    assert len(next(open_client(tokens).card_data("c1"))["data"]) == 2
    assert (bi.calls("sign_in"), bi.calls("card_data")) == (1, 2)


def test_does_not_try_a_third_time(bi: GuandataAnswers) -> None:
    bi.gives("sign_in")
    bi.gives("card_data", FAIL_401, status=401)

    with pytest.raises(ConfigurationError, match="token 已过期"):
        next(open_client().card_data("c1"))

    assert (bi.calls("sign_in"), bi.calls("card_data")) == (2, 2)


def test_an_app_token_that_is_refused_is_not_tried_again(bi: GuandataAnswers) -> None:
    bi.gives("page_list", FAIL_401, status=200)

    with pytest.raises(ConfigurationError):
        open_client().page_list()

    assert (bi.calls("page_list"), bi.calls("sign_in")) == (1, 0)


CALLS: dict[str, Callable[[GuandataClient], Any]] = {
    "sign_in": lambda client: client.fetch_token(),
    "page_list": lambda client: client.page_list(),
    "page_cards": lambda client: client.page_cards("p1"),
    "card_data": lambda client: list(client.card_data("c1")),
}
EACH = pytest.mark.parametrize("endpoint", CALLS)


def failed(bi: GuandataAnswers, endpoint: str, answer: Any, status: int = 200) -> IntegrationError:
    if endpoint == "card_data":
        bi.gives("sign_in")
    bi.gives(endpoint, answer, status=status)
    with pytest.raises(IntegrationError) as caught:
        CALLS[endpoint](open_client())
    assert (caught.value.system, caught.value.operation) == ("guandata", endpoint)
    assert bi.calls(endpoint) == 1
    return caught.value


@EACH
def test_a_refusal_is_told_by_the_result_and_never_by_the_http_status(bi: GuandataAnswers, endpoint: str) -> None:
    error = failed(bi, endpoint, "sign_in.5001")

    assert type(error) is (ConfigurationError if endpoint == "sign_in" else UnexpectedResponseError)
    assert (error.code, error.message) == (5001, "用户名或密码错误")


@EACH
@pytest.mark.parametrize(
    "failure", [429, 500, 503, requests.ConnectTimeout("x"), requests.ReadTimeout("x"), ConnectionResetError(1)]
)
def test_what_passes_by_itself_may_be_tried_later(bi: GuandataAnswers, endpoint: str, failure: int | Exception) -> None:
    is_status = isinstance(failure, int)
    error = failed(bi, endpoint, b"<html>busy" if is_status else failure, failure if isinstance(failure, int) else 200)

    assert type(error) is (RateLimitedError if failure == 429 else TransientError)
    assert getattr(error, "retry_after_seconds", 60) == 60


@EACH
@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b"null", b'"ok"', b"{}", b'{"result": true}', b'{"result": "OK", "response": {}}',
     b'{"result": "ok"}', b'{"result": "ok", "response": 7}', b'{"result": "ok", "response": [7]}',
     b'{"result": "ok", "response": {"cards": [{"cdId": 7}], "chartMain": {"data": {}}, "token": ""}}',
     b"[" * 100_000],
)  # fmt: skip
def test_garbage_is_an_unexpected_answer(bi: GuandataAnswers, endpoint: str, answer: bytes) -> None:
    assert type(failed(bi, endpoint, answer)) is UnexpectedResponseError


@EACH
def test_without_its_credential_nothing_is_asked(bi: GuandataAnswers, endpoint: str) -> None:
    needs_token = endpoint in ("page_list", "page_cards")

    with pytest.raises(ConfigurationError, match="no app token" if needs_token else "no login"):
        CALLS[endpoint](open_client(app_token="") if needs_token else open_client(login=None))


SECRETS = (PASSWORD, PASSWORD_BASE64, APP_TOKEN, TOKEN)


@EACH
@pytest.mark.parametrize("status", [200, 401, 500])
def test_no_error_and_no_log_line_shows_a_secret(
    bi: GuandataAnswers, endpoint: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    repeated = {"result": "fail", "error": {"status": 5001, "message": " ".join(SECRETS)}}
    bi.gives("sign_in", repeated if endpoint == "sign_in" else "", status=status if endpoint == "sign_in" else 200)
    if endpoint != "sign_in":
        bi.wire.assert_all_requests_are_fired = False
        bi.gives(endpoint, repeated, status=status)

    with pytest.raises(IntegrationError) as caught:
        CALLS[endpoint](open_client())

    error = caught.value
    own = {"sign_in": (PASSWORD, PASSWORD_BASE64), "card_data": (TOKEN,)}.get(endpoint, (APP_TOKEN,))
    for secret in own:
        assert secret not in f"{error!r} {error} {error.answer} {caplog.text} {error.__cause__} {error.__context__}"
    assert HOST not in str(error)


def test_the_client_and_its_login_do_not_show_the_password() -> None:
    assert PASSWORD not in repr(Login("guanbi", "robot", PASSWORD))
    assert repr(open_client()) == "GuandataClient()"
