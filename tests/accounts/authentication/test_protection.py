"""Protection of every answer to employees: no framing, no cache, HSTS, cookie flags; and session fixation."""

import re
from collections.abc import Callable
from http.cookies import Morsel
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.authentication.flow import Cause
from accounts.models import User
from accounts.views.errors import ErrorDetails
from integrations.core import http
from integrations.models import Corp, SiteAddress
from integrations.views import HSTS_SECONDS
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery
from tests.accounts.arriving import seal_details
from tests.accounts.conftest import DESKTOP, PASSWORD, SECRET, Visitor, make_person, state_in, visitor
from tests.accounts.people import HOST
from tests.accounts.wecom import WeCom
from tests.bi import make_bi
from tests.notifications.factories import NOW, make_report, make_run, make_subscription

PERSONAL = ["/", "/?q=x", "/subscriptions/", "/account/", "/bi/page/p1", "/m/" + "0" * 32 + "/", "/wecom/signature/"]
OPEN = ["/login/", "/login/?stay=1&left=1", "/login/company/", "/admin/login/"]
LEADING_ON = ["/wecom/{corp}/start/", "/wecom/{corp}/callback/?code=C&state=S", "/?path_url=x&code=C&state=S", "/m/x/"]


@pytest.fixture
def member(corp: Corp) -> User:
    return make_person("lilei", corp, "LiLei", name="李雷", password=PASSWORD)


def signs_in_silently(corp: Corp, wecom: WeCom, browser: Visitor) -> None:
    browser.sign_in(corp, wecom, "lilei")


def signs_in_by_panel(corp: Corp, wecom: WeCom, browser: Visitor) -> None:
    answer: Any = browser.client.post(f"/wecom/{corp.pk}/panel/")
    wecom.gives("C", userid="lilei")
    browser.arrive(corp, code="C", state=answer.json()["params"]["state"])


def signs_in_by_password(corp: Corp, wecom: WeCom, browser: Visitor) -> None:
    browser.client.post("/login/?stay=1", {"username": "lilei", "password": PASSWORD, "remember": "on"})


SignIn = Callable[[Corp, WeCom, Visitor], None]
WAYS_IN: list[SignIn] = [signs_in_silently, signs_in_by_panel, signs_in_by_password]


def assert_protected(response: HttpResponse) -> None:
    headers = response.headers
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"] == f"max-age={HSTS_SECONDS}"
    assert {"no-store", "private"} <= set(headers["Cache-Control"].split(", "))
    assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_every_answer_to_somebody_signed_in_and_to_a_stranger(
    corp: Corp, member: User, wecom: WeCom, is_signed_in: bool
) -> None:
    browser = visitor(DESKTOP)
    if is_signed_in:
        signs_in_silently(corp, wecom, browser)

    for page in (*PERSONAL, *OPEN, *LEADING_ON):
        assert_protected(browser.get(page.format(corp=corp.pk)))


def test_every_page_that_explains(corp: Corp) -> None:
    for cause in Cause:
        assert_protected(visitor(DESKTOP).get("/login/trouble/", t=seal_details(ErrorDetails(cause, corp_id=corp.pk))))


def test_a_message_and_the_way_into_the_bi(corp: Corp, member: User, wecom: WeCom) -> None:
    run = make_run(make_subscription(member, report=make_report(title="销售日报")))
    render_run(run_id=run.pk, now=NOW)
    make_bi()
    browser = visitor(DESKTOP)
    signs_in_silently(corp, wecom, browser)

    shown, passed_on = browser.get(f"/m/{Delivery.objects.get().mark}/"), browser.get("/bi/page/p1")

    assert (shown.status_code, passed_on.status_code) == (200, 302)
    assert_protected(shown)
    assert_protected(passed_on)


def test_every_cookie_has_every_flag(corp: Corp, other_corp: Corp, member: User, wecom: WeCom) -> None:
    got: dict[str, Morsel[str]] = {}
    for sign_in in WAYS_IN:
        browser = visitor(DESKTOP)
        browser.get("/login/", corp=str(corp.pk))
        sign_in(corp, wecom, browser)
        browser.get("/account/")
        browser.client.post("/i18n/setlang/", {"language": "en", "next": "/"})
        got |= browser.client.cookies

    names = {re.sub("(?<=^__Host-guanwecom-browser-).{8}$", "…", name) for name in got}
    assert names == {
        "sessionid", "csrftoken", "__Host-guanwecom-browser-…", "__Host-guanwecom-session", "guanwecom-company",
        "guanwecom-known", "django_language",
    }  # fmt: skip
    for name, morsel in got.items():
        assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == (True, True, "Lax"), name
        assert (morsel["domain"], morsel["path"]) == ("", "/"), name


