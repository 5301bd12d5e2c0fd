"""Groups by WeCom department, through the sandbox over HTTP: given and taken away again, never more than that."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.directory import groups
from accounts.directory.groups import sync_groups, sync_groups_of_unlinked_people
from accounts.models import AuditEntry, DepartmentGroup, GivenGroup, User, WeComAccount
from accounts.users.roles import Role
from integrations.models import Corp, Department, Member
from tests.accounts.conftest import make_corp
from tests.accounts.directory.people_of import People, member
from tests.accounts.people import signed_in, with_role
from tests.browser_form import read_page_version
from tests.statements import count_statements


@pytest.fixture
def created(people: People) -> People:
    """People under a policy that created everybody: LiLei in sales, hanmeimei and jim in finance."""
    people.set_policy(mode="create")
    people.sync()
    return people


def number_of(people: People, name: str) -> int:
    return Department.objects.get(corp=people.corp, name=name).wecom_department_id


def rule(people: People, name: str, group: str, **values: Any) -> DepartmentGroup:
    place = Department.objects.get(corp=people.corp, name=name)
    return DepartmentGroup.objects.create(department=place, group=Group.objects.get_or_create(name=group)[0], **values)


def members(group: str) -> set[str]:
    return set(User.objects.filter(groups__name=group).values_list("username", flat=True))


def list_given() -> set[tuple[str, str]]:
    return set(GivenGroup.objects.values_list("user__username", "group__name"))


def test_a_run_puts_the_people_of_a_department_into_its_group_and_takes_them_out_again(created: People) -> None:
    """Write nothing without a change. The trail records what was given and taken."""
    mapping = rule(created, "财务部", "finance")

    assert created.counts() == {"grouped": 2}
    assert members("finance") == {"hanmeimei", "jim"}
    assert list_given() == {("hanmeimei", "finance"), ("jim", "finance")}

    entries, before = AuditEntry.objects.count(), list(GivenGroup.objects.order_by("pk").values())
    with CaptureQueriesContext(connection) as queries:
        assert created.counts() == {}
    written = [one["sql"] for one in queries if one["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert not [sql for sql in written if "group" in sql]
    assert (AuditEntry.objects.count(), list(GivenGroup.objects.order_by("pk").values())) == (entries, before)

    mapping.delete()
    created.sync()

    found = AuditEntry.objects.filter(model="accounts.user", subject__contains="jim", action="changed").order_by("pk")
    assert [(one.changes, one.corp_id) for one in found] == [
        ([["groups", None, ["finance"]]], created.corp.pk),
        ([["groups", ["finance"], None]], created.corp.pk),
    ]


def test_new_people_are_in_their_groups_at_once(people: People) -> None:
    people.set_policy(mode="create")
    people.place.sync()
    rule(people, "财务部", "finance")

    assert people.counts() == {"created": 3, "grouped": 2}


def test_departments_below_count_where_that_is_wanted_and_who_moves_changes_groups(created: People) -> None:
    rule(created, "北山制造", "all")
    rule(created, "北山制造", "top", with_subdepartments=False)
    rule(created, "财务部", "finance")
    rule(created, "销售部", "sales")
    created.put("boss", department=[1])

    created.sync()

    assert members("all") == {"LiLei", "hanmeimei", "jim", "boss"}
    assert members("top") == {"boss"}
    created.put("jim", name="Jim", department=[number_of(created, "销售部")])
    assert created.counts() == {"grouped": 1, "ungrouped": 1}
    assert members("finance") == {"hanmeimei"}
    assert "jim" in members("sales")


def test_what_an_administrator_gave_stays_and_what_they_took_comes_back_while_the_rule_stands(created: People) -> None:
    mapping = rule(created, "财务部", "finance")
    User.objects.get(username="jim").groups.add(mapping.group)
    User.objects.get(username="LiLei").groups.add(mapping.group)

    created.sync()
    User.objects.get(username="hanmeimei").groups.remove(mapping.group)
    assert created.counts() == {"grouped": 1}
    assert members("finance") == {"hanmeimei", "jim", "LiLei"}
    mapping.delete()
    assert created.counts() == {"ungrouped": 1}

    assert members("finance") == {"jim", "LiLei"}
    assert list_given() == set()


def test_who_may_enter_the_administration_is_left_alone(created: People) -> None:
    mapping = rule(created, "财务部", "finance")
    created.sync()
    User.objects.filter(username="jim").update(is_staff=True)
    User.objects.filter(username="hanmeimei").update(is_superuser=True)
    User.objects.get(username="hanmeimei").groups.clear()
    assert created.counts() == {}
    mapping.delete()

    assert created.counts() == {}
    assert members("finance") == {"jim"}


def test_only_a_policy_that_creates_and_updates_people_gives_groups(created: People) -> None:
    rule(created, "财务部", "finance")
    for mode in ("link", "off"):
        created.set_policy(mode=mode)
        assert created.counts() == {}
    assert members("finance") == set()


def test_leavers_lose_what_the_directory_gave_them(created: People) -> None:
    rule(created, "财务部", "finance")
    created.sync()
    created.place.delete_member("jim")

    assert created.counts() == {"unlinked": 1, "disabled": 1, "ungrouped": 1}
    assert members("finance") == {"hanmeimei"}


def test_who_is_out_of_scope_or_disabled_keeps_the_groups(created: People) -> None:
    rule(created, "财务部", "finance")
    created.sync()
    Member.objects.filter(userid="jim").update(presence="out_of_scope", left_at=timezone.now())
    Member.objects.filter(userid="hanmeimei").update(status="disabled")

    with transaction.atomic():
        found = sync_groups(corp=created.corp, user_ids=list(User.objects.values_list("pk", flat=True)))

    assert not found
    assert members("finance") == {"hanmeimei", "jim"}


def test_who_was_unlinked_by_hand_loses_them_with_the_next_run(created: People) -> None:
    rule(created, "财务部", "finance")
    created.sync()
    created.set_policy(match_username=False)
    WeComAccount.objects.filter(user__username="jim").delete()

    assert created.counts() == {"ungrouped": 1}
    assert members("finance") == {"hanmeimei"}


def test_a_removed_department_gives_nothing(created: People) -> None:
    rule(created, "财务部", "finance")
    created.sync()
    Department.objects.filter(name="财务部").update(removed_at=timezone.now())

    with transaction.atomic():
        sync_groups(corp=created.corp, user_ids=list(User.objects.values_list("pk", flat=True)))

    assert members("finance") == set()


def test_a_person_with_two_accounts_of_the_company_is_in_the_departments_of_both(created: People) -> None:
    rule(created, "财务部", "finance")
    rule(created, "销售部", "sales")
    WeComAccount.objects.filter(user__username="jim").update(user=User.objects.get(username="LiLei"), is_primary=False)

    created.sync()
    assert created.counts() == {}

    assert "LiLei" in members("finance") & members("sales")


def test_two_companies_that_give_one_group_take_it_away_together_only(created: People) -> None:
    mapping = rule(created, "财务部", "finance")
    other = make_corp("南湖贸易", 7)
    jim = User.objects.get(username="jim")
    place = Department.objects.create(corp=other, wecom_department_id=9, name="账务")
    member(other, "jim2").departments.add(place)
    WeComAccount.objects.create(user=jim, corp=other, userid="jim2", is_primary=False)
    other.directory_policy = type(created.policy).objects.create(corp=other, mode="create")
    second = DepartmentGroup.objects.create(department=place, group=mapping.group)
    created.sync()
    with transaction.atomic():
        assert not sync_groups(corp=other, user_ids=[jim.pk])
    assert GivenGroup.objects.filter(user=jim).count() == 2

    mapping.delete()
    created.sync()
    assert "jim" in members("finance")

    second.delete()
    with transaction.atomic():
        sync_groups(corp=other, user_ids=[jim.pk])
    assert "jim" not in members("finance")


def test_one_persons_groups_are_fitted_alone(created: People) -> None:
    rule(created, "财务部", "finance")

    with transaction.atomic():
        found = sync_groups(corp=created.corp, user_ids=[User.objects.get(username="jim").pk])

    assert found == {"grouped": 1}
    assert members("finance") == {"jim"}


def test_people_of_others_are_dealt_with_in_parts(created: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "PEOPLE_AT_ONCE", 1)
    rule(created, "财务部", "finance")
    created.sync()
    WeComAccount.objects.all().delete()

    after: int | None = 0
    parts = []
    while after is not None:
        found, after = sync_groups_of_unlinked_people(corp=created.corp, after=after)
        parts.append(found["ungrouped"])

    assert parts == [1, 1, 0]
    assert list_given() == set()


def test_queries_do_not_grow_with_people_and_rules(created: People) -> None:
    rule(created, "财务部", "finance")

    def count() -> int:
        keys = list(User.objects.values_list("pk", flat=True))
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            sync_groups(corp=created.corp, user_ids=keys)
        return len(queries)

    first = count()
    created.place.put_members(
        *({"userid": f"p{n}", "name": "P", "department": [number_of(created, "财务部")]} for n in range(30))
    )
    created.sync()
    for n in range(10):
        rule(created, "财务部", f"g{n}")

    assert count() <= first


def with_permission(group: Group) -> None:
    group.permissions.add(Permission.objects.get(codename="view_user"))


def test_a_group_with_permissions_is_given_by_a_superusers_rule_only_and_a_role_never(created: People) -> None:
    plain, lending = rule(created, "财务部", "finance"), rule(created, "财务部", "lending")
    trusted = rule(created, "财务部", "auditors", may_lend_rights=True)
    rule(created, "财务部", Role.READ_ONLY, may_lend_rights=True)
    with_permission(lending.group)
    with_permission(trusted.group)

    created.sync()

    assert (members("lending"), members(Role.READ_ONLY)) == (set(), set())
    assert members("auditors") == members("finance") == {"hanmeimei", "jim"}
    with_permission(plain.group)
    assert created.counts() == {"ungrouped": 2}


# --- The pages --------------------------------------------------------------------------------------------------------

ADD = "/admin/accounts/departmentgroup/add/"
LIST = "/admin/accounts/departmentgroup/"


def admin_of(*corps: Corp) -> Client:
    return signed_in(with_role(f"sa{len(corps)}", Role.SYSTEM_ADMINISTRATOR, *corps))


def make_form(place: Department, group: Group, **values: Any) -> dict[str, Any]:
    return {"department": place.pk, "group": group.pk, "with_subdepartments": "on", **values}


def test_a_rule_is_set_by_who_sees_all_companies_and_of_a_group_that_lends_rights_by_superusers(
    created: People, admin: Client
) -> None:
    plain, group = Group.objects.create(name="finance"), Group.objects.create(name="auditors")
    with_permission(group)
    place = Department.objects.get(name="财务部")
    role = Group.objects.get(name=Role.READ_ONLY)

    chief = admin_of()
    assert chief.post(ADD, make_form(place, plain)).status_code == 302
    entry = AuditEntry.objects.get(model="accounts.departmentgroup")
    assert (entry.action, entry.corp_id) == ("created", created.corp.pk)
    assert chief.post(ADD, make_form(place, group)).status_code == 200
    assert admin.post(ADD, make_form(place, role)).status_code == 200
    found = DepartmentGroup.objects.get()
    assert (found.department, found.group) == (place, plain)
    assert (found.with_subdepartments, found.may_lend_rights) == (True, False)
    assert admin.post(ADD, make_form(place, group)).status_code == 302

    found = DepartmentGroup.objects.get(group=group)
    assert found.may_lend_rights
    page = reverse("admin:accounts_departmentgroup_change", args=[found.pk])
    assert chief.post(page, make_form(place, group, with_subdepartments="")).status_code == 403
    delete = reverse("admin:accounts_departmentgroup_delete", args=[found.pk])
    assert chief.post(delete, {"post": "yes"}).status_code == 403
    found.refresh_from_db()
    assert found.with_subdepartments


def test_a_rule_that_somebody_else_saves_anew_lends_no_rights(created: People, admin: Client) -> None:
    group = Group.objects.create(name="finance")
    place = Department.objects.get(name="财务部")
    admin.post(ADD, make_form(place, group))
    found = DepartmentGroup.objects.get()
    assert found.may_lend_rights

    page = reverse("admin:accounts_departmentgroup_change", args=[found.pk])
    editor = admin_of()
    values = {**make_form(place, group, with_subdepartments=""), **read_page_version(editor, page)}
    assert editor.post(page, values).status_code == 302

    found.refresh_from_db()
    assert (found.may_lend_rights, found.with_subdepartments) == (False, False)


def test_the_list_shows_paths_and_states_of_companies_that_one_sees(created: People) -> None:
    rule(created, "财务部", "finance")
    with_permission(rule(created, "财务部", "auditors").group)
    gone = rule(created, "华东区", "east")
    Department.objects.filter(pk=gone.department_id).update(removed_at=timezone.now())
    other = Department.objects.create(corp=make_corp("南湖贸易", 7), wecom_department_id=1, name="机密部")
    DepartmentGroup.objects.create(department=other, group=Group.objects.create(name="x"))

    shown = admin_of(created.corp).get(LIST).content.decode()

    assert "北山制造 › 财务部" in shown
    assert "机密部" not in shown
    for tone, word in (("good", "正常"), ("warn", "已暂停"), ("next", "等待")):
        assert shown.count(f'<span class="pill pill-{tone}">{word}</span>') == 1


@pytest.mark.usefixtures("_addresses_kept")
def test_the_list_costs_the_same_for_one_and_for_many(created: People, admin: Client) -> None:
    def count() -> int:
        admin.get(LIST)  # fills the caches of the process
        return count_statements(admin.get, LIST)

    rule(created, "财务部", "finance")
    first = count()
    for n in range(20):
        rule(created, "财务部", f"g{n}")

    assert count() == first
