"""From the directory of WeCom to people here, through the sandbox over HTTP: linked, created, updated, let go."""

from __future__ import annotations

from datetime import datetime
from itertools import count

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.directory.sync import people_run_of
from accounts.models import AuditEntry, DirectoryPolicy, LinkConflict, PeopleRun, User, WeComAccount
from integrations.directory import admit_member
from integrations.models import Member
from notifications.sources import Audience
from notifications.subscriptions.recipients import resolve_audience
from tests.accounts.conftest import make_corp
from tests.accounts.directory.people_of import People, apply, links, make
from tests.audit import clear_trail

EVERYBODY = {"LiLei", "hanmeimei", "jim"}


def test_a_policy_that_is_off_changes_nobody(people: People) -> None:
    people.set_policy(mode="off")
    make("lilei")

    assert people.counts() == {}
    assert links(people.corp) == {}
    assert people.conflicts() == {}


def test_a_company_without_a_policy_is_one_that_is_off(people: People) -> None:
    people.policy.delete()
    make("lilei")

    assert people.counts() == {}
    assert links(people.corp) == {}


# --- Linking ----------------------------------------------------------------------------------------------------------


def test_people_are_linked_by_username_in_whatever_letters(people: People) -> None:
    make("lilei")
    make("HanMeimei")

    assert people.counts() == {"linked": 2}
    assert links(people.corp) == {"lilei": "LiLei", "HanMeimei": "hanmeimei"}
    assert people.conflicts() == {"jim": "nobody"}
    assert User.objects.count() == 2


def test_nobody_is_ever_linked_by_name(people: People) -> None:
    people.set_policy(mode="link", match_email=True, match_mobile=True)
    make("somebody", name="李雷")
    make("jim-b", name="Jim")

    assert people.counts() == {}
    assert links(people.corp) == {}


def test_a_key_that_is_not_allowed_links_nobody(people: People) -> None:
    people.set_policy(match_username=False, match_email=True)
    make("lilei", mobile="13000000001")

    assert people.counts() == {}


def test_people_are_linked_by_email_and_by_mobile_where_that_is_allowed(people: People) -> None:
    people.set_policy(match_username=False, match_email=True, match_mobile=True)
    make("a1", email="Han@Example.com")
    make("a2", mobile="13000000001")

    assert people.counts() == {"linked": 2}
    assert links(people.corp) == {"a1": "hanmeimei", "a2": "LiLei"}


def test_an_account_that_only_lacks_the_userid_is_filled_in(people: People) -> None:
    lilei = User.objects.create_user("lilei", password="secret-1")
    account = WeComAccount.objects.create(user=lilei, corp=people.corp)

    assert people.counts() == {"linked": 1}
    account.refresh_from_db()
    assert (account.userid, account.userid_folded, account.is_primary) == ("LiLei", "lilei", True)
    assert WeComAccount.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"is_staff": True}, "protected"),
        ({"is_superuser": True}, "protected"),
        ({"is_active": False}, "disabled"),
        ({"password": "pbkdf2_sha256$1$a$b"}, "password_only"),
    ],
)
def test_some_people_are_left_to_an_administrator(people: People, values: dict[str, object], reason: str) -> None:
    person = User.objects.create(**{"username": "lilei", "password": "!", **values})
    before = User.objects.filter(pk=person.pk).values().get()

    assert people.counts() == {}
    assert people.conflicts()["LiLei"] == reason
    assert User.objects.filter(pk=person.pk).values().get() == before
    assert links(people.corp) == {}


def test_somebody_of_another_company_is_not_linked(people: People) -> None:
    other = make_corp("南湖贸易", 7)
    WeComAccount.objects.create(user=make("lilei"), corp=other, userid="lilei")

    assert people.counts() == {}
    assert people.conflicts()["LiLei"] == "other_company"


def test_somebody_with_another_account_of_the_company_is_not_linked(people: People) -> None:
    WeComAccount.objects.create(user=make("lilei"), corp=people.corp, userid="lilei-old")

    assert people.counts() == {}
    assert people.conflicts()["LiLei"] == "other_account"


def test_an_account_without_a_company_is_left_to_an_administrator(people: People) -> None:
    people.set_policy(mode="create")
    WeComAccount.objects.create(user=make("li"), userid="LiLei")

    people.sync()

    assert people.conflicts() == {"LiLei": "company_missing"}
    assert not User.objects.filter(username="LiLei").exists()


def test_two_people_with_one_email_are_reported_and_not_linked(people: People) -> None:
    people.set_policy(match_username=False, match_email=True)
    make("a1", email="han@example.com")
    make("a2", email="han@example.com")

    assert people.counts() == {}
    assert people.conflicts()["hanmeimei"] == "several"


