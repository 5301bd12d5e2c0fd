"""The stand-in BI: tokens that it opens and refuses, its pages, and its API, also read by our own client."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from wecom_sandbox.state import bi as bi_state

from integrations.clients import guandata_sso
from integrations.clients.errors import ConfigurationError, UnexpectedResponseError
from integrations.clients.guandata import CatalogueEntry, GuandataClient, Login
from integrations.clients.guandata_sso import build_sign_in_url, encrypt_claims
from integrations.clients.transport import open_session
from integrations.clients.wecom.tokens import TrialTokens
from tests.sandbox_process import SandboxHandle, start_sandbox

KEY, OTHER = (
    guandata_sso.load_private_key(guandata_sso.generate_private_key()),
    guandata_sso.load_private_key(guandata_sso.generate_private_key(2048)),
)
ROWS = [{"日期": f"2026-11-{day:02d}", "销售额": day * 10} for day in range(1, 24)]
SEED = {
    "provider": "Guan",
    "domain": "guanbi",
    "public_key": guandata_sso.format_public_line(KEY),
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
    address = build_sign_in_url(base_url=f"{bi.base_url}/guandata", page=page, provider=provider, token=token)
    with requests.Session() as session:
        session.trust_env = False
        return session.get(address, timeout=60)


def token(bi: SandboxHandle, key: Any = KEY, **changes: Any) -> str:
    values = {"external_user_id": "lilei", "issued_at": now(bi), "lifetime_seconds": 60, **changes}
    return encrypt_claims(key, **values)


@pytest.mark.parametrize("person", ["lilei", "lilei@example.com"])
def test_a_token_brings_its_person_to_the_page_and_leaves_the_address(bi: SandboxHandle, person: str) -> None:
    response = enter(bi, token(bi, external_user_id=person, domain_id="guanbi"), "/page/p1?a=1")

    assert (response.status_code, response.url) == (200, f"{bi.base_url}/guandata/page/p1?a=1")
    for shown in ("李雷", "销售总览", "每日销售额", "/page/p1?a=1", "电脑端", "模拟 BI，不是真正的观远"):
        assert shown in response.text
    assert "no-referrer" in response.headers["Referrer-Policy"]


DASHBOARD = {
    **SEED,
    "users": [{"login_id": "lilei", "sees": {"区域": ["华东"]}}, {"login_id": "x" * 300}],
    "pages": [
        {"page_id": "late", "name": "看板", "cards": [
            {"card_id": "late1", "name": "销售", "columns": ["区域", "销售额"], "draws_after": 0.2, "rows": [
                {"区域": "华东", "销售额": 1}, {"区域": "华北", "销售额": 2}, {"区域": "华东", "销售额": 3}]},
            {"card_id": "late2", "name": "没有区域", "columns": ["销售额"], "rows": [{"销售额": 7}]}]},
        {"page_id": "failed", "name": "出错的看板", "fails": True},
        {"page_id": "empty", "name": "空看板"},
        {"page_id": "gone", "name": "旧页面", "is_deleted": True},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("page", "status", "words"),
    [
        ("/m/page/late?pageRenderType=phoneView", 200, "手机端"),
        ("/?path_url=survey-engine", 200, "/?path_url=survey-engine"),
        ("/page/gone", 404, "没有此页面"),
        ("/page/failed", 500, "无法生成此页面"),
        ("/page/empty", 200, "此页面没有卡片"),
    ],
)
def test_pages_in_their_forms(bi: SandboxHandle, page: str, status: int, words: str) -> None:
    bi.control("PUT", "bi", DASHBOARD)

    response = enter(bi, token(bi), page)

    assert (response.status_code, words in response.text) == (status, True)


def test_a_late_card_is_not_in_the_page_and_is_drawn_as_the_person_sees_it(bi: SandboxHandle) -> None:
    """Use a person with 300 letters, so that the claims come in several blocks."""
    bi.control("PUT", "bi", DASHBOARD)
    for person, rows in (("lilei", 2), ("x" * 300, 3)):
        sealed_token = token(bi, external_user_id=person)
        address = build_sign_in_url(
            base_url=f"{bi.base_url}/guandata", page="/page/late", provider="Guan", token=sealed_token
        )
        with requests.Session() as session:
            session.trust_env = False
            page = session.get(address, timeout=60).text
            assert 'data-draw="/guandata/drawn/late1" aria-busy="true"' in page
            assert page.count("bi-row-mark") == 1
            drawn = session.get(f"{bi.base_url}/guandata/drawn/late1", timeout=60).text
            assert drawn.count("bi-row-mark") == rows
    assert requests.get(f"{bi.base_url}/guandata/drawn/late1", timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"external_user_id": "nobody"}, "externalUserId"),
        ({"domain_id": "another"}, "另一个域"),
        ({"key": OTHER}, "无法解开令牌"),
        ({"issued_at": 1_700_000_000}, "已过期"),
        ({"issued_at": 4_000_000_000}, "在将来"),
        *(({"junk": junk}, "令牌") for junk in ("ab", "zz", "00" * 128, b"QUJD".hex(), "41" * 500)),
        ({"provider": "guan"}, "provider"),
        *(({"public_key": key}, "") for key in ("", "no key", guandata_sso.format_public_key(OTHER))),
    ],
)
def test_a_token_that_is_not_right_is_refused_with_its_reason(
    bi: SandboxHandle, changes: dict[str, Any], words: str
) -> None:
    changes = dict(changes)
    provider, junk = changes.pop("provider", "Guan"), changes.pop("junk", "")
    if "public_key" in changes:
        bi.control("PUT", "bi", {**SEED, "public_key": changes.pop("public_key")})

    response = enter(bi, junk or token(bi, **changes), provider=provider)

    assert (response.status_code, words in response.text, "李雷" in response.text) == (401, True, False)


def test_a_token_ends_after_its_life_and_without_one_there_is_the_sign_in_page(bi: SandboxHandle) -> None:
    bi.control("PUT", "bi", {**SEED, "public_key": guandata_sso.format_public_key(KEY)})
    sealed_now = token(bi, lifetime_seconds=60)
    assert enter(bi, sealed_now).status_code == 200
    bi.advance(61)

    assert enter(bi, sealed_now).status_code == 401
    response = requests.get(f"{bi.base_url}/guandata/page/p1", timeout=60)
    assert (response.url, "登录模拟 BI" in response.text) == (f"{bi.base_url}/guandata/login", True)


def client(bi: SandboxHandle, **changes: Any) -> GuandataClient:
    known: dict[str, Any] = {"login": Login("guanbi", "lilei", "pass word 密"), "app_token": "app-token", **changes}
    return GuandataClient(
        base_url=f"{bi.base_url}/guandata", session=open_session(), token_store=TrialTokens(), **known
    )


def test_our_client_reads_pages_cards_and_data(bi: SandboxHandle) -> None:
    ours = client(bi)
    pages, parts = ours.page_list(), list(ours.card_data("c1"))

    assert [(page.entry_id, page.name) for page in pages] == [("p1", "销售总览")]
    assert ours.page_cards("p1") == [CatalogueEntry("c1", "每日销售额", "CHART")]
    assert [(len(part["data"]), part["hasMoreData"], part["count"]) for part in parts] == [(23, False, 23)]
    assert parts[0]["data"][1] == [{"v": "2026-11-02", "d": "2026-11-02"}, {"v": 20, "d": "20"}]
    assert parts[0]["column"]["values"] == [[{"title": "日期"}], [{"title": "销售额"}]]
    bi.control("POST", "reset")  # the stand-in forgets its tokens
    assert len(next(ours.card_data("c1"))["data"]) == 23


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


@pytest.mark.parametrize(
    "wrong", [[], {"users": [{}]}, {"no_such": 1}, {"_sessions": {}}, {"pages": [{"page_id": 7, "name": "x"}]}]
)
def test_a_seed_that_is_not_right_is_refused_and_a_right_one_comes_back(wrong: object) -> None:
    written = bi_state.make_bi_json(bi_state.read_bi(SEED))

    assert bi_state.make_bi_json(bi_state.read_bi(written)) == written
    assert "_sessions" not in written
    with pytest.raises(ValueError, match="bi"):
        bi_state.read_bi(wrong)
