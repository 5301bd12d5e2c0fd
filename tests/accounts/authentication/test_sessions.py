"""Sessions of a person and a company: when they end, and the browsers in which a person is signed in."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import tasks
from accounts.authentication import sessions
from accounts.authentication.sessions import hash_session_key
from accounts.models import SignedInSession, User, WeComAccount
from integrations.models import Corp
from tests.accounts.conftest import (
    DESKTOP,
    IPHONE_WECOM,
    PASSWORD,
    Visitor,
    by_password,
    make_corp,
    make_person,
    visitor,
    with_session,
)
from tests.accounts.wecom import WeCom


def is_signed_in(browser: Visitor) -> bool:
    browser.get("/")
    return SESSION_KEY in browser.client.session


def disable_person(person: User, corp: Corp) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)


def disable_company(person: User, corp: Corp) -> None:
    Corp.objects.filter(pk=corp.pk).update(is_enabled=False)


def accounts_of(person: User) -> QuerySet[WeComAccount]:
    return WeComAccount.objects.filter(user=person)


ENDINGS: dict[str, Callable[[User, Corp], object]] = {
    "person disabled": disable_person,
    "company disabled": disable_company,
    "sign-in off": lambda _person, corp: Corp.objects.filter(pk=corp.pk).update(sign_in_enabled=False),
    "account empty": lambda person, _corp: accounts_of(person).update(userid="", userid_folded=""),
    "account deleted": lambda person, _corp: accounts_of(person).delete(),
    "account moved": lambda person, _corp: accounts_of(person).update(corp=make_corp("东江", 3)),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_it_ends_at_the_next_click_on_all_devices(
    person: User, corp: Corp, end: Callable[[User, Corp], object]
) -> None:
    devices = [with_session(person, corp), with_session(person, corp)]
    assert [is_signed_in(device) for device in devices] == [True, True]

    end(person, corp)

    assert [is_signed_in(device) for device in devices] == [False, False]


@pytest.mark.parametrize("end", [*ENDINGS.values()][1:], ids=[*ENDINGS][1:])
def test_a_session_opened_by_password_goes_on(person: User, corp: Corp, end: Callable[[User, Corp], object]) -> None:
    browser = with_session(person)

    end(person, corp)

    assert is_signed_in(browser)


def test_another_company_s_session_of_the_same_person_goes_on(person: User, corp: Corp, other_corp: Corp) -> None:
    WeComAccount.objects.create(user=person, corp=other_corp, userid="lilei", is_primary=False)
    here, there = with_session(person, corp), with_session(person, other_corp)

    disable_company(person, corp)

    assert [is_signed_in(here), is_signed_in(there)] == [False, True]


def test_enabling_the_person_again_brings_no_session_back(person: User, corp: Corp) -> None:
    browser, by_password = with_session(person, corp), with_session(person)
    disable_person(person, corp)
    assert [is_signed_in(browser), is_signed_in(by_password)] == [False, False]

    User.objects.update(is_active=True)

    assert [is_signed_in(browser), is_signed_in(by_password)] == [False, False]


def tables_read(browser: Visitor) -> list[str]:
    """Return the tables that a page without own work reads."""
    with CaptureQueriesContext(connection) as queries:
        browser.get("/no-such-page/")
    texts = [one["sql"] for one in queries.captured_queries]
    return [text.split(' FROM "')[1].split('"')[0] for text in texts if ' FROM "' in text]


def test_it_costs_one_look_up_beside_the_person(person: User, corp: Corp) -> None:
    """Read the session from the cache; account, company and member are one query. Strangers cost none."""
    browser = with_session(person, corp)
    browser.get("/")

    seen = tables_read(browser)

    assert seen.count("accounts_wecomaccount") == 1
    assert "integrations_member" not in seen
    assert seen.count("accounts_user") == 1
    assert "django_session" not in seen
    assert not {"accounts_wecomaccount", "accounts_user", "django_session"} & set(tables_read(visitor()))


@pytest.fixture
def sign_in(clerk: User) -> Callable[..., Visitor]:
    return partial(by_password, "clerk")


def later(monkeypatch: pytest.MonkeyPatch, **by: int) -> None:
    moment = timezone.now() + timedelta(**by)
    monkeypatch.setattr(timezone, "now", lambda: moment)


def text_of(visitor: Visitor) -> str:
    response = visitor.get("/account/")
    assert response.status_code == 200
    return response.content.decode()


class TestNoting:
    def test_a_sign_in_with_wecom_is_written_down_and_shown(
        self, corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        phone.sign_in(corp, wecom, "lilei")

        row = SignedInSession.objects.get()
        assert (row.user_id, row.corp_id, row.user_agent) == (person.pk, corp.pk, IPHONE_WECOM)
        assert row.session_key == hash_session_key(str(phone.client.session.session_key))
        text = text_of(phone)
        assert "北山制造 · <code>LiLei</code>" in text
        assert "企业微信 · iPhone" in text
        assert "当前设备" in text
        assert str(phone.client.session.session_key) not in text

    def test_a_sign_in_by_password_belongs_to_no_company_and_the_next_takes_its_place(
        self, sign_in: Callable[..., Visitor]
    ) -> None:
        browser = sign_in()
        assert SignedInSession.objects.get().corp_id is None

        browser.client.post("/login/", {"username": "clerk", "password": PASSWORD})

        assert SignedInSession.objects.get().session_key == hash_session_key(str(browser.client.session.session_key))

    def test_nobody_signed_in_is_nothing_to_write_down(self, corp: Corp, desktop: Visitor) -> None:
        desktop.get("/login/")

        assert not SignedInSession.objects.exists()
        assert "sessionid" not in desktop.client.cookies

    def test_further_requests_write_and_look_up_nothing(
        self, clerk: User, sign_in: Callable[..., Visitor], django_assert_num_queries: Any
    ) -> None:
        browser = sign_in()
        browser.get("/no-such-page/")

        with django_assert_num_queries(1) as queries:  # the person; the session is cached
            browser.get("/no-such-page/")

        assert "accounts_user" in queries[0]["sql"]

    def test_a_use_ten_minutes_later_is_noted(
        self, sign_in: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser = sign_in()
        began_at = SignedInSession.objects.get().began_at
        later(monkeypatch, minutes=11)

        browser.get("/no-such-page/")

        row = SignedInSession.objects.get()
        assert row.began_at == began_at
        assert row.last_used_at - began_at >= timedelta(minutes=10)

    def test_a_session_from_before_is_written_down_at_its_next_use(self, clerk: User, desktop: Visitor) -> None:
        desktop.client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
        assert not SignedInSession.objects.exists()

        desktop.get("/no-such-page/")

        assert SignedInSession.objects.get().user_id == clerk.pk

    def test_what_programs_ask_for_leaves_the_session_alone(self, clerk: User, desktop: Visitor) -> None:
        desktop.client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
        session_before = dict(desktop.client.session)
        signed = "?msg_signature=x&timestamp=1&nonce=1&echostr=x"

        for path in (
            *("/healthz", "/metrics", "/WW_verify_0123456789abcdef.txt"),
            *(f"/wecom/1/events/{signed}", f"/wecom/1/contacts-events/{signed}"),
        ):
            response = desktop.get(path)

            assert response.status_code in {200, 403, 404}
            assert "sessionid" not in response.cookies
        assert not SignedInSession.objects.exists()
        assert dict(desktop.client.session) == session_before

    @pytest.mark.parametrize("path", ["/logout/", "/admin/logout/"])
    def test_signing_out_removes_it(self, clerk: User, sign_in: Callable[..., Visitor], path: str) -> None:
        User.objects.update(is_staff=True)
        browser = sign_in()

        browser.client.post(path)

        assert not SignedInSession.objects.exists()

    def test_a_company_that_is_disabled_removes_it(
        self, corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        phone.sign_in(corp, wecom, "lilei")
        Corp.objects.update(is_enabled=False)

        phone.get("/login/company/")

        assert not SignedInSession.objects.exists()

    def test_a_person_who_deletes_themselves_leaves_none(
        self, clerk: User, sign_in: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        User.objects.update(is_staff=True, is_superuser=True)
        browser = sign_in()
        later(monkeypatch, minutes=11)

        response = browser.client.post(f"/admin/accounts/user/{clerk.pk}/delete/", {"post": "yes"})

        assert response.status_code == 302
        assert not SignedInSession.objects.exists()


class TestPage:
    def test_says_what_is_missing(self, desktop: Visitor, corp: Corp) -> None:
        for number, (company, userid) in enumerate(((None, "X"), (corp, ""), (None, ""))):
            person = make_person(f"half{number}", company, userid)
            desktop.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
            text = text_of(desktop)
            assert ("缺少公司" in text, "缺少账号" in text) == (bool(userid), company is not None)
            assert ("未关联" in text) == (not userid and company is None)

    def test_lists_this_session_first_and_only_good_ones(
        self, clerk: User, sign_in: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, other, gone = sign_in(), sign_in(IPHONE_WECOM), sign_in(IPHONE_WECOM)
        Session.objects.filter(pk=hash_session_key(str(gone.client.session.session_key))).update(
            expire_date=timezone.now()
        )

        shown = mine.client.get("/account/").context["sessions"]

        assert [(one.is_current, one.device.split()[-1]) for one in shown] == [(True, "Linux"), (False, "iPhone")]
        assert other.user_id == clerk.pk

    def test_takes_as_many_queries_for_many_sessions(
        self, sign_in: Callable[..., Visitor], django_assert_max_num_queries: Any
    ) -> None:
        browsers = [sign_in() for _number in range(6)]

        with django_assert_max_num_queries(4):
            text = text_of(browsers[0])

        assert text.count('<button class="small-button"') == 5


class TestEnding:
    def test_one_ends_at_once_and_the_others_last_and_nobody_else_ends_it(
        self, clerk: User, sign_in: Callable[..., Visitor]
    ) -> None:
        mine, other, third, stranger = sign_in(), sign_in(IPHONE_WECOM), sign_in(), visitor(DESKTOP)
        stranger.client.force_login(make_person("eve"), backend="django.contrib.auth.backends.ModelBackend")
        row = SignedInSession.objects.get(session_key=hash_session_key(str(other.client.session.session_key)))
        stranger.client.post(f"/account/sessions/{row.pk}/end/")
        assert mine.get(f"/account/sessions/{row.pk}/end/").status_code == 405
        assert other.get("/account/").status_code == 200

        response = mine.client.post(f"/account/sessions/{row.pk}/end/")

        assert response.headers["Location"] == "/account/"
        assert other.get("/account/").headers["Location"] == "/login/?next=/account/"
        assert (mine.get("/account/").status_code, third.get("/account/").status_code) == (200, 200)

    def test_everywhere_ends_also_what_was_never_written_down_and_of_nobody_else(
        self, clerk: User, sign_in: Callable[..., Visitor]
    ) -> None:
        mine, other, silent, stranger = sign_in(), sign_in(IPHONE_WECOM), visitor(DESKTOP), visitor(DESKTOP)
        silent.client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
        stranger.client.force_login(make_person("eve"), backend="django.contrib.auth.backends.ModelBackend")

        response = mine.client.post("/account/sessions/end/")

        assert response.headers["Location"] == "/login/?stay=1&left=everywhere"
        assert "所有设备上退出" in mine.get("/login/", stay="1", left="everywhere").content.decode()
        for browser in (mine, other, silent):
            assert browser.get("/account/").status_code == 302
        assert not SignedInSession.objects.exists()
        assert stranger.get("/account/").status_code == 200
        assert sign_in().get("/account/").status_code == 200
        nobody = visitor(DESKTOP).client.post("/account/sessions/end/")
        assert nobody.headers["Location"] == "/login/?next=/account/sessions/end/"


def test_the_nightly_purge_takes_what_no_session_can_outlast(clerk: User, corp: Corp) -> None:
    now = timezone.now()
    for days, key in ((29, "young"), (31, "old")):
        moment = now - timedelta(days=days)
        SignedInSession.objects.create(user=clerk, session_key=key, began_at=moment, last_used_at=moment)

    tasks.purge_old_records()

    assert list(SignedInSession.objects.values_list("session_key", flat=True)) == ["young"]


def test_upgrading_signs_nobody_out(clerk: User) -> None:
    """Keep Django's own hash until somebody ends all sessions, so that earlier sessions stay valid."""
    before = super(User, clerk).get_session_auth_hash()

    sessions.end_all_sessions(user=clerk)
    clerk.refresh_from_db()

    assert before == User(password=clerk.password).get_session_auth_hash()
    assert clerk.get_session_auth_hash() != before
