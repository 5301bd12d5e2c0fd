"""The QR code's panel: it gets a state of this browser, and a fresh one before that expires."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from integrations.core.redis import valkey
from integrations.models import Corp, SiteAddress
from tests.accounts.conftest import DESKTOP, Visitor, make_corp, query_of, visitor
from tests.accounts.people import HOST
from tests.accounts.wecom import WeCom


def asks(visitor: Visitor, corp_id: int, **sent: str) -> Any:
    """Ask for the panel. Return the test client's answer, which has json()."""
    return visitor.client.post(f"/wecom/{corp_id}/panel/", sent)


def kept_states() -> int:
    return len(list(valkey().keys("accounts:login-state:*")))


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
    assert not [name for name in desktop.client.cookies if "guanwecom-browser" in name]
    response = asks(visitor(DESKTOP, host="localhost"), corp.pk)
    assert (response.status_code, response.json()) == (409, {"error": "address"})
    assert kept_states() == 0
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    response = asks(desktop, corp.pk)
    assert (response.status_code, response.json()) == (503, {"error": "store"})


def test_is_for_pages_of_ours_alone(corp: Corp) -> None:
    strict = Client(enforce_csrf_checks=True, headers={"host": HOST}, SERVER_NAME=HOST)

    assert strict.post(f"/wecom/{corp.pk}/panel/").status_code == 403
    assert strict.get(f"/wecom/{corp.pk}/panel/").status_code == 405
    assert kept_states() == 0