def test_two_members_who_would_be_one_person_are_reported_and_not_linked(people: People) -> None:
    people.set_policy(match_email=True, match_mobile=True)
    make("both", email="han@example.com", mobile="13000000001")

    assert people.counts() == {}
    found = people.conflicts()
    assert (found["hanmeimei"], found["LiLei"]) == ("several", "several")


def test_keys_that_name_different_people_are_reported(people: People) -> None:
    people.set_policy(match_mobile=True)
    make("lilei")
    make("other", mobile="13000000001")

    assert people.counts() == {}
    assert people.conflicts()["LiLei"] == "several"


def test_two_members_with_one_email_are_reported_and_not_linked(people: People) -> None:
    people.set_policy(match_username=False, match_email=True)
    people.sync()
    Member.objects.filter(userid__in=["jim", "hanmeimei"]).update(email="han@example.com")
    make("a1", email="han@example.com")

    run = people.place.sync()
    Member.objects.filter(userid="jim").update(email="han@example.com")
    apply(run, people.place.clock)

    assert links(people.corp) == {}
    assert {people.conflicts()[one] for one in ("jim", "hanmeimei")} == {"shared"}


def test_a_conflict_goes_away_with_its_reason(people: People) -> None:
    people.sync()
    assert set(people.conflicts()) == EVERYBODY
    since = LinkConflict.objects.get(member__userid="jim").since
    make("lilei")

    people.sync()

    assert set(people.conflicts()) == {"hanmeimei", "jim"}
    assert LinkConflict.objects.get(member__userid="jim").since == since


# --- Creating and updating --------------------------------------------------------------------------------------------


def test_people_are_created_with_what_wecom_tells_and_without_a_password(people: People) -> None:
    people.set_policy(mode="create")

    assert people.counts() == {"created": 3}
    assert links(people.corp) == {"LiLei": "LiLei", "hanmeimei": "hanmeimei", "jim": "jim"}
    lilei = User.objects.get(username="LiLei")
    assert (lilei.name, lilei.mobile, lilei.email, lilei.is_active) == ("李雷", "13000000001", "", True)
    assert not lilei.has_usable_password()
    assert (lilei.is_staff, lilei.is_superuser) == (False, False)
    assert lilei.wecom_accounts.get().is_primary


def test_a_username_that_is_taken_creates_nobody(people: People) -> None:
    people.set_policy(mode="create", match_username=False)
    make("lilei")

    people.sync()

    assert people.conflicts() == {"LiLei": "username_taken"}
    assert set(links(people.corp)) == {"hanmeimei", "jim"}


def test_people_follow_what_wecom_tells(people: People) -> None:
    people.set_policy(mode="create")
    people.sync()
    people.put("LiLei", name="李磊", mobile="13000000009", department=[2])

    assert people.counts() == {"updated": 1}
    lilei = User.objects.get(username="LiLei")
    assert (lilei.name, lilei.mobile) == ("李磊", "13000000009")


def test_the_newer_of_two_accounts_tells_and_a_second_run_changes_nothing(people: People) -> None:
    people.set_policy(mode="create")
    people.sync()
    lilei = User.objects.get(username="LiLei")
    WeComAccount.objects.filter(userid="jim").update(user=lilei, is_primary=False)
    User.objects.filter(pk=lilei.pk).update(name="somebody")
    newest = WeComAccount.objects.filter(user=lilei).latest("pk").userid

    assert people.counts() == {"updated": 1}
    assert User.objects.get(pk=lilei.pk).name == Member.objects.get(userid=newest).name
    assert people.counts() == {}


def test_the_company_mail_counts_where_there_is_no_other(people: People) -> None:
    people.set_policy(mode="create")
    people.put("LiLei", department=[2], biz_mail="work@example.com")
    people.sync()

    assert User.objects.get(username="LiLei").email == "work@example.com"


def test_linking_only_leaves_names_as_they_are(people: People) -> None:
    make("lilei", name="Li Lei")
    people.sync()
    people.put("LiLei", name="李磊", department=[2])

    assert people.counts() == {}
    assert User.objects.get(username="lilei").name == "Li Lei"


def test_what_wecom_withholds_stays(people: People) -> None:
    people.set_policy(mode="create")
    run = people.place.sync()
    Member.objects.update(mobile=None, email=None, biz_mail=None, name=None)
    make("lilei", name="Li Lei", email="li@example.com", mobile="13000000005")

    apply(run, people.place.clock)

    lilei = User.objects.get(username="lilei")
    assert (lilei.name, lilei.email, lilei.mobile) == ("Li Lei", "li@example.com", "13000000005")


