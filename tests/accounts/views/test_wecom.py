"""Our views for WeCom's scripts: the QR code's panel with its states, and addresses signed for the JS-SDK."""

import hashlib
from typing import Any

import pytest
import responses

from accounts.models import User
from integrations.core.redis import valkey
from integrations.models import Corp, SiteAddress
from tests.accounts.conftest import DESKTOP, Visitor, make_corp, query_of, visitor, with_session
from tests.accounts.wecom import API, WeCom, refusal


def asks(visitor: Visitor, corp_id: int, **sent: str) -> Any:
    """Ask for the panel. Return the test client's answer, which has json()."""
    return visitor.client.post(f"/wecom/{corp_id}/panel/", sent)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_gets_what_wecoms_component_asks_for(corp: Corp, desktop: Visitor, language: str) -> None:
    headers = {"accept-language": language}
    response: Any = desktop.client.post(f"/wecom/{corp.pk}/panel/", {"next": "/messages/7/"}, headers=headers)
    answer = response.json()

    state = answer["params"].pop("state")
    assert answer["params"] == {
        "login_type": "CorpApp",
        "appid": corp.corpid,
        "agentid": str(corp.agentid),
        "redirect_uri": f"https://bi.example.com/wecom/{corp.pk}/callback/",
        "redirect_type": "top",
        "lang": language,
        "color_scheme": "auto",
    }
    assert (answer["is_official"], answer["renew_after_ms"]) == (True, 240_000)
    assert (len(state), state[-1]) == (41, "1")
    assert "no-store" in response.headers["Cache-Control"]


def test_a_state_stays_good_for_a_scan_under_way_after_the_next_was_begun_in_this_browser_alone(
    corp: Corp, person: User, desktop: Visitor, wecom: WeCom
) -> None:
    victim = visitor(DESKTOP)
    before, after = (asks(desktop, corp.pk, next="/m/").json()["params"]["state"] for _time in range(2))
    asks(victim, corp.pk)
    wecom.gives("ATTACKERS", userid="lilei")
    wecom.gives("SCANNED", userid="lilei")

    victim.arrive(corp, code="ATTACKERS", state=before)
    response = desktop.arrive(corp, code="SCANNED", state=before)

    assert before != after
    assert (victim.user_id, desktop.user_id) == (None, person.pk)
    assert response.headers["Location"] == "/m/"


def test_a_company_with_a_qr_page_and_an_address_of_its_own_gets_a_plain_frame(db: None) -> None:
    own = SiteAddress.objects.create(url="https://sub.example.com/")
    corp = make_corp("私有化企业", 3, qr_base_url="http://127.0.0.1:9000", site_address=own)

    answer = asks(visitor(DESKTOP, host="sub.example.com"), corp.pk).json()

    assert answer["is_official"] is False
    assert answer["page"].startswith("http://127.0.0.1:9000/wwlogin/sso/login?")
    assert query_of(answer["page"]) == answer["params"]
    assert answer["params"]["redirect_uri"] == f"https://sub.example.com/wecom/{corp.pk}/callback/"


def test_there_is_none_where_nobody_signs_in(corp: Corp, desktop: Visitor, settings: Any) -> None:
    off = make_corp("停用公司", 8, is_enabled=False)
    pushing = make_corp("仅推送公司", 9, sign_in_enabled=False)

    for pk in (off.pk, pushing.pk, corp.pk + 999):
        response = asks(desktop, pk)
        assert (response.status_code, response.json()) == (404, {"error": "company"})
    assert desktop.get(f"/wecom/{corp.pk}/panel/").status_code == 405
    assert not [name for name in desktop.client.cookies if "guanwecom-browser" in name]
    response = asks(visitor(DESKTOP, host="localhost"), corp.pk)
    assert (response.status_code, response.json()) == (409, {"error": "address"})
    assert list(valkey().keys("accounts:login-state:*")) == []
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    response = asks(desktop, corp.pk)
    assert (response.status_code, response.json()) == (503, {"error": "store"})


TICKET = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_simticket"
SIGNED_PAGE = "https://bi.example.com/m/home?from=wecom"


@pytest.fixture
def tickets() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        wire.get(f"{API}/cgi-bin/gettoken", json={"errcode": 0, "access_token": "token", "expires_in": 7200})
        yield wire.get(
            f"{API}/cgi-bin/get_jsapi_ticket", json={"errcode": 0, "errmsg": "ok", "ticket": TICKET, "expires_in": 7200}
        )


@pytest.fixture
def inside(corp: Corp, person: User) -> Visitor:
    return with_session(person, corp)


def test_signs_the_address_with_the_companys_ticket(corp: Corp, inside: Visitor, tickets: Any) -> None:
    answer, again = (inside.client.get("/wecom/signature/", {"page": SIGNED_PAGE}).json() for _page in range(2))

    signed = f"jsapi_ticket={TICKET}&noncestr={answer['nonceStr']}&timestamp={answer['timestamp']}&url={SIGNED_PAGE}"
    assert answer["signature"] == hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()
    assert (answer["corpid"], answer["agentid"]) == (corp.corpid, corp.agentid)
    assert TICKET not in str(answer)
    assert again["nonceStr"] != answer["nonceStr"]
    assert tickets.call_count == 1


def test_signs_no_page_of_another_site(inside: Visitor, tickets: Any) -> None:
    for page in (
        *("", "https://evil.example/", "http://bi.example.com/", "https://bi.example.com.evil.example/", "/m/"),
        *("https://bi.example.com@evil.example/", "https://bi.example.com/" + "a" * 5000),
    ):
        response = inside.client.get("/wecom/signature/", {"page": page})

        assert (response.status_code, response.json()) == (400, {"error": "page"})
    assert tickets.call_count == 0


def test_signs_nothing_for_strangers_or_after_a_password(
    corp: Corp, person: User, phone: Visitor, tickets: Any
) -> None:
    assert phone.get("/wecom/signature/", page=SIGNED_PAGE).status_code == 403
    phone.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    assert phone.get("/wecom/signature/", page=SIGNED_PAGE).status_code == 403
    assert tickets.call_count == 0


def test_says_that_wecom_gives_no_ticket(inside: Visitor, wecom: WeCom) -> None:
    wecom.instead["gettoken"] = refusal(40001, "invalid credential")

    response = inside.client.get("/wecom/signature/", {"page": SIGNED_PAGE})

    assert (response.status_code, response.json()) == (503, {"error": "wecom"})


def test_pages_ask_for_it_inside_wecom_alone(inside: Visitor, desktop: Visitor, person: User) -> None:
    desktop.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

    assert 'data-url="/wecom/signature/"' in inside.get("/account/").content.decode()
    assert "share_off" not in desktop.get("/account/").content.decode()
