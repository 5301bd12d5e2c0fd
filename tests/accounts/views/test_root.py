"""Links of the specification to the site's first page: the inner page is found, and the code is never used."""

import pytest

from accounts.models import User
from integrations.models import Corp
from tests.accounts.conftest import DESKTOP, Visitor, make_corp, query_of, visitor
from tests.accounts.wecom import WeCom
from tests.bi import make_bi

PAGE = {"path_url": "survey-engine", "formId": "7"}
CODE = {"code": "STRAY", "state": ""}


@pytest.fixture
def signed_in(corp: Corp, person: User, phone: Visitor, wecom: WeCom) -> Visitor:
    phone.sign_in(corp, wecom, "lilei", code="FIRST")
    wecom.redeemed.clear()
    return phone


def test_with_a_session_of_the_company_the_page_opens(signed_in: Visitor, wecom: WeCom) -> None:
    """Open the page in the BI if one is connected. test_ways_to_arrive.py covers the case without a session."""
    response = signed_in.get("/", **PAGE, **CODE)

    assert response.headers["Location"] == "/survey-engine?formId=7"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert wecom.redeemed == ["STRAY"]
    make_bi()
    assert signed_in.get("/", **PAGE).headers["Location"] == "/bi/survey-engine?formId=7"


def test_the_domain_says_whose_link_it_was(corp: Corp, other_corp: Corp, phone: Visitor, wecom: WeCom) -> None:
    Corp.objects.filter(pk=other_corp.pk).update(domain_id="D2")

    location = phone.get("/", domain="D2", **PAGE, **CODE).headers["Location"]

    assert query_of(location)["appid"] == other_corp.corpid


def test_of_a_company_that_signs_nobody_in_it_is_that_company_s(corp: Corp, phone: Visitor, wecom: WeCom) -> None:
    make_corp("停用公司", 8, is_enabled=False, domain_id="D8")

    location = phone.get("/", domain="D8", **PAGE, **CODE).headers["Location"]

    assert "企业微信登录已关闭" in phone.get(location).content.decode()
    assert wecom.redeemed == []


@pytest.mark.parametrize("query", [CODE, {**CODE, "domain": "nobody's"}, {**CODE, "domain": "\x00"}])
def test_of_several_companies_the_person_chooses_and_the_code_goes_nowhere(
    corp: Corp, other_corp: Corp, phone: Visitor, wecom: WeCom, query: dict[str, str]
) -> None:
    response = phone.get("/", **PAGE, **query)

    assert response.headers["Location"] == "/login/?next=%2Fsurvey-engine%3FformId%3D7"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in response.headers["Cache-Control"]
    assert (wecom.redeemed, phone.user_id) == ([], None)


def test_any_other_query_is_the_home_page_s(signed_in: Visitor, wecom: WeCom) -> None:
    for query in ({}, {"q": "日报"}, {"older": "7"}, {"code": "only"}, {"state": "only"}):
        response = signed_in.get("/", **query)

        assert response.status_code == 200
        assert "我的消息" in response.content.decode()
    assert wecom.redeemed == []


def test_does_not_turn_in_circles(corp: Corp, signed_in: Visitor) -> None:
    assert signed_in.get("/", path_url="/?path_url=/").headers["Location"] == "/?path_url=/"
    stranger = visitor(DESKTOP)
    assert stranger.get("/", path_url="").headers["Location"] == "/login/?next=%2F"
    assert stranger.get("/", **PAGE).headers["Location"] == "/login/?next=%2Fsurvey-engine%3FformId%3D7"
