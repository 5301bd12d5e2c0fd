"""The four roles: what they hold, who assigns them, and that none leads to more rights."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from accounts.models import User, WeComAccount
from accounts.users import roles
from accounts.users.roles import Role, find_changeable_people, find_people_with_changeable_rights
from integrations.models import Corp
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, sent_form, signed_in, with_role

ALL_FOUR = ("view", "add", "change", "delete")
OF_EDITORS = {
    *(f"notifications.{verb}_{model}" for verb in ALL_FOUR for model in ("report", "subscription", "robot")),
    *(f"notifications.{verb}_alertrule" for verb in ALL_FOUR),
    *("notifications.view_incident", "notifications.change_incident"),
    *("notifications.view_incomingmessage", "notifications.add_incomingmessage"),
    *(f"notifications.{verb}_inboundchannel" for verb in ALL_FOUR),
    *(f"notifications.view_{model}" for model in ("run", "delivery", "receipt", "corpqueue")),
    *(f"notifications.{verb}_apitoken" for verb in ("view", "add", "change")),
    *("notifications.view_workdaycalendar", "notifications.change_workdaycalendar"),
}
ROBOTS = {f"notifications.{verb}_robot" for verb in ALL_FOUR}
OF_INTEGRATION = {f"integrations.{verb}_{model}" for verb in ALL_FOUR for model in ("corp", "siteaddress")}
OF_SOURCES = {f"integrations.{verb}_{model}" for verb in ALL_FOUR for model in ("datasource", "card")}
CARDS = {"integrations.view_datasource", *(f"integrations.{verb}_card" for verb in ALL_FOUR)}
PEOPLE_SEEN = {"accounts.view_user", "accounts.view_wecomaccount", "accounts.view_attribute"}
DIRECTORY_SEEN = {
    *(f"integrations.view_{model}" for model in ("department", "member", "syncrun")),
    *("accounts.view_directorypolicy", "accounts.view_departmentgroup", "accounts.view_linkconflict"),
}
EXPECTED = {
    Role.SYSTEM_ADMINISTRATOR: {
        *DIRECTORY_SEEN,
        *("accounts.view_peopleimport", "accounts.add_peopleimport"),
        *("integrations.sync_directory", "accounts.add_directorypolicy", "accounts.change_directorypolicy"),
        *(*OF_EDITORS, *OF_SOURCES),
        *OF_INTEGRATION,
        *(f"accounts.{verb}_{model}" for verb in ALL_FOUR for model in ("user", "wecomaccount", "attribute")),
        *(f"accounts.{verb}_departmentgroup" for verb in ALL_FOUR),
        *("accounts.assign_roles", "accounts.view_auditentry", "accounts.view_lockout", "accounts.delete_lockout"),
        *("accounts.view_signinpolicy", "accounts.change_signinpolicy", "auth.view_group"),
        *("integrations.view_biconnection", "integrations.change_biconnection"),
        "notifications.change_corpqueue",
    },
    Role.INTEGRATION_ADMINISTRATOR: {
        *(*OF_INTEGRATION, *OF_SOURCES, *PEOPLE_SEEN, *DIRECTORY_SEEN),
        *("integrations.sync_directory", "integrations.view_biconnection"),
        *(*ROBOTS, "notifications.view_corpqueue", "notifications.change_corpqueue"),
    },
    Role.PUSH_EDITOR: OF_EDITORS | CARDS | PEOPLE_SEEN | {"auth.view_group", "integrations.view_department"},
    Role.READ_ONLY: {
        *PEOPLE_SEEN,
        *DIRECTORY_SEEN,
        *("accounts.view_auditentry", "integrations.view_corp", "integrations.view_siteaddress"),
        *("integrations.view_biconnection", "integrations.view_datasource", "integrations.view_card"),
        *(
            f"notifications.view_{model}"
            for model in ("report", "subscription", "robot", "run", "delivery", "receipt", "corpqueue")
        ),
        "notifications.view_alertrule",
        *("notifications.view_incident", "notifications.view_incomingmessage"),
    },
}


def held_by(group: Group) -> set[str]:
    pairs = group.permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in pairs}


class TestGroups:
    def test_are_there_after_installation_with_exactly_their_permissions(self) -> None:
        found = {group.name: held_by(group) for group in Group.objects.filter(name__startswith="role:")}

        assert found == {role.value: permissions for role, permissions in EXPECTED.items()}

    def test_a_later_migrate_fits_them_again_and_leaves_other_groups_alone(self) -> None:
        editor, own = Group.objects.get(name=Role.PUSH_EDITOR), Group.objects.create(name="Read-only")
        own.permissions.set(Permission.objects.filter(codename="view_corp"))
        editor.permissions.set(Permission.objects.filter(codename__in=["view_corp", "add_report"]))
        Group.objects.filter(name=Role.READ_ONLY).delete()

        call_command("migrate", verbosity=0)

        assert held_by(editor) == EXPECTED[Role.PUSH_EDITOR]
        assert held_by(Group.objects.get(name=Role.READ_ONLY)) == EXPECTED[Role.READ_ONLY]
        assert held_by(own) == {"integrations.view_corp"}

    def test_nothing_is_written_where_nothing_differs(self, django_assert_max_num_queries: Any) -> None:
        with django_assert_max_num_queries(3 * len(Role)) as queries:
            roles.ensure_roles(apps=apps)

        assert not [query["sql"] for query in queries if not query["sql"].startswith("SELECT")]

    def test_even_a_superuser_cannot_change_them(self, root: User) -> None:
        group = Group.objects.get(name=Role.READ_ONLY)
        client = signed_in(root)
        path = f"/admin/auth/group/{group.pk}"

        shown = client.get("/admin/auth/group/").content.decode()
        changed = client.post(f"{path}/change/", {"name": "x", "permissions": []})
        deleted = client.post(f"{path}/delete/", {"post": "yes"})
        action = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
        client.post("/admin/auth/group/", action)

        assert "系统管理员" in shown
        assert ">role:" not in shown
        assert (changed.status_code, deleted.status_code) == (403, 403)
        assert held_by(Group.objects.get(name=Role.READ_ONLY)) == EXPECTED[Role.READ_ONLY]


class TestWhoMayBeChanged:
    @pytest.fixture
    def people(self, corp: Corp, other_corp: Corp) -> dict[str, User]:
        """People with an account in the company of `limited`, so that only rights decide."""
        made = {
            "employee": make_person("employee"),
            "peer": with_role("peer", Role.SYSTEM_ADMINISTRATOR, corp),
            "editor": with_role("editor", Role.PUSH_EDITOR, corp),
            "without-role": with_role("without-role", None, corp),
            "of-all": with_role("of-all", Role.READ_ONLY),
            "of-another-too": with_role("of-another-too", Role.READ_ONLY, corp, other_corp),
            "superuser": make_person("superuser", is_superuser=True, is_staff=True),
            "sleeping-superuser": make_person("sleeping-superuser", is_superuser=True),
            "with-a-group": with_role("with-a-group", None, corp),
            "with-a-permission": with_role("with-a-permission", None, corp),
            "sleeping-rights": make_person("sleeping-rights"),
            "sleeping-reach": make_person("sleeping-reach", manages_all_corps=True),
        }
        strong = Group.objects.create(name="strong")
        strong.permissions.add(Permission.objects.get(codename="change_group"))
        made["with-a-group"].groups.add(strong)
        made["sleeping-rights"].groups.add(strong)
        made["with-a-permission"].user_permissions.add(Permission.objects.get(codename="add_group"))
        for user in made.values():
            WeComAccount.objects.create(user=user, corp=corp, userid=user.username)
        return made

    def names(self, queryset: Any) -> set[str]:
        return set(queryset.values_list("username", flat=True)) - {"limited"}

    def test_nobody_stronger_than_oneself(self, people: dict[str, User], limited: User) -> None:
        sleeping = {"sleeping-rights", "sleeping-reach"}

        assert self.names(find_changeable_people(limited)) == {"employee", "peer", "editor", "without-role"} | sleeping
        assert self.names(find_people_with_changeable_rights(limited)) == {"employee", "peer", "editor", "without-role"}

    @pytest.mark.parametrize("role", [Role.INTEGRATION_ADMINISTRATOR, Role.PUSH_EDITOR, Role.READ_ONLY, None])
    def test_without_the_right_to_hand_out_roles_no_staff_and_no_rights(
        self, people: dict[str, User], corp: Corp, role: Role | None
    ) -> None:
        one = with_role("one", role, corp)

        assert not find_changeable_people(one).filter(is_staff=True).exists()
        assert not find_people_with_changeable_rights(one).exists()


class TestHandingOut:
    @pytest.fixture
    def employee(self, corp: Corp) -> User:
        return make_person("employee", corp, "employee")

    def save(self, editor: User, person: User, **changes: Any) -> Any:
        client = signed_in(editor)
        path = f"{LIST}{person.pk}/change/"
        return client.post(path, {**sent_form(client, path), **changes})

    def rights_of(self, person: User) -> dict[str, Any]:
        person = User.objects.get(pk=person.pk)
        return {
            "is_staff": person.is_staff,
            "is_superuser": person.is_superuser,
            "all": person.manages_all_corps,
            "corps": set(person.managed_corps.values_list("name", flat=True)),
            "groups": set(person.groups.values_list("name", flat=True)),
            "permissions": person.user_permissions.count(),
        }

    def pk(self, role: Role) -> int:
        return Group.objects.get(name=role).pk

    NOTHING: dict[str, Any] = {
        "is_staff": False,
        "is_superuser": False,
        "all": False,
        "corps": set(),
        "groups": set(),
        "permissions": 0,
    }

    def test_a_system_administrator_hands_out_every_role_within_the_own_companies(
        self, limited: User, employee: User, corp: Corp
    ) -> None:
        text = signed_in(limited).get(f"{LIST}{employee.pk}/change/").content.decode()
        assert [role.label for role in Role if str(role.label) not in text] == []
        assert "role:" not in text
        employee.groups.add(Group.objects.create(name="morning readers"))
        every = [self.pk(role) for role in Role]

        response = self.save(limited, employee, is_staff="on", roles=every, managed_corps=[corp.pk])

        assert response.status_code == 302
        groups = {"morning readers", *(role.value for role in Role)}
        expected = {"is_staff": True, "corps": {corp.name}, "groups": groups}
        assert self.rights_of(employee) == {**self.NOTHING, **expected}

    def test_more_than_one_s_own_is_refused_or_not_looked_at(
        self, limited: User, employee: User, other_corp: Corp
    ) -> None:
        strong = Group.objects.create(name="strong")
        permission = Permission.objects.get(codename="add_group")
        more = {"is_superuser": "on", "manages_all_corps": "on", "groups": [strong.pk]}

        ignored = self.save(limited, employee, **more, user_permissions=[permission.pk])
        another_company = self.save(limited, employee, managed_corps=[other_corp.pk])
        no_role = self.save(limited, employee, roles=[strong.pk])

        assert ignored.status_code == 302
        assert (another_company.status_code, no_role.status_code) == (200, 200)
        assert self.rights_of(employee) == self.NOTHING

    def test_a_mix_of_one_s_own_hands_out_only_the_roles_that_it_contains(self, employee: User, corp: Corp) -> None:
        mixed = with_role("mixed", Role.READ_ONLY, corp)
        codenames = ["assign_roles", "change_user", "add_user"]
        mixed.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        mixed = User.objects.get(pk=mixed.pk)

        refused = self.save(mixed, employee, roles=[self.pk(Role.PUSH_EDITOR)])
        given = self.save(mixed, employee, is_staff="on", roles=[self.pk(Role.READ_ONLY)])

        assert list(roles.find_assignable_roles(mixed).values_list("name", flat=True)) == [Role.READ_ONLY]
        assert (refused.status_code, given.status_code) == (200, 302)
        assert self.rights_of(employee)["groups"] == {Role.READ_ONLY.value}

    def test_rights_that_wait_for_the_entry_are_not_let_in_and_who_manages_all_gives_that_too(
        self, limited: User, employee: User
    ) -> None:
        """Refuse to make somebody staff who would gain rights from earlier days."""
        of_all = with_role("of-all", Role.SYSTEM_ADMINISTRATOR)
        self.save(of_all, employee, is_staff="on", manages_all_corps="on", is_superuser="on")
        assert self.rights_of(employee) == {**self.NOTHING, "is_staff": True, "all": True}
        User.objects.filter(pk=employee.pk).update(is_staff=False, manages_all_corps=False)
        strong = Group.objects.create(name="strong")
        strong.permissions.add(Permission.objects.get(codename="add_group"))
        employee.groups.add(strong)

        response = self.save(limited, employee, is_staff="on", roles=[self.pk(Role.READ_ONLY)])

        assert response.status_code == 302
        assert self.rights_of(employee) == {**self.NOTHING, "groups": {"strong"}}

    def test_a_superuser_gives_roles_and_groups_side_by_side(self, root: User, employee: User) -> None:
        others = Group.objects.create(name="morning readers")

        given = self.save(root, employee, roles=[self.pk(Role.READ_ONLY)], groups=[others.pk], is_superuser="on")
        as_group = self.save(root, employee, groups=[self.pk(Role.SYSTEM_ADMINISTRATOR)])

        assert (given.status_code, as_group.status_code) == (302, 200)
        assert self.rights_of(employee)["groups"] == {"morning readers", Role.READ_ONLY.value}
        assert self.rights_of(employee)["is_superuser"]

    def test_a_system_administrator_gives_oneself_nothing(self, limited: User, corp: Corp, other_corp: Corp) -> None:
        WeComAccount.objects.create(user=limited, corp=corp, userid="limited")
        before = self.rights_of(limited)

        self.save(limited, limited, is_superuser="on", manages_all_corps="on")
        self.save(limited, limited, managed_corps=[corp.pk, other_corp.pk])

        assert self.rights_of(limited) == before


class TestCorpId:
    """The CorpId of a company. Another one would change who the linked people are."""

    EVIL = "ww" + "6" * 16

    @pytest.fixture
    def never_enabled(self, corp: Corp) -> Corp:
        Corp.objects.filter(pk=corp.pk).update(is_enabled=False)
        return corp

    def change(self, editor: User, corp: Corp) -> str:
        client, path = signed_in(editor), f"/admin/integrations/corp/{corp.pk}/change/"
        assert client.post(path, {**sent_form(client, path), "corpid": self.EVIL}).status_code == 302
        return Corp.objects.get(pk=corp.pk).corpid

    def test_stays_once_people_are_linked_and_can_be_put_right_before_and_by_superusers(
        self, never_enabled: Corp, root: User
    ) -> None:
        make_person("half", never_enabled)
        one, real = with_role("one", Role.INTEGRATION_ADMINISTRATOR), never_enabled.corpid
        assert self.change(one, never_enabled) == self.EVIL

        Corp.objects.filter(pk=never_enabled.pk).update(corpid=real)
        make_person("boss", never_enabled, "Boss", is_superuser=True, is_staff=True)
        assert self.change(one, never_enabled) == real
        assert self.change(root, never_enabled) == self.EVIL


def test_an_editor_looks_groups_up_as_recipients(corp: Corp) -> None:
    look_up = "/admin/autocomplete/?app_label=notifications&model_name=subscription&field_name=groups"
    readers = Group.objects.create(name="morning readers")
    client = signed_in(with_role("editor", Role.PUSH_EDITOR, corp))

    found = client.get(look_up).json()["results"]

    assert found == [{"id": str(readers.pk), "text": "morning readers"}]