def test_the_spelling_of_a_userid_follows(people: People) -> None:
    WeComAccount.objects.create(user=make("li"), corp=people.corp, userid="LILEI")

    assert people.counts() == {"respelled": 1}
    assert links(people.corp) == {"li": "LiLei"}


# --- Leaving and coming back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leavers", "is_active"), [("disable", False), ("unlink", True)])
def test_a_leaver_is_unlinked_and_disabled_as_the_policy_says(people: People, leavers: str, is_active: bool) -> None:
    people.set_policy(mode="create", leavers=leavers)
    people.sync()
    people.place.delete_member("LiLei")

    counts = people.counts()

    assert counts == {"unlinked": 1} | ({} if is_active else {"disabled": 1})
    lilei = User.objects.get(username="LiLei")
    assert lilei.is_active is is_active
    account = lilei.wecom_accounts.get()
    assert (account.corp, account.userid, account.userid_folded) == (people.corp, "", "")
    assert people.counts() == {}


def test_a_leaver_with_another_companys_account_is_only_unlinked_and_receives_there(people: People) -> None:
    people.set_policy(mode="create")
    people.sync()
    lilei = User.objects.get(username="LiLei")
    other = make_corp("南湖贸易", 7)
    there = WeComAccount.objects.create(user=lilei, corp=other, userid="lilei", is_primary=False)
    people.place.delete_member("LiLei")

    assert people.counts() == {"unlinked": 1}
    lilei.refresh_from_db()
    assert lilei.is_active
    assert lilei.wecom_accounts.get(is_primary=True) == there
    everybody = Audience(to_everyone=True, corp_id=other.pk)
    assert [(one.user_id, one.corp_id, one.reason) for one in resolve_audience(everybody)] == [
        (lilei.pk, other.pk, None)
    ]
    trail = AuditEntry.objects.order_by("pk").values_list("object_id", "changes")
    moved = [(key, some) for key, some in trail if "is_primary" in some[0]]
    left = lilei.wecom_accounts.get(corp=people.corp)
    assert dict(moved) == {
        left.pk: [["is_primary", True, False]],
        there.pk: [["is_primary", False, True]],
    }
    assert people.counts() == {}


def test_who_is_disabled_in_one_company_receives_in_the_other(people: People) -> None:
    people.set_policy(mode="create")
    people.sync()
    lilei = User.objects.get(username="LiLei")
    there = WeComAccount.objects.create(user=lilei, corp=make_corp("南湖贸易", 7), userid="lilei", is_primary=False)
    people.put("LiLei", status=2)

    people.sync()

    assert lilei.wecom_accounts.get(is_primary=True) == there
    assert lilei.wecom_accounts.get(corp=people.corp).userid == "LiLei"


@pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
def test_who_may_enter_the_administration_is_never_touched(people: People, right: str) -> None:
    people.set_policy(mode="create")
    people.sync()
    User.objects.filter(username="LiLei").update(**{right: True})
    before = User.objects.filter(username="LiLei").values().get()
    accounts = list(WeComAccount.objects.filter(user__username="LiLei").values())
    people.put("LiLei", name="李磊", department=[2])
    people.sync()
    people.place.delete_member("LiLei")

    assert people.counts() == {}
    assert User.objects.filter(username="LiLei").values().get() == before
    assert list(WeComAccount.objects.filter(user__username="LiLei").values()) == accounts


def test_a_person_without_account_is_never_disabled(people: People) -> None:
    User.objects.create_user("bi-only", password="secret-1")
    people.sync()
    people.place.delete_member("jim")
    people.sync()

    assert User.objects.get(username="bi-only").is_active


def test_a_userid_that_comes_back_waits_for_an_administrator(people: People) -> None:
    people.set_policy(mode="create")
    people.sync()
    people.place.delete_member("LiLei")
    people.sync()
    people.put("LiLei", name="别人", department=[2])

    assert people.counts() == {}
    assert people.conflicts() == {"LiLei": "came_back"}
    assert "LiLei" not in links(people.corp)

    assert admit_member(member=people.place.member("LiLei"), now=people.place.clock())
    people.sync()

    # The user of before is disabled: whether it is the same person, the administrator says by linking by hand.
    assert people.conflicts() == {"LiLei": "disabled"}
    assert "LiLei" not in links(people.corp)


