"""The directory of WeCom, through the sandbox over HTTP, applied to people: linked, also by employee number, created,
updated, deactivated."""

from datetime import datetime
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import (
    Attribute,
    AuditEntry,
    DirectoryPolicy,
    LinkConflict,
    User,
    WeComAccount,
)
from accounts.users.attributes import set_values
from integrations.directory.sync import JOB, admit_member
from integrations.models import Member, SyncRun
from notifications.sources import Audience
from notifications.subscriptions.recipients import resolve_audience
from tests.accounts.conftest import make_corp
from tests.accounts.directory.people_of import People, apply, links, make
from tests.audit import clear_trail
from tests.browser_form import read_page_version
from tests.jobs import do_jobs

EVERYBODY = {"LiLei", "hanmeimei", "jim"}


@pytest.mark.parametrize("is_there", [True, False])
def test_a_policy_that_is_off_or_not_there_changes_nobody(people: People, is_there: bool) -> None:
    people.set_policy(mode="off") if is_there else people.policy.delete()
    make("lilei")

    assert people.counts() == {}
    assert links(people.corp) == {}
    assert people.conflicts() == {}


def test_people_are_linked_by_username_in_whatever_letters(people: People) -> None:
    """Fill in an account that lacks only the userid."""
    lilei = User.objects.create_user("lilei", password="secret-1")
    account = WeComAccount.objects.create(user=lilei, corp=people.corp)
    make("HanMeimei")

    assert people.counts() == {"linked": 2}
    assert links(people.corp) == {"lilei": "LiLei", "HanMeimei": "hanmeimei"}
    assert people.conflicts() == {"jim": "nobody"}
    assert User.objects.count() == 2
    account.refresh_from_db()
    assert (account.userid, account.userid_folded, account.is_primary) == ("LiLei", "lilei", True)
    assert WeComAccount.objects.count() == 2


def test_people_are_linked_by_email_and_by_mobile_where_that_is_allowed_and_never_by_name(people: People) -> None:
    people.set_policy(match_username=False, match_email=True)
    make("lilei", name="李雷", mobile="13000000001")
    make("somebody", name="李雷")
    make("jim-b", name="Jim")
    assert people.counts() == {}

    people.set_policy(match_mobile=True)
    make("a1", email="Han@Example.com")

    assert people.counts() == {"linked": 2}
    assert links(people.corp) == {"a1": "hanmeimei", "lilei": "LiLei"}


def test_some_people_are_left_to_an_administrator(people: People) -> None:
    people.set_policy(match_email=True, match_mobile=True)
    alone: dict[str, dict[str, object]] = {
        "staff": {"is_staff": True},
        "boss": {"is_superuser": True},
        "off": {"is_active": False},
        "bi": {"password": "pbkdf2_sha256$1$a$b"},
        "elsewhere": {},
        "second": {},
        "mixed": {},
    }
    users = {name: User.objects.create(**{"username": name, "password": "!", **alone[name]}) for name in alone}
    for name in (*alone, "nameless"):
        people.put(name)
    WeComAccount.objects.create(user=users["elsewhere"], corp=make_corp("南湖贸易", 7), userid="elsewhere")
    WeComAccount.objects.create(user=users["second"], corp=people.corp, userid="second-old")
    WeComAccount.objects.create(user=make("n"), userid="NameLess")
    people.put("mixed", mobile="13000000008")
    make("other", mobile="13000000008")
    people.put("twins", email="twins@example.com")
    make("twin1", email="twins@example.com")
    make("twin2", email="twins@example.com")
    make("both", email="han@example.com", mobile="13000000001")
    before = list(User.objects.order_by("pk").values())

    assert people.counts() == {}

    assert people.conflicts() == {
        **{"staff": "protected", "boss": "protected", "off": "disabled", "bi": "password_only"},
        **{"elsewhere": "other_company", "second": "other_account", "nameless": "company_missing"},
        **dict.fromkeys(("mixed", "twins", "hanmeimei", "LiLei"), "several"),
        "jim": "nobody",
    }
    assert list(User.objects.order_by("pk").values()) == before
    assert links(people.corp) == {"second": "second-old"}


