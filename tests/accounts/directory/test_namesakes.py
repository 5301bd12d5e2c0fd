"""The same userid in two companies: two people. The second gets a made-up username, which identifies nobody."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.directory.linking import LinkRefusedError, create_user_by_hand, find_free_usernames
from accounts.directory.sync import follow_rename
from accounts.models import AuditEntry, LinkConflict, User, WeComAccount
from accounts.users.bi_identity import USERNAME
from accounts.users.roles import Role
from integrations.core import hooks
from integrations.models import Corp
from tests.accounts.conftest import make_corp, make_person
from tests.accounts.directory.people_of import People, links, make, member
from tests.accounts.people import sent_form, signed_in, with_role
from tests.notifications.factories import NOW

LIST = "/admin/accounts/linkconflict/"
CREATE = f"{LIST}create/"


@pytest.fixture
def namesake(people: People) -> User:
    """A person of another company with 李雷's userid, and the username made of it."""
    people.set_policy(mode="create")
    user = make("lilei", name="李蕾")
    WeComAccount.objects.create(user=user, corp=make_corp("南湖贸易", 7), userid="lilei")
    return user


def made_names() -> set[str]:
    return {user.username for user in User.objects.all() if user.has_made_username}


@pytest.mark.parametrize("match_username", [True, False])
def test_a_namesake_of_another_company_gets_somebody_beside(
    people: People, namesake: User, match_username: bool
) -> None:
    people.set_policy(match_username=match_username)

    assert people.counts() == {"created": 3}
    assert people.counts() == {}
    assert links(people.corp) == {"LiLei-2": "LiLei", "hanmeimei": "hanmeimei", "jim": "jim"}
    assert made_names() == {"LiLei-2"}
    assert people.conflicts() == {}
    assert list(namesake.wecom_accounts.values_list("corp__name", "userid")) == [("南湖贸易", "lilei")]


@pytest.mark.parametrize(
    ("same", "keys"),
    [({"name": "李雷"}, {}), ({"mobile": "13000000001"}, {"match_mobile": True}), ({"is_staff": True}, {})],
)
def test_who_may_be_the_same_person_is_left_to_an_administrator(
    people: People, namesake: User, same: dict[str, Any], keys: dict[str, bool]
) -> None:
    """Ignore rights: an administrator of the other company is not the same person for that."""
    people.set_policy(**keys)
    User.objects.filter(pk=namesake.pk).update(**same)

    people.sync()

    is_staff = "is_staff" in same
    assert people.conflicts() == ({} if is_staff else {"LiLei": "other_company"})
    assert ("LiLei-2" in links(people.corp)) is is_staff


def test_a_made_username_is_nobody_elses_name_or_userid(people: People, namesake: User) -> None:
    make("lilei-2")
    member(Corp.objects.get(name="南湖贸易"), "LILEI-3")

    people.sync()

    assert links(people.corp)["LiLei-4"] == "LiLei"


def test_nobody_is_found_by_a_made_username(people: People, namesake: User) -> None:
    people.sync()
    WeComAccount.objects.filter(user__username="LiLei-2").delete()
    people.place.delete_member("LiLei")
    people.put("lilei-2")

    people.sync()

    assert links(people.corp)["lilei-2-2"] == "lilei-2"
    people.set_policy(mode="link")
    WeComAccount.objects.filter(user__username="lilei-2-2").delete()
    people.sync()
    assert people.conflicts()["lilei-2"] == "nobody"


def test_a_hundred_namesakes_cost_a_query_more_for_each_number(people: People, namesake: User) -> None:
    userids = [f"u{number}" for number in range(100)]
    User.objects.bulk_create(User(username=userid) for userid in userids)

    with CaptureQueriesContext(connection) as queries:
        found = find_free_usernames(userids)

    assert found["u7"] == "u7-2"
    assert len(queries) == 3


def get_list(client: Client) -> str:
    response = client.get(LIST)
    assert response.status_code == 200
    return str(response.content.decode())