@pytest.mark.parametrize("how", ["scope", "status"])
def test_who_is_out_of_scope_or_disabled_is_barred_and_comes_back_by_themselves(people: People, how: str) -> None:
    people.set_policy(mode="create")
    people.sync()
    accounts = list(WeComAccount.objects.order_by("pk").values())
    assert WeComAccount.objects.signing_in().count() == 3

    if how == "scope":
        people.place.set_scope(partyids=[3, 4])
    else:
        people.put("LiLei", name="李雷", department=[2], status=2)
    assert people.counts() == {}
    barred = set(links(people.corp)) - set(WeComAccount.objects.signing_in().values_list("user__username", flat=True))
    assert barred == {"LiLei"}
    assert User.objects.get(username="LiLei").is_active

    if how == "scope":
        people.place.set_scope(partyids=[1])
    else:
        people.put("LiLei", name="李雷", department=[2], status=1)
    assert people.counts() == {}
    assert WeComAccount.objects.signing_in().count() == 3
    assert list(WeComAccount.objects.order_by("pk").values()) == accounts


# --- The run ----------------------------------------------------------------------------------------------------------


def test_nothing_is_written_when_nothing_changed(people: People) -> None:
    people.set_policy(mode="create", match_email=True, match_mobile=True)
    make("other", email="han@example.com")
    people.sync()
    run = people.place.sync()

    with CaptureQueriesContext(connection) as queries:
        done = apply(run, people.place.clock)

    assert {name: count for name, count in done.counts.items() if count} == {}
    changing = [one["sql"] for one in queries if one["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert {sql.split('"')[1] for sql in changing} == {"accounts_peoplerun", "integrations_job"}


def test_a_run_goes_on_behind_the_last_whole_step(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.directory.sync.STEP", 1)
    people.set_policy(mode="create")
    run = people.place.sync()
    ticks = iter(range(3))

    def dying_clock() -> datetime:
        next(ticks)  # the worker dies at the fourth look at the clock, after its first step
        return people.place.clock()

    with pytest.raises(StopIteration):
        apply(run, dying_clock)
    dead = people_run_of(run)
    assert (dead.status, dead.done_count) == (PeopleRun.Status.RUNNING, 1)
    made = set(links(people.corp))

    done = apply(run, people.place.clock)

    assert (done.status, done.done_count, done.counts["created"]) == ("done", 3, 3)
    assert made < set(links(people.corp)) == EVERYBODY
    assert apply(run, people.place.clock).pk == done.pk


def test_an_older_run_is_overtaken(people: People) -> None:
    people.set_policy(mode="create")
    first, second = people.place.sync(), people.place.sync()
    people_run_of(first)

    assert apply(second, people.place.clock).status == "done"
    assert people_run_of(first).status == "overtaken"
    assert len(links(people.corp)) == 3


def test_switching_the_policy_off_stops_a_run_at_the_next_step(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.directory.sync.STEP", 1)
    people.set_policy(mode="create")
    run = people.place.sync()

    ticks = count(1)

    def clock() -> datetime:
        if next(ticks) == 4:  # within the second step
            people.set_policy(mode="off")
        return people.place.clock()

    done = apply(run, clock)

    assert (done.status, done.counts["created"]) == ("done", 2)


def test_what_happened_to_people_stands_in_the_trail(people: People) -> None:
    people.set_policy(mode="create")
    people.sync()
    people.place.delete_member("LiLei")
    clear_trail()

    people.sync()

    found = [(one.model, one.action, one.changes, one.corp_id) for one in AuditEntry.objects.order_by("pk")]
    assert found == [
        ("accounts.wecomaccount", "changed", [["userid", "LiLei", None]], people.corp.pk),
        ("accounts.user", "changed", [["is_active", True, False]], people.corp.pk),
    ]


def test_a_changed_policy_stands_in_the_trail(people: People) -> None:
    clear_trail()

    people.policy.mode = DirectoryPolicy.Mode.CREATE
    people.policy.save()

    entry = AuditEntry.objects.get()
    assert (entry.model, entry.changes, entry.corp_id) == (
        "accounts.directorypolicy",
        [["mode", "link", "create"]],
        people.corp.pk,
    )


def test_queries_do_not_grow_with_the_number_of_people(people: People) -> None:
    people.set_policy(mode="create", match_email=True, match_mobile=True)
    few = people.place.sync()
    with CaptureQueriesContext(connection) as for_few:
        apply(few, people.place.clock)
    people.place.put_members(
        *({"userid": f"p{n}", "name": f"P{n}", "department": [1], "email": f"p{n}@example.com"} for n in range(60))
    )
    many = people.place.sync()

    with CaptureQueriesContext(connection) as for_many:
        done = apply(many, people.place.clock)

    assert done.counts["created"] == 60
    assert len(for_many) <= len(for_few) + 2
