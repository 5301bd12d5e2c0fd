"""For whom a run has something to do, against the sandbox over HTTP."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.directory.sync import unsettled
from accounts.models import DirectoryPolicy, LinkConflict, User, WeComAccount
from integrations.models import Member
from tests.accounts.directory.people_of import People, make


@pytest.fixture
def created(people: People) -> People:
    """LiLei, hanmeimei and jim are people here."""
    people.set_policy(mode="create")
    people.sync()
    return people


def found(people: People) -> set[str]:
    policy = DirectoryPolicy.objects.get(corp=people.corp)
    accounts = WeComAccount.objects.filter(corp=people.corp)
    members = unsettled(policy=policy, members=people.corp.members.all(), accounts=accounts)
    return set(members.values_list("userid", flat=True))


def test_nobody_once_everything_is_written(created: People) -> None:
    assert found(created) == set()
    assert Member.objects.count() == 3


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "disabled"},
        {"presence": "out_of_scope", "left_at": timezone.now()},
        {"presence": "deleted", "left_at": timezone.now()},
        {"presence": "missing", "left_at": timezone.now()},
        {"waits_since": timezone.now()},
        {"userid": "JIM"},
        {"name": "Jim Green"},
        {"mobile": "13900000009"},
        {"email": "jim.green@example.com"},
    ],
)
def test_who_is_not_let_in_or_is_told_otherwise(created: People, columns: dict[str, object]) -> None:
    Member.objects.filter(userid="jim").update(**columns)

    assert found(created) == {str(columns.get("userid", "jim"))}


@pytest.mark.parametrize("columns", [{"name": "Jim Green"}, {"email": "a@example.com"}, {"mobile": "1"}])
def test_a_policy_that_links_alone_does_not_look_at_what_follows(created: People, columns: dict[str, str]) -> None:
    created.set_policy(mode="link")
    Member.objects.filter(userid="jim").update(**columns)

    assert found(created) == set()


def test_who_is_linked_with_nobody(created: People) -> None:
    WeComAccount.objects.filter(userid="jim").delete()

    assert found(created) == {"jim"}


def test_who_has_a_conflict(created: People) -> None:
    jim = Member.objects.get(userid="jim")
    LinkConflict.objects.create(member=jim, reason=LinkConflict.Reason.NOBODY, since=timezone.now())

    assert found(created) == {"jim"}


@pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
def test_who_may_enter_the_administration_is_left_alone(created: People, right: str) -> None:
    User.objects.filter(username="jim").update(**{right: True}, name="the boss")
    Member.objects.filter(userid="jim").update(userid="JIM")

    assert found(created) == set()


def test_an_unchanged_run_reads_no_member_and_no_person(created: People) -> None:
    make("somebody-else")

    with CaptureQueriesContext(connection) as queries:
        assert created.counts() == {}

    second_half = [one["sql"] for one in queries if "accounts_" in one["sql"] and one["sql"].startswith("SELECT")]
    assert not [sql for sql in second_half if '"accounts_user"."password"' in sql]
    assert not [sql for sql in second_half if "FOR UPDATE" in sql and '"accounts_user"' in sql]


def test_the_newer_of_two_accounts_tells_and_a_second_run_changes_nothing(created: People) -> None:
    lilei = User.objects.get(username="LiLei")
    WeComAccount.objects.filter(userid="jim").update(user=lilei, is_primary=False)
    User.objects.filter(pk=lilei.pk).update(name="somebody")
    newest = WeComAccount.objects.filter(user=lilei).latest("pk").userid

    assert created.counts() == {"updated": 1}
    assert User.objects.get(pk=lilei.pk).name == Member.objects.get(userid=newest).name
    assert created.counts() == {}
