"""Sign-in against the sandbox, a WeCom of its own reading, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from accounts.models import User
from integrations.models import Corp
from tests.accounts.conftest import Visitor, make_corp, make_person, query_of
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxHandle]:
    app = {**company()["apps"][0], "trusted_domain": "bi.example.com"}
    with start_sandbox(seed={"companies": [company(apps=[app])]}) as handle:
        yield handle


@pytest.fixture
def mill(sandbox: SandboxHandle, db: None) -> Corp:
    address = sandbox.base_url
    return make_corp(
        "沙盒公司",
        1,
        corpid=CORPID,
        agentid=AGENTID,
        secret=SECRET,
        api_base_url=address,
        authorize_base_url=address,
        qr_base_url=address,
    )


@pytest.fixture
def lilei(mill: Corp) -> User:
    return make_person("lilei", mill, "lilei")


def passes_wecom(sandbox: SandboxHandle, visitor: Visitor, location: str, userid: str) -> str:
    """The person passes the page at `location`; where our callback sends them comes back."""
    assert location.startswith(sandbox.base_url)
    query = query_of(location)
    visit = {"redirect_uri": query["redirect_uri"], "state": query["state"], "agentid": int(query["agentid"])}
    back = urlsplit(sandbox.authorize(query["appid"], userid, **visit)["url"])
    assert back.netloc == "bi.example.com"
    return visitor.get(f"{back.path}?{back.query}").headers["Location"]


@pytest.mark.parametrize("surface", ["phone", "desktop"])
def test_a_member_is_signed_in(
    sandbox: SandboxHandle, mill: Corp, lilei: User, request: pytest.FixtureRequest, surface: str
) -> None:
    visitor: Visitor = request.getfixturevalue(surface)
    location = visitor.get(f"/wecom/{mill.pk}/start/", next="/messages/7/?a=1").headers["Location"]

    assert passes_wecom(sandbox, visitor, location, "LiLei") == "/messages/7/?a=1"
    assert visitor.user_id == lilei.pk


def test_the_home_page_link_takes_one_more_turn_and_spends_its_code(
    sandbox: SandboxHandle, mill: Corp, lilei: User, phone: Visitor
) -> None:
    stray = sandbox.authorize(
        CORPID, "LiLei", redirect_uri=f"https://bi.example.com/wecom/{mill.pk}/callback/?path_url=survey-engine?x=1"
    )
    arrived = urlsplit(stray["url"])

    location = phone.get(f"{arrived.path}?{arrived.query}").headers["Location"]
    landing = passes_wecom(sandbox, phone, location, "LiLei")

    assert landing == "/survey-engine?x=1"
    assert phone.user_id == lilei.pk
    redeemed = [call["errcode"] for call in sandbox.calls("auth/getuserinfo")][-2:]
    assert redeemed == [0, 0]


def test_a_member_outside_the_scope_is_refused(sandbox: SandboxHandle, mill: Corp, phone: Visitor) -> None:
    make_person("jim", mill, "jim")
    location = phone.get(f"/wecom/{mill.pk}/start/").headers["Location"]

    page = phone.get(passes_wecom(sandbox, phone, location, "jim"))

    assert page.status_code == 403
    assert "您不在该应用的可见范围内" in page.content.decode()
    assert phone.user_id is None


def test_a_code_older_than_five_minutes_restarts_once(
    sandbox: SandboxHandle, mill: Corp, lilei: User, phone: Visitor
) -> None:
    query = query_of(phone.get(f"/wecom/{mill.pk}/start/").headers["Location"])
    visit = {"redirect_uri": query["redirect_uri"], "state": query["state"], "agentid": AGENTID}
    back = urlsplit(sandbox.authorize(CORPID, "LiLei", **visit)["url"])
    sandbox.advance(301)

    location = phone.get(f"{back.path}?{back.query}").headers["Location"]

    assert query_of(location)["state"].endswith("2")
    assert passes_wecom(sandbox, phone, location, "LiLei") == "/"
    assert phone.user_id == lilei.pk


def test_wecom_being_busy_is_explained(sandbox: SandboxHandle, mill: Corp, lilei: User, phone: Visitor) -> None:
    location = phone.get(f"/wecom/{mill.pk}/start/").headers["Location"]
    sandbox.fault("busy", "auth/getuserinfo")

    page = phone.get(passes_wecom(sandbox, phone, location, "LiLei"))

    assert page.status_code == 503
    assert "暂时无法连接企业微信" in page.content.decode()
