"""The step from the release before: people and groups stay, roles and the trail come."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import Attribute, AttributeValue, AuditEntry, User
from accounts.roles import Role, permissions_of
from tests.databases import Stages, migrated

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [
    ("accounts", "0001_initial"),
    ("integrations", "0002_verification_and_callbacks"),
    ("notifications", "0001_initial"),
]
AFTER = [("accounts", "0002_roles_and_audit")]


def test_people_accounts_and_groups_are_kept(stages: Stages) -> None:
    apps = stages.enter(BEFORE)
    corp = apps.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret"
    )
    user = apps.get_model("accounts", "User").objects.create(username="lilei", is_staff=True)
    accounts = apps.get_model("accounts", "WeComAccount").objects
    accounts.create(user=user, corp=corp, userid="LiLei", userid_folded="lilei")
    own = apps.get_model("auth", "Group").objects.create(name="只读")
    own.user_set.add(user)

    apps = migrated(AFTER)

    account = apps.get_model("accounts", "WeComAccount").objects.get()
    assert (account.userid, account.corp_id, account.user_id) == ("LiLei", corp.pk, user.pk)
    assert (account.proven_corp_id, account.proven_userid, account.signed_in_at) == (None, "", None)
    assert set(apps.get_model("auth", "Group").objects.values_list("name", flat=True)) == {"只读", *Role}
    assert list(own.user_set.values_list("username", flat=True)) == ["lilei"]
    assert not apps.get_model("accounts", "SignInPolicy").objects.exists()


def test_the_directory_comes_without_a_policy_and_without_touching_people(stages: Stages) -> None:
    apps = stages.enter(BEFORE)
    corp = apps.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret"
    )
    users = apps.get_model("accounts", "User").objects
    people = [users.create(username=name, email=email) for name, email in (("lilei", ""), ("LiLei", "a@example.com"))]
    accounts = apps.get_model("accounts", "WeComAccount").objects
    accounts.create(user=people[0], corp=corp, userid="LiLei", userid_folded="lilei")

    apps = migrated([("accounts", "0003_directory_policy")])

    found = apps.get_model("accounts", "User").objects.order_by("pk")
    assert list(found.values_list("username", "email", "mobile")) == [("lilei", "", ""), ("LiLei", "a@example.com", "")]
    assert apps.get_model("accounts", "WeComAccount").objects.get().userid == "LiLei"
    assert not apps.get_model("accounts", "DirectoryPolicy").objects.exists()


def test_user_attributes_come_with_the_login_id_alone_and_without_touching_people(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0003_directory_policy")])
    apps.get_model("accounts", "User").objects.create(username="lilei", name="李雷", mobile="13800138000")

    call_command("migrate", verbosity=0)

    person = User.objects.get()
    assert (person.username, person.name, person.mobile) == ("lilei", "李雷", "13800138000")
    assert list(Attribute.objects.values_list("key", "is_bi_login_id")) == [("bi_login_id", True)]
    assert not AttributeValue.objects.exists()


def test_going_back_takes_the_attributes_away(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0004_attributes")])
    person = apps.get_model("accounts", "User").objects.create(username="lilei")
    login_id = apps.get_model("accounts", "Attribute").objects.create(key="bi_login_id", is_bi_login_id=True)
    row = {"user": person, "attribute": login_id, "value": "lilei", "folded": "lilei"}
    apps.get_model("accounts", "AttributeValue").objects.create(**row)

    migrated([("accounts", "0003_directory_policy")])
    call_command("migrate", verbosity=0)

    assert User.objects.get().pk == person.pk
    assert Attribute.objects.count() == 1
    assert not AttributeValue.objects.exists()


def test_moves_come_empty_and_go_again_without_touching_accounts(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0004_attributes"), ("integrations", "0005_directory")])
    corp = apps.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret"
    )
    user = apps.get_model("accounts", "User").objects.create(username="lilei")
    accounts = apps.get_model("accounts", "WeComAccount").objects
    accounts.create(user=user, corp=corp, userid="LiLei", userid_folded="lilei")

    moves = migrated([("accounts", "0005_people_moves")]).get_model("accounts", "PeopleMove").objects
    assert not moves.exists()
    moves.create(source_id=corp.pk, target_id=corp.pk, requested_by_id=user.pk, requested_at=timezone.now())
    apps = migrated([("accounts", "0004_attributes"), ("integrations", "0005_directory")])

    account = apps.get_model("accounts", "WeComAccount").objects.get()
    assert (account.userid, account.corp_id, account.user_id) == ("LiLei", corp.pk, user.pk)


def test_sessions_and_requests_come_without_touching_people_or_signing_anybody_out(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0007_employee_number")])
    users = apps.get_model("accounts", "User").objects
    users.create(username="lilei", password="hash", name="李雷")

    apps = migrated([("accounts", "0008_sessions_and_link_requests")])

    assert list(apps.get_model("accounts", "User").objects.values_list("username", "password", "session_epoch")) == [
        ("lilei", "hash", 0)
    ]
    assert not apps.get_model("accounts", "SignedInSession").objects.exists()
    assert not apps.get_model("accounts", "LinkRequest").objects.exists()


def test_imports_come_beside_attributes_with_values(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0004_attributes")])
    person = apps.get_model("accounts", "User").objects.create(username="lilei")
    region = apps.get_model("accounts", "Attribute").objects.create(key="region", name="区域")
    row = {"user": person, "attribute": region, "value": "华东", "folded": "华东"}
    apps.get_model("accounts", "AttributeValue").objects.create(**row)

    apps = migrated([("accounts", "0009_people_imports")])

    values = apps.get_model("accounts", "AttributeValue").objects
    assert list(values.values_list("user__username", "value")) == [("lilei", "华东")]
    assert not apps.get_model("accounts", "PeopleImport").objects.exists()


def test_accounts_come_without_a_mark_of_leavers_and_go_back_with_one(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0009_people_imports")])
    corp = apps.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret"
    )
    for name, userid in (("lilei", "LiLei"), ("jim", "")):
        user = apps.get_model("accounts", "User").objects.create(username=name)
        row = {"user": user, "corp": corp, "userid": userid, "userid_folded": userid.lower()}
        apps.get_model("accounts", "WeComAccount").objects.create(**row)

    accounts = migrated([("accounts", "0010_leavers")]).get_model("accounts", "WeComAccount").objects

    columns = ("user__username", "userid", "left_at")
    assert sorted(accounts.values_list(*columns)) == [("jim", "", None), ("lilei", "LiLei", None)]
    now = timezone.now()
    assert accounts.filter(userid="").update(left_at=now) == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        accounts.filter(userid="LiLei").update(left_at=now)
    before = migrated([("accounts", "0009_people_imports")]).get_model("accounts", "WeComAccount").objects
    assert sorted(before.values_list("user__username", "userid")) == [("jim", ""), ("lilei", "LiLei")]


def test_imports_under_way_keep_the_rights_of_who_uploaded_them(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0010_leavers")])
    user = apps.get_model("accounts", "User").objects.create(username="lilei")
    for status in ("asking", "confirmed", "applying", "done"):
        row = {"file_name": status, "status": status, "requested_by": user, "requested_by_name": "李雷"}
        apps.get_model("accounts", "PeopleImport").objects.create(**row, requested_from="192.0.2.1")

    runs = migrated([("accounts", "0011_confirmers")]).get_model("accounts", "PeopleImport").objects

    found = runs.values_list("status", "confirmed_by", "confirmed_by_name", "confirmed_from")
    assert sorted(found) == [
        ("applying", user.pk, "李雷", "192.0.2.1"),
        ("asking", None, "", None),
        ("confirmed", user.pk, "李雷", "192.0.2.1"),
        ("done", None, "", None),
    ]


def test_sheets_come_empty_and_go_again_without_touching_people(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0011_confirmers")])
    apps.get_model("accounts", "User").objects.create(username="lilei")
    apps = migrated([("accounts", "0012_people_exports")])
    user = apps.get_model("accounts", "User").objects.get(username="lilei")
    export = apps.get_model("accounts", "PeopleExport").objects.create(requested_by=user, expires_at=timezone.now())
    apps.get_model("accounts", "ExportFile").objects.create(export=export, content=b"PK")

    apps = migrated([("accounts", "0011_confirmers")])

    assert list(apps.get_model("accounts", "User").objects.values_list("username", flat=True)) == ["lilei"]


def test_after_the_whole_migrate_the_roles_hold_what_they_should(stages: Stages) -> None:
    stages.enter(BEFORE)

    call_command("migrate", verbosity=0)

    held = {group.name: group.permissions.count() for group in Group.objects.all()}
    assert held == {role: len(permissions_of(role)) for role in Role}
    assert min(held.values()) > 10


@pytest.mark.long
def test_migrating_back_and_forth_works_with_rows(stages: Stages) -> None:
    stages.enter_the_latest()
    AuditEntry.objects.create(action="done", subject="x")

    migrated(BEFORE)
    call_command("migrate", verbosity=0)

    assert not AuditEntry.objects.filter(subject="x").exists()
    assert Group.objects.filter(name__in=list(Role)).count() == 4


def test_rules_of_departments_come_without_touching_groups_and_memberships(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0005_people_moves"), ("integrations", "0005_directory")])
    corp = apps.get_model("integrations", "Corp").objects.create(name="北山制造", corpid="ww1", agentid=1, secret="s")
    apps.get_model("integrations", "Department").objects.create(corp=corp, wecom_department_id=1, name="总部")
    user = apps.get_model("accounts", "User").objects.create(username="lilei")
    user.groups.add(apps.get_model("auth", "Group").objects.create(name="早报读者"))

    apps = migrated([("accounts", "0006_department_groups")])

    assert [one.name for one in apps.get_model("accounts", "User").objects.get().groups.all()] == ["早报读者"]
    assert not apps.get_model("accounts", "DepartmentGroup").objects.exists()
    assert not apps.get_model("accounts", "GivenGroup").objects.exists()


def test_policies_come_out_without_an_employee_number_and_as_they_were(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0006_department_groups"), ("integrations", "0005_directory")])
    corp = apps.get_model("integrations", "Corp").objects.create(name="北山制造", corpid="ww1", agentid=1, secret="s")
    apps.get_model("accounts", "DirectoryPolicy").objects.create(corp=corp, mode="create", match_email=True)

    policy = migrated([("accounts", "0007_employee_number")]).get_model("accounts", "DirectoryPolicy").objects.get()

    assert (policy.mode, policy.match_username, policy.match_email) == ("create", True, True)
    assert (policy.number_attribute_id, policy.number_field) == (None, "")


@pytest.mark.parametrize("password_enabled", [True, False])
def test_superusers_without_passwords_still_get_in_by_the_company_that_signed_them_in(
    stages: Stages, *, password_enabled: bool
) -> None:
    apps = stages.enter([("accounts", "0012_people_exports"), ("integrations", "0015_heartbeats")])
    apps.get_model("accounts", "SignInPolicy").objects.create(password_enabled=password_enabled)
    user = apps.get_model("accounts", "User").objects.create(username="boss", is_superuser=True)
    for number in (1, 2):
        corp = apps.get_model("integrations", "Corp").objects.create(
            name=f"公司 {number}", corpid=f"ww{number:016d}", agentid=1, secret="s"
        )
        proof = {"proven_corp_id": corp.pk, "proven_userid": "boss"} if number == 2 else {}
        apps.get_model("accounts", "WeComAccount").objects.create(
            user=user, corp=corp, userid="Boss", userid_folded="boss", is_primary=number == 1, **proof
        )

    apps = migrated([("accounts", "0013_rights_without_passwords")])

    found = apps.get_model("integrations", "Corp").objects.order_by("pk").values_list("admin_rights_enabled", flat=True)
    assert list(found) == [False, not password_enabled]
