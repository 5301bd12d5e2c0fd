"""How long a session lasts: its age and its last use stand in it, and are moved here instead of the clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.authentication.sessions import stored_key
from accounts.models import SignedInSession, User
from integrations.models import Corp
from tests.accounts.conftest import DESKTOP, Visitor, visitor
from tests.accounts.wecom import WeCom

PASSWORD = "right-password-1"


@pytest.fixture
def clerk(db: None) -> User:
    return User.objects.create_user("clerk", password=PASSWORD, is_staff=True)


def sign_in(**more: str) -> Visitor:
    browser = visitor(DESKTOP)
    browser.client.post("/login/", {"username": "clerk", "password": PASSWORD, **more})
    return browser


def older(browser: Visitor, *, by: timedelta, unused_for: timedelta) -> None:
    """The session was opened `by` earlier than it was, and last used `unused_for` ago."""
    seconds = int(by.total_seconds())
    session = browser.client.session
    key, noted = session["noted"]
    session["noted"] = [key, noted - int(unused_for.total_seconds())]
    session["opened_at"] -= seconds
    session.save()


def is_in(browser: Visitor) -> bool:
    return bool(browser.get("/account/").status_code == 200)


HOURS, MINUTES, DAYS = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("age", "unused_for", "lasts"),
    [
        (11.9 * HOURS, 1 * MINUTES, True),
        (12 * HOURS, 1 * MINUTES, False),
        (2 * HOURS, 59 * MINUTES, True),
        (2 * HOURS, 60 * MINUTES, False),
        (30 * MINUTES, 30 * MINUTES, True),
    ],
)
@pytest.mark.parametrize("more", [{}, {"remember": "on"}])
def test_of_staff_it_ends_by_age_and_without_use(
    clerk: User, age: timedelta, unused_for: timedelta, lasts: bool, more: dict[str, str]
) -> None:
    browser = sign_in(**more)
    older(browser, by=age, unused_for=unused_for)

    assert is_in(browser) is lasts


@pytest.mark.parametrize(
    ("age", "unused_for", "lasts"),
    [(29.9 * DAYS, 1 * MINUTES, True), (29.9 * DAYS, 13 * DAYS, True), (30 * DAYS, 1 * MINUTES, False)],
)
def test_of_everybody_else_it_ends_by_age(clerk: User, age: timedelta, unused_for: timedelta, lasts: bool) -> None:
    User.objects.update(is_staff=False)
    browser = sign_in(remember="on")
    older(browser, by=age, unused_for=unused_for)

    assert is_in(browser) is lasts


def test_the_settings_say_how_long(clerk: User, settings: Any) -> None:
    settings.STAFF_SESSION_HOURS, settings.STAFF_SESSION_IDLE_MINUTES = 2, 20
    first, second = sign_in(), sign_in()
    older(first, by=2 * HOURS, unused_for=1 * MINUTES)
    older(second, by=1 * HOURS, unused_for=20 * MINUTES)

    assert (is_in(first), is_in(second)) == (False, False)


def test_its_end_is_logged(clerk: User, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    browser = sign_in()
    older(browser, by=12 * HOURS, unused_for=1 * MINUTES)

    browser.get("/account/")

    assert f"session reached its end user={clerk.pk}" in caplog.messages


def test_use_keeps_it_and_is_noted_by_the_minute(clerk: User) -> None:
    browser = sign_in()
    for _time in range(3):
        older(browser, by=50 * MINUTES, unused_for=50 * MINUTES)
        assert is_in(browser)


def test_a_new_sign_in_begins_anew(clerk: User) -> None:
    browser = sign_in()
    older(browser, by=11.9 * HOURS, unused_for=1 * MINUTES)
    browser.client.post("/login/", {"username": "clerk", "password": PASSWORD})
    older(browser, by=11.9 * HOURS, unused_for=1 * MINUTES)

    assert is_in(browser)


def test_a_sign_in_with_wecom_ends_by_age_too(corp: Corp, person: User, phone: Visitor, wecom: WeCom) -> None:
    phone.sign_in(corp, wecom, "lilei")
    assert phone.user_id == person.pk
    older(phone, by=30 * DAYS, unused_for=1 * MINUTES)

    assert not is_in(phone)


def test_who_is_made_staff_has_the_shorter_one_at_once(clerk: User) -> None:
    User.objects.update(is_staff=False)
    browser = sign_in()
    older(browser, by=13 * HOURS, unused_for=1 * MINUTES)
    assert is_in(browser)

    User.objects.update(is_staff=True)

    assert not is_in(browser)


def test_the_account_page_leaves_out_what_is_over(clerk: User) -> None:
    here, _there = sign_in(), sign_in()
    other = SignedInSession.objects.exclude(session_key=stored_key(str(here.client.session.session_key))).get()
    end = f"/account/sessions/{other.pk}/end/"
    assert end in here.get("/account/").content.decode()

    SignedInSession.objects.filter(pk=other.pk).update(last_used_at=other.last_used_at - 1 * HOURS)

    assert end not in here.get("/account/").content.decode()