def test_a_site_without_https_still_hides_them_from_scripts(corp: Corp, db: None) -> None:
    SiteAddress.objects.update(url="http://localhost:3001/")
    http.clear_caches()
    browser = visitor(DESKTOP, host="localhost:3001")

    browser.get(f"/wecom/{corp.pk}/start/")
    browser.get("/login/", stay="1")

    for morsel in browser.client.cookies.values():
        assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == ("", True, "Lax")


@pytest.mark.parametrize("whose", ["nobody", "mallory"])
@pytest.mark.parametrize("sign_in", WAYS_IN)
def test_a_planted_session_of_nobody_or_the_attacker_does_not_become_the_victim_s(
    corp: Corp, member: User, wecom: WeCom, sign_in: SignIn, whose: str
) -> None:
    attacker, victim = Client(), visitor(DESKTOP)
    if whose == "mallory":
        attacker.force_login(make_person(whose), backend="django.contrib.auth.backends.ModelBackend")
    session = attacker.session
    session["planted"] = True
    session.save()
    planted = str(session.session_key)
    victim.client.cookies["sessionid"] = planted

    sign_in(corp, wecom, victim)

    assert victim.user_id == member.pk
    assert victim.client.cookies["sessionid"].value != planted
    somebody = visitor(DESKTOP)
    somebody.client.cookies["sessionid"] = planted
    assert somebody.user_id is None


@pytest.mark.parametrize("attacker_signs_in", WAYS_IN)
def test_a_planted_session_takes_no_sign_in_into_the_attacker_s(
    corp: Corp, member: User, wecom: WeCom, attacker_signs_in: SignIn
) -> None:
    """Plant the attacker's session cookie from a sibling domain, which cannot plant its second cookie."""
    attacker, victim = visitor(DESKTOP), visitor()
    attacker_signs_in(corp, wecom, attacker)
    other = make_person("hanmeimei", corp, "HanMeimei")
    victim.client.cookies["sessionid"] = attacker.client.cookies["sessionid"].value

    shown = victim.get("/account/")
    start = victim.get(f"/wecom/{corp.pk}/start/", next="/account/")

    assert (shown.status_code, shown.headers["Location"]) == (302, "/login/?next=/account/")
    assert start.headers["Location"].startswith("https://open.weixin.qq.com/connect/oauth2/authorize?")
    wecom.gives("VICTIM", userid="hanmeimei")
    victim.arrive(corp, code="VICTIM", state=state_in(start))
    assert victim.user_id == other.pk
    assert attacker.get("/account/").status_code == 200
    assert attacker.user_id == member.pk


def test_a_host_that_is_no_address_of_ours_makes_no_link(corp: Corp, wecom: WeCom) -> None:
    for header in (
        "evil.example",
        f"{HOST}.evil.example",
        f"{HOST}@evil.example",
        f"{HOST}:8443",
        "",
        "evil\\",
    ):
        client = Client(headers={"host": header})
        for page in (f"/wecom/{corp.pk}/start/", f"/wecom/{corp.pk}/callback/?code=C", "/login/", "/?path_url=x"):
            response = client.get(page)
            assert response.status_code == 400
            assert "Location" not in response.headers
            assert not client.cookies


def test_logs_hold_neither_code_nor_state_nor_cookie(
    corp: Corp, member: User, wecom: WeCom, caplog: pytest.LogCaptureFixture
) -> None:
    """Sign in every way at the lowest log level, with redeemed and refused codes, and one at the root."""
    caplog.set_level("DEBUG")
    browser = visitor()
    wecom.gives("CODE-REDEEMED", userid="lilei")
    state = browser.begin(corp)
    browser.arrive(corp, code="CODE-REDEEMED", state=state)
    browser.arrive(corp, code="CODE-REFUSED", state="F" * 41)
    browser.get("/", path_url="x", code="CODE-AT-THE-ROOT", state="")
    desktop = visitor(DESKTOP)
    signs_in_by_panel(corp, wecom, desktop)
    signs_in_by_password(corp, wecom, visitor(DESKTOP))

    secrets = ["CODE-REDEEMED", "CODE-REFUSED", "CODE-AT-THE-ROOT", state, PASSWORD, "F" * 41, SECRET]
    secrets += [
        morsel.value for one in (browser, desktop) for morsel in one.client.cookies.values() if len(morsel.value) > 20
    ]
    assert len(secrets) >= 10
    assert "outcome=signed-in" in caplog.text
    assert [secret for secret in secrets if secret in caplog.text] == []
