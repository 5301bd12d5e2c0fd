"""Matching people by employee number: the WeCom account, or a field of the company's own."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Attribute, AttributeValue, DirectoryPolicy, User
from integrations.directory import JOB
from integrations.models import Member, SyncRun
from tests.accounts.directory.people_of import People, links, make
from tests.browser_form import opened_with
from tests.jobs import do_jobs

FIELD = "工号"


@pytest.fixture
def attribute(people: People) -> Attribute:
    """The attribute by which alone the policy finds people; it holds the WeCom account."""
    made = Attribute.objects.create(key="number", name="工号", is_unique=True, is_employee_number=True)
    people.set_policy(match_username=False, number_attribute=made)
    return made


def numbered(attribute: Attribute, username: str, number: str, **values: Any) -> User:
    user = make(username, **values)
    AttributeValue.objects.create(
        user=user, attribute=attribute, value=number, folded=number.lower(), is_unique=attribute.is_unique
    )
    return user


def put(people: People, userid: str, *fields: dict[str, Any]) -> None:
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
    numbered(attribute, "li", "LILEI")
    make("lilei2", name="李雷")
    numbered(region, "other", "jim")

    sync(people)

    assert links(people.corp) == {"li": "LiLei"}
    assert set(Member.objects.values_list("number", flat=True)) == {None}


def test_a_field_of_the_companys_own_is_compared_with_the_attribute(people: People, attribute: Attribute) -> None:
    people.set_policy(number_field=FIELD)
    numbered(attribute, "li", "a007")
    numbered(attribute, "other", "LILEI")
    put(people, "LiLei", text("爱好", "A008"), text(FIELD, " A007 "))
    put(people, "jim", {"type": 1, "name": FIELD, "web": {"url": "https://example.com", "title": "a007"}})

    sync(people)

    assert links(people.corp) == {"li": "LiLei"}
    assert dict(Member.objects.values_list("userid", "number")) == {"LiLei": "A007", "hanmeimei": None, "jim": None}
    assert people.conflicts() == {"hanmeimei": "nobody", "jim": "nobody"}


def test_a_field_that_the_app_does_not_see_is_unknown_and_keeps_what_is_known(
    people: People, attribute: Attribute
) -> None:
    people.set_policy(number_field=FIELD)
    put(people, "LiLei", text(FIELD, "A007"))
    sync(people)
    before = list(Member.objects.order_by("pk").values())

    sync(people)

    assert list(Member.objects.order_by("pk").values()) == before
    assert SyncRun.objects.latest("pk").counts == {}
    for field, known in (((), "A007"), ((text(FIELD, ""),), "")):
        put(people, "LiLei", *field)
        sync(people)
        assert people.place.member("LiLei").number == known


def test_members_who_share_a_number_are_not_linked(people: People, attribute: Attribute) -> None:
    people.set_policy(number_field=FIELD)
    numbered(attribute, "li", "A007")
    put(people, "LiLei", text(FIELD, "A007"))
    put(people, "jim", text(FIELD, "a007"))

    sync(people)

    assert links(people.corp) == {}
    assert people.conflicts() == {"LiLei": "shared", "jim": "shared", "hanmeimei": "nobody"}


def test_what_speaks_against_a_person_speaks_against_the_number(people: People, attribute: Attribute) -> None:
    """Refuse, too, if another key names somebody else."""
    people.set_policy(match_username=True)
    numbered(attribute, "other", "lilei")
    make("lilei")
    numbered(attribute, "staff", "jim", is_staff=True)
    numbered(attribute, "off", "hanmeimei", is_active=False)

    sync(people)

    assert links(people.corp) == {}
    assert people.conflicts() == {"LiLei": "several", "jim": "protected", "hanmeimei": "disabled"}


# --- The pages --------------------------------------------------------------------------------------------------------


def test_the_policy_takes_attributes_that_are_employee_numbers(
    people: People, attribute: Attribute, admin: Client
) -> None:
    region = Attribute.objects.create(key="region", name="区域")
    path = reverse("admin:accounts_directorypolicy_change", args=[people.policy.pk])
    values = {"mode": "link", "leavers": "unlink", "number_field": FIELD, **opened_with(admin, path)}

    assert "区域" not in admin.get(path).content.decode()
    assert admin.post(path, {**values, "number_attribute": region.pk}).status_code == 200
    assert "请选择与之对应的用户属性" in admin.post(path, {**values, "match_username": "on"}).content.decode()
    assert admin.post(path, {**values, "number_attribute": attribute.pk}).status_code == 302

    found = DirectoryPolicy.objects.get()
    assert (found.number_attribute, found.number_field, found.match_username) == (attribute, FIELD, False)


def test_many_are_linked_by_the_number_of_the_policy(people: People, attribute: Attribute, admin: Client) -> None:
    people.set_policy(mode="off")
    sync(people)
    numbered(attribute, "li", "lilei")
    path = reverse("admin:accounts_linkconflict_bulk")

    admin.post(path, {"corp": people.corp.pk, "match_number": "on"})

    assert links(people.corp) == {"li": "LiLei"}
    DirectoryPolicy.objects.all().delete()
    page = admin.get(f"{path}?corp={people.corp.pk}&match_number=on").content.decode()
    assert "该公司的通讯录策略未设置工号" in page
