"""The stand-in BI: tokens that it opens and refuses, its pages, its API, read by our own client as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from wecom_sandbox.state import bi as bi_state
from wecom_sandbox.testing import ControlError

from integrations.clients import guandata_sso
from integrations.clients.errors import ConfigurationError, UnexpectedResponseError
from integrations.clients.guandata import Card, GuandataClient, Login
from integrations.clients.guandata_sso import Claims, entrance, sealed
from integrations.clients.transport import open_session
from integrations.clients.wecom.tokens import TrialTokens
from tests.sandbox_process import SandboxHandle, start_sandbox

KEY, OTHER = guandata_sso.load(guandata_sso.generate()), guandata_sso.load(guandata_sso.generate(2048))
ROWS = [{"日期": f"2026-11-{day:02d}", "销售额": day * 10} for day in range(1, 24)]
SEED = {
    "provider": "Guan",
    "domain": "guanbi",
    "public_key": guandata_sso.public_line(KEY),
    "app_token": "app-token",
    "users": [{"login_id": "lilei", "name": "李雷", "email": "lilei@example.com", "password": "pass word 密"}],
    "pages": [
        {"page_id": "p1", "name": "销售总览", "cards": [
            {"card_id": "c1", "name": "每日销售额", "columns": ["日期", "销售额"], "rows": ROWS}]},
        {"page_id": "p2", "name": "旧页面", "is_deleted": True},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxHandle]:
    with start_sandbox(seed={"companies": [], "bi": SEED}) as handle:
        yield handle


@pytest.fixture
def bi(running: SandboxHandle) -> SandboxHandle:
    running.control("PUT", "bi", SEED)
    return running


def now(bi: SandboxHandle) -> int:
    return int(bi.control("GET", "clock")["now"])


def enter(bi: SandboxHandle, token: str, page: str = "/page/p1", provider: str = "Guan") -> requests.Response:
    address = entrance(base_url=f"{bi.base_url}/guandata", page=page, provider=provider, token=token)
    with requests.Session() as session:
        session.trust_env = False
        return session.get(address, timeout=60)


def token(bi: SandboxHandle, key: Any = KEY, **changes: Any) -> str:
    values = {"external_user_id": "lilei", "issued_at": now(bi), "lifetime_seconds": 60, **changes}
    return sealed(Claims(**values), key)


@pytest.mark.parametrize("person", ["lilei", "lilei@example.com"])
def test_a_token_brings_its_person_to_the_page_and_leaves_the_address(bi: SandboxHandle, person: str) -> None:
    response = enter(bi, token(bi, external_user_id=person, domain_id="guanbi"), "/page/p1?a=1")

    assert (response.status_code, response.url) == (200, f"{bi.base_url}/guandata/page/p1?a=1")
    for shown in ("李雷", "销售总览", "每日销售额", "/page/p1?a=1", "电脑端", "模拟 BI，不是真正的观远"):
        assert shown in response.text
    assert "no-referrer" in response.headers["Referrer-Policy"]


def test_a_phone_s_page_has_its_own_form(bi: SandboxHandle) -> None:
    response = enter(bi, token(bi), "/m/page/p1?pageRenderType=phoneView")

    assert "手机端" in response.text


def test_any_other_path_says_where_one_landed(bi: SandboxHandle) -> None:
    assert "/?path_url=survey-engine" in enter(bi, token(bi), "/?path_url=survey-engine").text
    assert "没有此页面" in enter(bi, token(bi), "/page/p2").text


DASHBOARD = {
    **SEED,
    "users": [{"login_id": "lilei", "sees": {"区域": ["华东"]}}, {"login_id": "hanmeimei"}],
    "pages": [
        {"page_id": "late", "name": "看板", "cards": [
            {"card_id": "late1", "name": "销售", "columns": ["区域", "销售额"], "draws_after": 0.2, "rows": [
                {"区域": "华东", "销售额": 1}, {"区域": "华北", "销售额": 2}, {"区域": "华东", "销售额": 3}]},
            {"card_id": "late2", "name": "没有区域", "columns": ["销售额"], "rows": [{"销售额": 7}]}]},
        {"page_id": "failed", "name": "出错的看板", "fails": True},
        {"page_id": "empty", "name": "空看板"},
    ],
}  # fmt: skip


def test_a_late_card_is_not_in_the_page_and_is_drawn_as_the_person_sees_it(bi: SandboxHandle) -> None:
    bi.control("PUT", "bi", DASHBOARD)
    drawn = {}
    for person in ("lilei", "hanmeimei"):
        sealed_token = token(bi, external_user_id=person)
        address = entrance(base_url=f"{bi.base_url}/guandata", page="/page/late", provider="Guan", token=sealed_token)
        with requests.Session() as session:
            session.trust_env = False
            page = session.get(address, timeout=60).text
            assert 'data-draw="/guandata/drawn/late1" aria-busy="true"' in page
            assert page.count("bi-row-mark") == 1
            drawn[person] = session.get(f"{bi.base_url}/guandata/drawn/late1", timeout=60).text

    assert drawn["lilei"].count("bi-row-mark") == 2
    assert drawn["hanmeimei"].count("bi-row-mark") == 3


def test_a_card_is_drawn_for_those_who_are_signed_in_alone(bi: SandboxHandle) -> None:
    assert requests.get(f"{bi.base_url}/guandata/drawn/c1", timeout=60).status_code == 404


def test_a_page_that_fails_and_one_without_cards_say_so(bi: SandboxHandle) -> None:
    bi.control("PUT", "bi", DASHBOARD)

    failed = enter(bi, token(bi), "/page/failed")
    assert (failed.status_code, "无法生成此页面" in failed.text) == (500, True)
    assert "此页面没有卡片" in enter(bi, token(bi), "/page/empty").text


def test_long_claims_come_in_blocks(bi: SandboxHandle) -> None:
    person = "x" * 300
    bi.control("PUT", "bi", {**SEED, "users": [{"login_id": person}]})

    assert enter(bi, token(bi, external_user_id=person)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"external_user_id": "nobody"}, "externalUserId"),
        ({"domain_id": "another"}, "另一个域"),
        ({"key": OTHER}, "无法解开令牌"),
        ({"issued_at": 1_700_000_000}, "已过期"),
        ({"issued_at": 4_000_000_000}, "在将来"),
    ],
)
def test_a_token_that_is_not_right_is_refused_with_its_reason(
    bi: SandboxHandle, changes: dict[str, Any], words: str
) -> None:
    response = enter(bi, token(bi, **changes))

    assert response.status_code == 401
    assert words in response.text
    assert "李雷" not in response.text


@pytest.mark.parametrize("junk", ["", "ab", "zz", "00" * 128, b"QUJD".hex(), "41" * 500])
def test_junk_is_refused(bi: SandboxHandle, junk: str) -> None:
    assert enter(bi, junk).status_code == 401


def test_another_provider_is_refused(bi: SandboxHandle) -> None:
    assert "provider" in enter(bi, token(bi), provider="guan").text


def test_a_token_ends_after_its_life(bi: SandboxHandle) -> None:
    sealed_now = token(bi, lifetime_seconds=60)
    bi.advance(61)

    assert enter(bi, sealed_now).status_code == 401


@pytest.mark.parametrize("public_key", ["", "no key", guandata_sso.public_pem(OTHER)])
def test_without_the_right_public_key_nobody_comes_in(bi: SandboxHandle, public_key: str) -> None:
    bi.control("PUT", "bi", {**SEED, "public_key": public_key})

    assert enter(bi, token(bi)).status_code == 401


def test_a_public_key_may_be_pem(bi: SandboxHandle) -> None:
    bi.control("PUT", "bi", {**SEED, "public_key": guandata_sso.public_pem(KEY)})

    assert enter(bi, token(bi)).status_code == 200


def test_without_token_and_session_there_is_the_sign_in_page(bi: SandboxHandle) -> None:
    response = requests.get(f"{bi.base_url}/guandata/page/p1", timeout=60)

    assert response.url == f"{bi.base_url}/guandata/login"
    assert "登录模拟 BI" in response.text


def client(bi: SandboxHandle, **changes: Any) -> GuandataClient:
    known: dict[str, Any] = {"login": Login("guanbi", "lilei", "pass word 密"), "app_token": "app-token", **changes}
    return GuandataClient(
        base_url=f"{bi.base_url}/guandata", session=open_session(), token_store=TrialTokens(), **known
    )


def test_our_client_reads_pages_cards_and_data(bi: SandboxHandle) -> None:
    pages = client(bi).page_list()
    parts = list(client(bi).card_data("c1"))

    assert [(page.page_id, page.name, page.is_deleted) for page in pages] == [
        ("p1", "销售总览", False),
        ("p2", "旧页面", True),
    ]
    assert client(bi).page_cards("p1") == [Card("c1", "每日销售额", "CHART")]
    assert [(part.row_count, part.has_more, part.chart["count"]) for part in parts] == [(23, False, 23)]
    assert parts[0].chart["data"][1] == [{"v": "2026-11-02", "d": "2026-11-02"}, {"v": 20, "d": "20"}]
    assert parts[0].chart["column"]["values"] == [[{"title": "日期"}], [{"title": "销售额"}]]


def test_our_client_reads_on_past_the_first_two_hundred_rows(bi: SandboxHandle) -> None:
    rows = [{"n": number} for number in range(450)]
    card = {"card_id": "c1", "name": "long", "columns": ["n"], "rows": rows}
    bi.control("PUT", "bi", {**SEED, "pages": [{"page_id": "p1", "name": "x", "cards": [card]}]})

    parts = list(client(bi).card_data("c1"))

    assert [part.row_count for part in parts] == [200, 200, 50]
    assert [row[0]["v"] for part in parts for row in part.chart["data"]] == list(range(450))


def test_our_client_signs_in_anew_when_the_stand_in_has_forgotten_its_tokens(bi: SandboxHandle) -> None:
    ours = client(bi)
    list(ours.card_data("c1"))
    bi.control("POST", "reset")

    assert next(ours.card_data("c1")).row_count == 23


@pytest.mark.parametrize(
    ("changes", "call", "error"),
    [
        ({"login": Login("guanbi", "lilei", "wrong")}, lambda one: one.fetch_token(), ConfigurationError),
        ({"login": Login("another", "lilei", "pass word 密")}, lambda one: one.fetch_token(), ConfigurationError),
        ({"app_token": "wrong"}, lambda one: one.page_list(), ConfigurationError),
        ({}, lambda one: one.page_cards("p2"), UnexpectedResponseError),
        ({}, lambda one: list(one.card_data("none")), UnexpectedResponseError),
    ],
)
def test_our_client_understands_its_refusals(
    bi: SandboxHandle, changes: dict[str, Any], call: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        call(client(bi, **changes))


@pytest.mark.parametrize("body", [b"[", b"[]", b'{"limit": -1}', b'{"offset": "x"}', b'{"limit": true}'])
def test_its_api_refuses_what_it_cannot_read(bi: SandboxHandle, body: bytes) -> None:
    login = {"domain": "guanbi", "loginId": "lilei", "password": "cGFzcyB3b3JkIOWvhg=="}
    signed = requests.post(f"{bi.base_url}/guandata/public-api/sign-in", json=login, timeout=60).json()
    headers = {"X-Auth-Token": signed["response"]["token"]}

    answer = requests.post(f"{bi.base_url}/guandata/public-api/card/c1/data", data=body, headers=headers, timeout=60)

    assert (answer.status_code, answer.json()["result"], answer.json()["error"]["status"]) == (200, "fail", 400)


def test_a_seed_that_is_not_right_changes_nothing(bi: SandboxHandle) -> None:
    refused: list[Any] = [
        [],
        {"users": [{}]},
        {"no_such": 1},
        {"_sessions": {}},
        {"pages": [{"page_id": 7, "name": "x"}]},
    ]
    for wrong in refused:
        with pytest.raises(ControlError):
            bi.control("PUT", "bi", wrong)

    assert bi.control("GET", "bi")["provider"] == "Guan"


def test_what_it_holds_survives_being_written_and_read() -> None:
    written = bi_state.as_json(bi_state.from_json(SEED))

    assert bi_state.as_json(bi_state.from_json(written)) == written
    assert "_sessions" not in written
