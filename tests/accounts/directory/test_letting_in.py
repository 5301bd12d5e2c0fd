"""Sign-in and open sessions checked against the copied directory, with the sandbox as WeCom over HTTP."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.authentication.backends import TRUSTED_COPY_AGE
from accounts.models import User
from integrations.directory.sync import admit_member
from integrations.models import Member, SyncRun
from tests.accounts.conftest import Visitor, make_corp, make_person, visitor
from tests.accounts.directory.people_of import (
    People,
    delete_leaver,
    disable_leaver,
    member,
    move_out_of_scope,
    open_door,
    sign_in,
)


@pytest.fixture(autouse=True)
def _door(people: People) -> None:
    """People who are all linked, and an app whose trusted domain is the site's."""
    open_door(people.place)
    people.place.clock.now = timezone.now()
    people.set_policy(mode="create")
    people.sync()
    people.place.calls()


def page_after(visitor: Visitor, location: str) -> str:
    return visitor.get(location).content.decode()


@pytest.mark.usefixtures("_addresses_kept")
def test_somebody_whom_the_last_copy_shows_costs_one_call_and_few_statements(people: People, phone: Visitor) -> None:
    """Count the statements of a sign-in.

    At the start the company; on return company, and account with person and member; then the last sign-in of person
    and account, the record of the session, and the session, which Django saves in a transaction of its own.
    """
    assert sign_in(people.place, phone) == "/"
    assert people.place.calls() == {"auth/getuserinfo": 1}
    assert phone.user_id == User.objects.get(username="LiLei").pk
    another = visitor()

    with CaptureQueriesContext(connection) as queries:
        assert sign_in(people.place, another) == "/"

    assert [query["sql"].split()[0] for query in queries] == [
        *("SELECT", "SELECT", "SELECT", "WITH", "INSERT", "SAVEPOINT", "INSERT", "RELEASE"),
    ]


@pytest.mark.parametrize(
    "why",
    [
        "old copy",
        "no finished copy",
        "finished copy of another company",
        "no policy",
        "in the copy of another company alone",
    ],
)
def test_else_wecom_is_asked(people: People, phone: Visitor, why: str) -> None:
    if why == "old copy":
        SyncRun.objects.update(started_at=timezone.now() - TRUSTED_COPY_AGE - timedelta(minutes=1))
    elif why == "no finished copy":
        SyncRun.objects.update(status="failed")
    elif why == "finished copy of another company":
        SyncRun.objects.update(corp=make_corp("南湖贸易", 7))
    elif why == "no policy":
        people.set_policy(mode="off")
    else:
        Member.objects.filter(userid_folded="lilei").update(corp=make_corp("南湖贸易", 7))

    assert sign_in(people.place, phone) == "/"
    assert people.place.calls() == {"auth/getuserinfo": 1, "user/get": 1}


def test_who_has_come_back_is_let_in_at_once(people: People, phone: Visitor) -> None:
    people.place.set_scope(partyids=[3, 4])
    people.sync()
    assert people.place.member("LiLei").presence == "out_of_scope"
    assert "您不在该应用的可见范围内" in page_after(phone, sign_in(people.place, phone))
    people.place.set_scope(partyids=[1])

    assert sign_in(people.place, phone) == "/"

    assert people.place.member("LiLei").presence == "here"
    assert phone.get("/").status_code == 200
    assert phone.user_id is not None


def test_who_stands_outside_the_department_roots_stays_out(people: People, phone: Visitor) -> None:
    people.place.with_roots(4)
    people.sync()
    people.place.calls()

    assert "您不在该应用的可见范围内" in page_after(phone, sign_in(people.place, phone))
    assert people.place.calls() == {"auth/getuserinfo": 1}
    assert people.place.member("LiLei").presence == "out_of_scope"


def test_a_userid_that_came_back_waits_for_an_administrator(people: People, phone: Visitor) -> None:
    people.place.delete_member("LiLei")
    people.sync()
    make_person("another", people.corp, "LiLei")  # somebody linked it by hand in between
    people.put("LiLei", department=[2])
    people.sync()

    assert "您的企业微信账号待管理员确认" in page_after(phone, sign_in(people.place, phone))
    assert phone.user_id is None

    admit_member(member=people.place.member("LiLei"), now=timezone.now())
    assert sign_in(people.place, phone) == "/"


@pytest.mark.parametrize(
    ("leave", "halves"), [(delete_leaver, 1), (move_out_of_scope, 1), (disable_leaver, 1), (delete_leaver, 2)]
)
def test_the_next_click_after_leaving_is_signed_out(
    people: People, phone: Visitor, leave: Callable[[People], None], halves: int
) -> None:
    sign_in(people.place, phone)
    assert phone.get("/").status_code == 200

    leave(people)
    people.place.sync_saying_yes() if halves == 1 else people.sync()

    assert phone.get("/").status_code == 302
    assert SESSION_KEY not in phone.client.session


def test_a_policy_that_is_off_or_the_directory_of_another_company_signs_nobody_out(
    people: People, phone: Visitor
) -> None:
    member(make_corp("南湖贸易", 7), "lilei", presence="deleted", left_at=timezone.now())
    sign_in(people.place, phone)
    phone.get("/")
    with CaptureQueriesContext(connection) as queries:
        assert phone.get("/").status_code == 200
    assert sum('"integrations_member"' in one["sql"] for one in queries) == 1

    people.set_policy(mode="off")
    move_out_of_scope(people)
    people.place.sync_saying_yes()

    assert phone.get("/").status_code == 200
