"""Lifetimes of sessions. Tests change the age and last use in the session instead of the clock."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.authentication import sessions
from accounts.authentication.sessions import hash_session_key
from accounts.models import SignedInSession, User
from integrations.models import Corp
from tests.accounts.conftest import PASSWORD, Visitor, by_password
from tests.accounts.wecom import WeCom


def older(browser: Visitor, *, by: timedelta, unused_for: timedelta) -> None:
    """Make the session `by` older, and its last use `unused_for` ago."""
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
    ("age", "unused_for", "is_staff", "lasts"),
    [
        (11.9 * HOURS, 1 * MINUTES, True, True),
        (12 * HOURS, 1 * MINUTES, True, False),
        (2 * HOURS, 59 * MINUTES, True, True),
        (2 * HOURS, 60 * MINUTES, True, False),
        (29.9 * DAYS, 13 * DAYS, False, True),
        (30 * DAYS, 1 * MINUTES, False, False),
    ],
)
def test_it_ends_by_age_and_of_staff_also_without_use(
    age: timedelta, unused_for: timedelta, is_staff: bool, lasts: bool
) -> None:
    now = timezone.now()

    assert (
        sessions.is_past_limits(opened_at=now - age, used_at=now - unused_for, is_staff=is_staff, now=now) is not lasts
    )


def test_the_settings_say_how_long_and_its_end_is_logged(
    chief: User, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings.STAFF_SESSION_HOURS, settings.STAFF_SESSION_IDLE_MINUTES = 2, 20
    first, second = by_password("chief", remember="on"), by_password("chief")
    older(first, by=2 * HOURS, unused_for=1 * MINUTES)
    older(second, by=1 * HOURS, unused_for=20 * MINUTES)

    assert (is_in(first), is_in(second)) == (False, False)
    assert f"session expired user={chief.pk}" in caplog.messages


def test_use_keeps_it_and_a_new_sign_in_begins_anew(chief: User) -> None:
    browser = by_password("chief")
    for _time in range(3):
        older(browser, by=50 * MINUTES, unused_for=50 * MINUTES)
        assert is_in(browser)
    for _time in range(2):
        browser.client.post("/login/", {"username": "chief", "password": PASSWORD})
        older(browser, by=11.9 * HOURS, unused_for=1 * MINUTES)

    assert is_in(browser)


def test_who_is_made_staff_has_the_shorter_one_at_once(corp: Corp, person: User, phone: Visitor, wecom: WeCom) -> None:
    phone.sign_in(corp, wecom, "lilei")
    older(phone, by=13 * HOURS, unused_for=1 * MINUTES)
    assert is_in(phone)

    User.objects.update(is_staff=True)

    assert not is_in(phone)


def test_the_account_page_leaves_out_what_is_over(chief: User) -> None:
    here, _there = by_password("chief"), by_password("chief")
    other = SignedInSession.objects.exclude(session_key=hash_session_key(str(here.client.session.session_key))).get()
    end = f"/account/sessions/{other.pk}/end/"
    assert end in here.get("/account/").content.decode()

    SignedInSession.objects.filter(pk=other.pk).update(last_used_at=other.last_used_at - 1 * HOURS)

    assert end not in here.get("/account/").content.decode()