def test_the_page_offers_to_create_somebody_and_proposes_who_may_be_the_same_person(
    admin: Client, corp: Corp, other_corp: Corp
) -> None:
    one = member(corp, "LiLei", name="李雷", email="li@example.com")
    make_person("lilei", other_corp, "lilei", name="李蕾")
    member(corp, "Han", name="韩梅梅")
    make_person("han", other_corp, "han", name="韩梅梅")
    free = member(corp, "Jim")
    LinkConflict.objects.create(member=one, reason="username_taken", since=NOW)
    text = get_list(admin)
    assert [name in text for name in ("李蕾 (lilei)", "韩梅梅 (han)")] == [False, True]
    assert [f"创建为“{name}”" in text for name in ("LiLei-2", "Han-2", "Jim")] == [True, True, True]

    response = admin.post(CREATE, {"member": one.pk, "back": "side=members"})
    admin.post(CREATE, {"member": free.pk, "back": ""})

    assert response["Location"] == f"{LIST}?side=members"
    user = User.objects.get(username="LiLei-2")
    assert (user.name, user.email, user.has_usable_password()) == ("李雷", "li@example.com", False)
    assert made_names() == {"LiLei-2"}
    assert links(corp) == {"LiLei-2": "LiLei", "Jim": "Jim"}
    assert not LinkConflict.objects.exists()
    assert {entry.model for entry in AuditEntry.objects.filter(action="created", actor_name="root")} == {
        *("accounts.user", "accounts.wecomaccount")
    }


def test_an_administrator_of_the_company_may_create_and_others_not(corp: Corp, other_corp: Corp) -> None:
    one, elsewhere = member(corp, "LiLei"), member(other_corp, "jim")
    chief = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp))
    for role in (Role.INTEGRATION_ADMINISTRATOR, Role.READ_ONLY):
        other = signed_in(with_role(f"other-{role.name}", role, corp))
        assert CREATE not in get_list(other)
    assert chief.post(CREATE, {"member": elsewhere.pk}).status_code == 404
    assert chief.get(CREATE).status_code == 405
    assert links(corp) == links(other_corp) == {}

    assert chief.post(CREATE, {"member": one.pk}).status_code == 302
    assert links(corp) == {"LiLei": "LiLei"}


def test_nobody_is_created_for_a_member_who_cannot_be_linked(root: User, corp: Corp) -> None:
    make_person("somebody", corp, "linked")
    unfit = [
        member(corp, "back", waits_since=NOW),
        member(corp, "gone", presence="deleted", left_at=NOW),
        member(corp, "linked"),
    ]

    for one in unfit:
        with pytest.raises(LinkRefusedError):
            create_user_by_hand(member=one, editor=root)
    assert links(corp) == {"somebody": "linked"}
    assert CREATE not in get_list(signed_in(root))


@pytest.fixture
def made(corp: Corp, other_corp: Corp, admin: Client) -> User:
    make_person("lilei", other_corp, "lilei")
    admin.post(CREATE, {"member": member(corp, "LiLei").pk})
    return User.objects.get(username="LiLei-2")


def bi_identity(user: User) -> str:
    source = hooks.find_external_id_by_key(USERNAME)
    assert source is not None
    return source.find_value(user)


def test_no_identity_in_the_bi_until_an_administrator_gives_another(made: User, admin: Client) -> None:
    assert bi_identity(User.objects.get(username="lilei")) == "lilei"
    assert bi_identity(made) == ""
    page = f"/admin/accounts/user/{made.pk}/change/"

    admin.post(page, {**sent_form(admin, page), "username": "li.lei"})

    made.refresh_from_db()
    assert bi_identity(made) == "li.lei"


def test_made_for_a_rename_that_was_told_late_somebody_is_disabled(made: User, corp: Corp) -> None:
    make_person("old", corp, "old-userid")

    follow_rename(corp, "old-userid", "LiLei")

    made.refresh_from_db()
    assert not made.is_active
    assert links(corp) == {"old": "LiLei"}