def test_members_with_one_email_are_reported_and_a_conflict_goes_away_with_its_reason(people: People) -> None:
    people.set_policy(match_email=True)
    make("a1", email="han@example.com")
    run = people.place.sync()
    Member.objects.filter(userid="jim").update(email="Han@Example.com")

    apply(run, people.place.clock)

    assert people.conflicts() == {"LiLei": "nobody", "jim": "shared", "hanmeimei": "shared"}
    assert links(people.corp) == {}
    User.objects.get(username="a1").delete()
    make("lilei")
    people.sync()
    assert people.conflicts() == {"jim": "nobody", "hanmeimei": "nobody"}
    since = set(LinkConflict.objects.values_list("member__userid", "since"))
    people.sync()
    assert set(LinkConflict.objects.values_list("member__userid", "since")) == since


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
    """Use the company's e-mail if there is no other."""
    people.set_policy(mode="create")
    people.sync()
    people.put("LiLei", name="李磊", mobile="13000000009", department=[2], biz_mail="work@example.com")

    assert people.counts() == {"updated": 1}
    lilei = User.objects.get(username="LiLei")
    assert (lilei.name, lilei.mobile, lilei.email) == ("李磊", "13000000009", "work@example.com")


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


def test_linking_only_leaves_names_as_they_are_and_follows_the_spelling(people: People) -> None:
    WeComAccount.objects.create(user=make("lilei", name="Li Lei"), corp=people.corp, userid="LILEI")
    assert people.counts() == {"respelled": 1}
    people.put("LiLei", name="李磊", department=[2])

    assert people.counts() == {}
    assert links(people.corp) == {"lilei": "LiLei"}
    assert User.objects.get(username="lilei").name == "Li Lei"


def test_what_wecom_withholds_stays(people: People) -> None:
    people.set_policy(mode="create")
    run = people.place.sync()
    Member.objects.update(mobile=None, email=None, biz_mail=None, name=None)
    make("lilei", name="Li Lei", email="li@example.com", mobile="13000000005")

    apply(run, people.place.clock)

    lilei = User.objects.get(username="lilei")
    assert (lilei.name, lilei.email, lilei.mobile) == ("Li Lei", "li@example.com", "13000000005")


@pytest.mark.parametrize(("leavers", "is_active"), [("disable", False), ("unlink", True)])
def test_a_leaver_is_unlinked_and_disabled_as_the_policy_says(people: People, leavers: str, is_active: bool) -> None:
    people.set_policy(mode="create", leavers=leavers)
    people.sync()
    User.objects.create_user("bi-only", password="secret-1")
    people.place.delete_member("LiLei")
    clear_trail()

    counts = people.counts()

    assert counts == {"unlinked": 1} | ({} if is_active else {"disabled": 1})
    lilei = User.objects.get(username="LiLei")
    assert (lilei.is_active, User.objects.get(username="bi-only").is_active) == (is_active, True)
    account = lilei.wecom_accounts.get()
    assert (account.corp, account.userid, account.userid_folded) == (people.corp, "", "")
    trail: list[tuple[object, ...]] = [
        ("accounts.wecomaccount", "changed", [["userid", "LiLei", None]], people.corp.pk)
    ]
    if not is_active:
        trail.append(("accounts.user", "changed", [["is_active", True, False]], people.corp.pk))
    assert list(AuditEntry.objects.order_by("pk").values_list("model", "action", "changes", "corp")) == trail
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


