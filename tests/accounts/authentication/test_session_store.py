"""Sessions while Valkey is away: people stay signed in, sign in by password and sign out; no page says too much."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.authentication import sessions
from accounts.authentication.sessions import SessionStore, hash_session_key
from accounts.models import SignedInSession, User
from integrations.core.redis import valkey
from tests.accounts.conftest import DESKTOP, PASSWORD, by_password, visitor

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def valkey_goes() -> Any:
    """A function that takes Valkey away until the test ends."""
    away = override_settings(
        VALKEY_URL=NOWHERE,
        CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": NOWHERE}},
    )
    went = []

    def go() -> None:
        away.enable()
        went.append(True)

    yield go
    if went:
        away.disable()


def test_who_is_signed_in_stays_so_until_signing_out(
    chief: User, valkey_goes: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    browser = by_password("chief")
    valkey_goes()

    assert [browser.get(path).status_code for path in ("/", "/account/", "/admin/accounts/user/")] == [200] * 3
    response = browser.client.post("/logout/")

    assert response.headers["Location"] == "/login/?stay=1&left=1"
    assert not Session.objects.exists()
    assert browser.user_id is None
    # The log names the error but no address.
    lines = [record.getMessage() for record in caplog.records if record.name == "accounts.authentication.sessions"]
    assert set(lines) == {"session cache unreachable error=ConnectionError"}


def test_a_password_signs_in(chief: User, valkey_goes: Callable[[], None]) -> None:
    valkey_goes()

    browser = by_password("chief")

    assert browser.user_id == chief.pk
    assert browser.get("/account/").status_code == 200


def test_another_device_is_not_called_signed_out_while_a_copy_may_be_left(
    chief: User, valkey_goes: Callable[[], None]
) -> None:
    here, there = by_password("chief"), by_password("chief")
    other = SignedInSession.objects.get(session_key=hash_session_key(str(there.client.session.session_key)))
    valkey_goes()

    response = here.client.post(f"/account/sessions/{other.pk}/end/")
    text = here.get(response.headers["Location"]).content.decode()

    assert "暂时无法退出该设备" in text
    assert "已退出该设备。" not in text
    assert SignedInSession.objects.filter(pk=other.pk).exists()


def test_another_device_can_be_signed_out_once_valkey_is_back(chief: User) -> None:
    here, there = by_password("chief"), by_password("chief")
    other = SignedInSession.objects.get(session_key=hash_session_key(str(there.client.session.session_key)))
    Session.objects.filter(pk=other.session_key).delete()  # as an attempt between leaves it

    here.client.post(f"/account/sessions/{other.pk}/end/")

    assert there.get("/account/").status_code == 302
    assert not SignedInSession.objects.filter(pk=other.pk).exists()


@pytest.mark.parametrize("work", ["load", "save"])
def test_one_that_is_ended_before_its_copy_is_written_does_not_go_on_with_it(
    chief: User, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    key = str(by_password("chief").client.session.session_key)
    cache = caches["default"]
    if work == "load":
        cache.clear()
    store, write = SessionStore(key), cache.set
    if work == "save":
        store["page"] = 2

    def write_late(*args: Any, **options: Any) -> None:
        CachedStore().delete(hash_session_key(key))
        write(*args, **options)

    monkeypatch.setattr(cache, "set", write_late)
    getattr(store, work)()

    assert SessionStore(key).load() == {}


def test_everywhere_needs_no_cache(chief: User, valkey_goes: Callable[[], None]) -> None:
    here, there = by_password("chief"), by_password("chief")
    valkey_goes()

    here.client.post("/account/sessions/end/")

    assert there.get("/account/").status_code == 302


class TestDump:
    """The contents of database and Valkey, with which nobody can use a live session."""

    def test_shows_no_key_of_a_session(self, chief: User) -> None:
        key = by_password("chief").client.cookies["sessionid"].value

        rows = [*Session.objects.values_list(), *SignedInSession.objects.values_list()]
        decoded = [row.get_decoded() for row in Session.objects.all()]
        kept = [(name, valkey().dump(name)) for name in valkey().keys("*")]

        assert hash_session_key(key) in str(rows)
        assert key not in str([rows, decoded])
        assert hash_session_key(key) in str(kept)
        assert key not in str(kept)

    def test_is_no_key(self, chief: User) -> None:
        browser, thief = by_password("chief"), visitor(DESKTOP)

        for stolen in (Session.objects.get().session_key, SignedInSession.objects.get().session_key):
            thief.client.cookies["sessionid"] = stolen
            thief.client.cookies["__Host-guanwecom-session"] = browser.client.cookies["__Host-guanwecom-session"].value
            assert thief.get("/account/").status_code == 302

        assert browser.get("/account/").status_code == 200


class TestAnotherKey:
    """A session key that sign-in changes: written once, with the session's data."""

    def test_is_written_once_with_the_data(self, chief: User) -> None:
        browser = visitor(DESKTOP)

        with CaptureQueriesContext(connection) as queries:
            browser.client.post("/login/", {"username": "chief", "password": PASSWORD})

        [statement] = [query["sql"] for query in queries if "django_session" in query["sql"]]
        assert 'INSERT INTO "django_session"' in statement
        assert Session.objects.get().get_decoded()["_auth_user_id"] == str(chief.pk)

    def test_keeps_the_data_and_ends_the_old_one_everywhere(self, chief: User) -> None:
        session = SessionStore()
        session["kept"] = "yes"
        session.save()
        old_key = str(session.session_key)

        session.cycle_key()
        session.save()

        assert session.session_key != old_key
        assert SessionStore(session.session_key)["kept"] == "yes"
        assert (SessionStore(old_key).load(), SessionStore().exists(old_key)) == ({}, False)

    def test_is_nothing_before_it_is_saved(self, chief: User) -> None:
        """Write no row if the request failed, or the session was emptied afterwards."""
        session = SessionStore()
        session["kept"] = "yes"
        session.cycle_key()
        assert not Session.objects.exists()
        assert SessionStore(session.session_key).load() == {}

        session.flush()
        session["new"] = "yes"
        session.save()
        session["new"] = "changed"
        session.save()

        assert [row.get_decoded() for row in Session.objects.all()] == [{"new": "changed"}]


@pytest.mark.django_db(transaction=True)
def test_a_person_who_is_deleted_meanwhile_gets_no_session(chief: User, monkeypatch: pytest.MonkeyPatch) -> None:
    record_use = sessions.record_use

    def delete_before(*args: Any, **options: Any) -> None:
        User.objects.all().delete()
        record_use(*args, **options)

    monkeypatch.setattr(sessions, "record_use", delete_before)
    browser = visitor(DESKTOP)
    browser.client.raise_request_exception = False

    response = browser.client.post("/login/", {"username": "chief", "password": PASSWORD})

    assert response.status_code == 500
    assert "sessionid" not in response.cookies
    assert (Session.objects.count(), SignedInSession.objects.count()) == (0, 0)


@pytest.mark.parametrize("way", ["first", "again"])
def test_who_signs_in_has_signed_in_now(chief: User, way: str) -> None:
    browser = by_password("chief")
    if way == "again":
        User.objects.update(last_login=None)
        browser.client.post("/login/", {"username": "chief", "password": PASSWORD})

    last = User.objects.get().last_login
    assert last is not None
    assert abs((timezone.now() - last).total_seconds()) < 60
