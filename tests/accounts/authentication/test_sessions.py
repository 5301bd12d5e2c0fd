"""Sessions belong to a person and a company: when the person loses access to it, they end at the next click."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.authentication.sessions import CORP_KEY
from accounts.models import User, WeComAccount
from integrations.models import Corp
from tests.accounts.conftest import Visitor, make_corp, visitor

PAGE = "/"


def signed_in(person: User, corp: Corp | None) -> Visitor:
    """Return a browser with the session of a sign-in through `corp`, or by password without one."""
    browser = visitor()
    browser.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    if corp is not None:
        session = browser.client.session
        session[CORP_KEY] = corp.pk
        session.save()
    return browser


def is_signed_in(browser: Visitor) -> bool:
    """Open a page. Return whether the session survived."""
    browser.get(PAGE)
    return SESSION_KEY in browser.client.session


def disable_person(person: User, corp: Corp) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)


def disable_company(person: User, corp: Corp) -> None:
    Corp.objects.filter(pk=corp.pk).update(is_enabled=False)


def switch_sign_in_off(person: User, corp: Corp) -> None:
    Corp.objects.filter(pk=corp.pk).update(sign_in_enabled=False)


def empty_the_account(person: User, corp: Corp) -> None:
    WeComAccount.objects.filter(user=person).update(userid="", userid_folded="")


def delete_the_account(person: User, corp: Corp) -> None:
    WeComAccount.objects.filter(user=person).delete()


def move_the_account(person: User, corp: Corp) -> None:
    WeComAccount.objects.filter(user=person).update(corp=make_corp("东江", 3))


ENDINGS = [
    disable_person,
    disable_company,
    switch_sign_in_off,
    empty_the_account,
    delete_the_account,
    move_the_account,
]


@pytest.mark.parametrize("end", ENDINGS)
def test_it_ends_at_the_next_click_on_all_devices(person: User, corp: Corp, end: Callable[[User, Corp], None]) -> None:
    devices = [signed_in(person, corp), signed_in(person, corp)]
    assert [is_signed_in(device) for device in devices] == [True, True]

    end(person, corp)

    assert [is_signed_in(device) for device in devices] == [False, False]


@pytest.mark.parametrize("end", ENDINGS[1:])
def test_a_session_opened_by_password_goes_on(person: User, corp: Corp, end: Callable[[User, Corp], None]) -> None:
    browser = signed_in(person, None)

    end(person, corp)

    assert is_signed_in(browser)


def test_another_company_s_session_of_the_same_person_goes_on(person: User, corp: Corp, other_corp: Corp) -> None:
    WeComAccount.objects.create(user=person, corp=other_corp, userid="lilei", is_primary=False)
    here, there = signed_in(person, corp), signed_in(person, other_corp)

    disable_company(person, corp)

    assert [is_signed_in(here), is_signed_in(there)] == [False, True]


def test_enabling_the_person_again_brings_no_session_back(person: User, corp: Corp) -> None:
    browser, by_password = signed_in(person, corp), signed_in(person, None)
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
    """Read the session from the cache; account, company and member are one query."""
    browser = signed_in(person, corp)
    browser.get(PAGE)

    seen = tables_read(browser)

    assert seen.count("accounts_wecomaccount") == 1
    assert "integrations_member" not in seen
    assert seen.count("accounts_user") == 1
    assert "django_session" not in seen


def test_sessions_by_password_and_strangers_cost_none(person: User, corp: Corp) -> None:
    by_password, stranger = signed_in(person, None), visitor()
    by_password.get(PAGE)

    assert "accounts_wecomaccount" not in tables_read(by_password)
    assert not {"accounts_wecomaccount", "accounts_user", "django_session"} & set(tables_read(stranger))
