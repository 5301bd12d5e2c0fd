"""Addresses signed for WeCom's JS-SDK, which removes sharing from the menu."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import responses

from accounts.models import User
from integrations.models import Corp
from tests.accounts.conftest import Visitor
from tests.accounts.wecom import API, WeCom, refusal

TICKET = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_simticket"
PAGE = "https://bi.example.com/m/home?from=wecom"


@pytest.fixture
def tickets() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        wire.get(f"{API}/cgi-bin/gettoken", json={"errcode": 0, "access_token": "token", "expires_in": 7200})
        yield wire.get(
            f"{API}/cgi-bin/get_jsapi_ticket", json={"errcode": 0, "errmsg": "ok", "ticket": TICKET, "expires_in": 7200}
        )


@pytest.fixture
def inside(corp: Corp, person: User, phone: Visitor) -> Visitor:
    phone.client.force_login(person, backend="accounts.authentication.backends.WeComBackend")
    session = phone.client.session
    session["corp_id"] = corp.pk
    session.save()
    return phone


def test_signs_the_address_with_the_companys_ticket(corp: Corp, inside: Visitor, tickets: Any) -> None:
    answer, again = (inside.client.get("/wecom/signature/", {"page": PAGE}).json() for _page in range(2))

    signed = f"jsapi_ticket={TICKET}&noncestr={answer['nonceStr']}&timestamp={answer['timestamp']}&url={PAGE}"
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
    assert phone.get("/wecom/signature/", page=PAGE).status_code == 403
    phone.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    assert phone.get("/wecom/signature/", page=PAGE).status_code == 403
    assert tickets.call_count == 0


def test_says_that_wecom_gives_no_ticket(inside: Visitor, wecom: WeCom) -> None:
    wecom.instead["gettoken"] = refusal(40001, "invalid credential")

    response = inside.client.get("/wecom/signature/", {"page": PAGE})

    assert (response.status_code, response.json()) == (503, {"error": "wecom"})


def test_pages_ask_for_it_inside_wecom_alone(inside: Visitor, desktop: Visitor, person: User) -> None:
    desktop.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

    assert 'data-url="/wecom/signature/"' in inside.get("/account/").content.decode()
    assert "share_off" not in desktop.get("/account/").content.decode()