def test_who_may_enter_the_administration_is_never_touched(people: People) -> None:
    people.set_policy(mode="create")
    people.sync()
    User.objects.filter(username="LiLei").update(is_staff=True)
    User.objects.filter(username="jim").update(is_superuser=True)

    def stored() -> list[dict[str, object]]:
        return [dict(row) for model in (User, WeComAccount) for row in model._default_manager.order_by("pk").values()]

    before = stored()
    people.put("LiLei", name="李磊", department=[2])
    people.sync()
    people.place.delete_member("LiLei")
    people.place.delete_member("jim")

    assert people.counts() == {}
    assert stored() == before


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

    # The former user is disabled. An administrator decides whether it is the same person, by linking by hand.
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


def test_nothing_is_written_when_nothing_changed(people: People) -> None:
    people.set_policy(mode="create", match_email=True, match_mobile=True)
    make("other", email="han@example.com")
    people.sync()
    run = people.place.sync()

    with CaptureQueriesContext(connection) as queries:
        done = apply(run, people.place.clock)

    assert {name: count for name, count in done.applied_counts.items() if count} == {}
    changing = [one["sql"] for one in queries if one["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert {sql.split('"')[1] for sql in changing} == {"integrations_syncrun", "integrations_job"}


def test_a_run_whose_worker_died_begins_anew_and_keeps_what_was_applied(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.directory.sync.STEP", 1)
    people.set_policy(mode="create")
    run = people.place.sync()
    ticks = iter(range(1))

    def dying_clock() -> datetime:
        next(ticks)  # the worker dies at the second read of the clock, after its first step
        return people.place.clock()

    with pytest.raises(StopIteration):
        apply(run, dying_clock)
    run.refresh_from_db()
    assert (run.applied_at, run.applied_count) == (None, 1)
    made = set(links(people.corp))

    done = apply(run, people.place.clock)

    assert (done.applied_at is not None, done.applied_count, done.applied_counts["created"]) == (True, 3, 3)
    assert made < set(links(people.corp)) == EVERYBODY


def test_switching_the_policy_off_stops_a_run_at_the_next_step(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.directory.sync.STEP", 1)
    people.set_policy(mode="create")
    run = people.place.sync()

    ticks = count(1)

    def clock() -> datetime:
        if next(ticks) == 2:  # within the second step
            people.set_policy(mode="off")
        return people.place.clock()

    done = apply(run, clock)

    assert (done.applied_at is not None, done.applied_counts["created"]) == (True, 2)


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

    assert done.applied_counts["created"] == 60
    assert len(for_many) <= len(for_few) + 2


FIELD = "工号"


@pytest.fixture
def attribute(people: People, number: Attribute) -> Attribute:
    """The attribute by which alone the policy finds people; it holds the WeCom account."""
    people.set_policy(match_username=False, number_attribute=number)
    return number


def make_numbered(attribute: Attribute, username: str, number: str, **values: Any) -> User:
    user = make(username, **values)
    set_values(attribute=attribute, values={user.pk: [number]})
    return user


def put_with_fields(people: People, userid: str, *fields: dict[str, Any]) -> None:
    people.put(userid, extattr={"attrs": list(fields)})


def text(name: str, value: str) -> dict[str, Any]:
    return {"type": 0, "name": name, "text": {"value": value}}


def sync(people: People) -> None:
    """Do both halves as a worker does: the policy names the field."""
    run = people.place.request()
    do_jobs(JOB)
    run.refresh_from_db()
    assert run.status == SyncRun.Status.DONE


def test_the_wecom_account_is_the_number_where_no_field_is_named(people: People, attribute: Attribute) -> None:
    region = Attribute.objects.create(key="region", name="区域", is_unique=True)
    make_numbered(attribute, "li", "LILEI")
    make("lilei2", name="李雷")
    make_numbered(region, "other", "jim")

    sync(people)

    assert links(people.corp) == {"li": "LiLei"}
    assert set(Member.objects.values_list("number", flat=True)) == {None}


def test_a_field_of_the_companys_own_is_compared_with_the_attribute(people: People, attribute: Attribute) -> None:
    people.set_policy(number_field=FIELD)
    make_numbered(attribute, "li", "a007")
    make_numbered(attribute, "other", "LILEI")
    put_with_fields(people, "LiLei", text("爱好", "A008"), text(FIELD, " A007 "))
    put_with_fields(people, "jim", {"type": 1, "name": FIELD, "web": {"url": "https://example.com", "title": "a007"}})

    sync(people)

    assert links(people.corp) == {"li": "LiLei"}
    assert dict(Member.objects.values_list("userid", "number")) == {"LiLei": "A007", "hanmeimei": None, "jim": None}
    assert people.conflicts() == {"hanmeimei": "nobody", "jim": "nobody"}


def test_a_field_that_the_app_does_not_see_is_unknown_and_keeps_what_is_known(
    people: People, attribute: Attribute
) -> None:
    people.set_policy(number_field=FIELD)
    put_with_fields(people, "LiLei", text(FIELD, "A007"))
    sync(people)
    before = list(Member.objects.order_by("pk").values())

    sync(people)

    assert list(Member.objects.order_by("pk").values()) == before
    assert SyncRun.objects.latest("pk").counts == {}
    for field, known in (((), "A007"), ((text(FIELD, ""),), "")):
        put_with_fields(people, "LiLei", *field)
        sync(people)
        assert people.place.member("LiLei").number == known


def test_members_who_share_a_number_are_not_linked(people: People, attribute: Attribute) -> None:
    people.set_policy(number_field=FIELD)
    make_numbered(attribute, "li", "A007")
    put_with_fields(people, "LiLei", text(FIELD, "A007"))
    put_with_fields(people, "jim", text(FIELD, "a007"))

    sync(people)

    assert links(people.corp) == {}
    assert people.conflicts() == {"LiLei": "shared", "jim": "shared", "hanmeimei": "nobody"}


def test_what_speaks_against_a_person_speaks_against_the_number(people: People, attribute: Attribute) -> None:
    """Refuse, too, if another key names somebody else."""
    people.set_policy(match_username=True)
    make_numbered(attribute, "other", "lilei")
    make("lilei")
    make_numbered(attribute, "staff", "jim", is_staff=True)
    make_numbered(attribute, "off", "hanmeimei", is_active=False)

    sync(people)

    assert links(people.corp) == {}
    assert people.conflicts() == {"LiLei": "several", "jim": "protected", "hanmeimei": "disabled"}


def test_the_policy_takes_attributes_that_are_employee_numbers(
    people: People, attribute: Attribute, admin: Client
) -> None:
    region = Attribute.objects.create(key="region", name="区域")
    path = reverse("admin:accounts_directorypolicy_change", args=[people.policy.pk])
    values = {"mode": "link", "leavers": "unlink", "number_field": FIELD, **read_page_version(admin, path)}

    assert "区域" not in admin.get(path).content.decode()
    assert admin.post(path, {**values, "number_attribute": region.pk}).status_code == 200
    assert "请选择与之对应的人员属性" in admin.post(path, {**values, "match_username": "on"}).content.decode()
    assert admin.post(path, {**values, "number_attribute": attribute.pk}).status_code == 302

    found = DirectoryPolicy.objects.get()
    assert (found.number_attribute, found.number_field, found.match_username) == (attribute, FIELD, False)


def test_many_are_linked_by_the_number_of_the_policy(people: People, attribute: Attribute, admin: Client) -> None:
    people.set_policy(mode="off")
    sync(people)
    make_numbered(attribute, "li", "lilei")
    path = reverse("admin:accounts_linkconflict_bulk")

    admin.post(path, {"corp": people.corp.pk, "match_number": "on"})

    assert links(people.corp) == {"li": "LiLei"}
    DirectoryPolicy.objects.all().delete()
    page = admin.get(f"{path}?corp={people.corp.pk}&match_number=on").content.decode()
    assert "该公司的通讯录策略未设置工号" in page
