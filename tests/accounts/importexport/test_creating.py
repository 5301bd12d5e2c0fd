"""Imports that create people: only if asked for, shown before, and by those who may add people."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission

from accounts.importexport import jobs
from accounts.models import Attribute, AuditEntry, ImportRow, PeopleImport, User, WeComAccount
from accounts.users.attributes import find_values
from integrations.models import Corp
from tests.accounts.conftest import make_person
from tests.accounts.importexport.files import (
    NOW,
    confirm_and_write,
    csv_bytes,
    read_changes,
    read_refusals,
    upload_and_read,
    wecom_file,
    wecom_row,
)
from tests.accounts.people import signed_in

HEADER = ["用户名", "姓名", "邮箱", "企业微信公司名称", "企业微信账号", "区域"]
UPLOAD = "/admin/accounts/peopleimport/add/"
Status = PeopleImport.Status


def planned(run: PeopleImport) -> list[tuple[int, list[list[Any]]]]:
    rows = ImportRow.objects.filter(run=run, outcome="create").order_by("number")
    return list(rows.values_list("number", "changes"))


@pytest.fixture
def importer(db: None) -> User:
    """A person who may import and change people, but not add any."""
    user = User.objects.create(username="importer", is_staff=True, manages_all_corps=True)
    wanted = ("add_peopleimport", "view_peopleimport", "change_user", "view_user")
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted, content_type__app_label="accounts"))
    return user


@pytest.fixture
def sheet(corp: Corp, person: User, region: Attribute) -> bytes:
    """A file with somebody who is here and somebody who is not."""
    return csv_bytes(
        HEADER,
        ["lilei", "李雷雷", "", corp.name, "LiLei", ""],
        ["hanmei", "韩梅梅", "hanmei@example.com", corp.name, "HanMei", "华东"],
    )


def test_nobody_is_created_unless_asked_for(editor: User, sheet: bytes) -> None:
    run = upload_and_read(editor, sheet)

    assert (read_refusals(run), planned(run)) == ([(3, "nobody")], [])


def test_who_would_be_created_is_shown_and_then_created(
    editor: User, corp: Corp, region: Attribute, sheet: bytes
) -> None:
    run = upload_and_read(editor, sheet, creates_people=True)
    client, page = signed_in(editor), f"/admin/accounts/peopleimport/{run.pk}/change/"

    assert not User.objects.filter(username="hanmei").exists()
    assert run.counts == {"same": 0, "change": 1, "create": 1}
    assert [number for number, _changes in read_changes(run)] == [2]
    [(number, changes)] = planned(run)
    assert (number, changes) == (
        3,
        [
            ["username", None, "hanmei"],
            ["name", None, "韩梅梅"],
            ["email", None, "hanmei@example.com"],
            ["company", None, corp.name],
            ["userid", None, "HanMei"],
            ["a:region", None, "华东"],
        ],
    )
    shown = client.get(f"{page}?show=create").text
    assert "韩梅梅" in shown
    assert "新建 1 人，修改 1 人" in shown

    done = confirm_and_write(run, "all")

    assert (done.status, done.counts) == (Status.DONE, {"same": 0, "applied": 1, "created": 1})
    made = User.objects.get(username="hanmei")
    assert (made.name, made.email, made.is_active, made.is_staff) == ("韩梅梅", "hanmei@example.com", True, False)
    assert not made.has_usable_password()
    [account] = WeComAccount.objects.filter(user=made)
    assert (account.corp, account.userid, account.is_primary) == (corp, "HanMei", True)
    assert find_values(attribute=region, users=[made.pk]) == {made.pk: ["华东"]}
    entry = AuditEntry.objects.get(model="accounts.user", object_id=made.pk, action="created")
    assert entry.actor == editor


def test_a_repeat_creates_nobody_twice(editor: User, sheet: bytes) -> None:
    confirm_and_write(upload_and_read(editor, sheet, creates_people=True))
    again = upload_and_read(editor, sheet, creates_people=True)

    assert again.counts == {"same": 2}


def test_the_file_of_wecom_creates_people_by_their_accounts(editor: User, corp: Corp) -> None:
    content = wecom_file(wecom_row("韩梅梅", "HanMei", "13800138000", "hanmei@example.com"))
    done = confirm_and_write(upload_and_read(editor, content, corp=corp, creates_people=True))

    made = User.objects.get(username="HanMei")
    assert done.counts == {"same": 0, "created": 1}
    assert (made.name, made.mobile, made.email) == ("韩梅梅", "13800138000", "hanmei@example.com")
    assert WeComAccount.objects.get(user=made).corp == corp


@pytest.mark.parametrize(
    ("username", "reason"), [("a b", "bad_username"), ("HANMEI", "twice_person"), ("x" * 151, "bad_username")]
)
def test_a_name_that_cannot_be_one_is_refused(editor: User, username: str, reason: str) -> None:
    run = upload_and_read(editor, csv_bytes(HEADER[:2], ["hanmei", "韩"], [username, "李"]), creates_people=True)

    assert read_refusals(run) == [(3, reason)]


class TestWhoMay:
    def test_the_choice_is_offered_to_those_who_may_add_people(self, editor: User, importer: User) -> None:
        assert 'name="creates_people"' in signed_in(editor).get(UPLOAD).text
        assert 'name="creates_people"' not in signed_in(importer).get(UPLOAD).text

    def test_others_create_nobody(self, importer: User, sheet: bytes) -> None:
        run = upload_and_read(importer, sheet, creates_people=True)

        assert (read_refusals(run), planned(run)) == ([(3, "not_creator")], [])

    def test_others_do_not_confirm_it(self, editor: User, importer: User, sheet: bytes) -> None:
        run = upload_and_read(editor, sheet, creates_people=True)
        client = signed_in(importer)

        assert client.post(f"/admin/accounts/peopleimport/{run.pk}/answer/", {"answer": "skip"}).status_code == 403
        assert "须由可以新建人员的人确认" in client.get(f"/admin/accounts/peopleimport/{run.pk}/change/").text
        assert jobs.confirm_import(run=run, mode="skip", editor=importer, ip=None, now=NOW)
        assert not User.objects.filter(username="hanmei").exists()

    def test_who_lost_the_right_meanwhile_creates_nobody(self, editor: User, importer: User, sheet: bytes) -> None:
        done = confirm_and_write(upload_and_read(editor, sheet, creates_people=True), by=importer)

        assert read_refusals(done) == [(3, "not_creator")]
        assert not User.objects.filter(username="hanmei").exists()

    def test_who_manages_some_companies_names_one_of_them(self, limited: User, corp: Corp, other_corp: Corp) -> None:
        content = csv_bytes(
            HEADER[:5],
            ["a", "甲", "", corp.name, "A"],
            ["b", "乙", "", "", ""],
            ["c", "丙", "", other_corp.name, "C"],
        )
        done = confirm_and_write(upload_and_read(limited, content, creates_people=True))

        assert read_refusals(done) == [(3, "company_needed"), (4, "unknown_company")]
        assert list(User.objects.filter(username__in=["a", "b", "c"]).values_list("username", flat=True)) == ["a"]

    def test_somebody_elsewhere_is_not_touched(self, limited: User, corp: Corp, other_corp: Corp) -> None:
        there = make_person("hanmei", other_corp, "HanMei", name="韩")
        run = upload_and_read(limited, csv_bytes(HEADER[:5], ["hanmei", "李", "", corp.name, "H"]), creates_people=True)

        assert read_refusals(run) == [(2, "username_taken")]
        there.refresh_from_db()
        assert there.name == "韩"
