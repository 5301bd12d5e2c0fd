"""Identity in the BI: never a name that people, or an administrator of one company, may choose."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from pytest_django import Settings

from accounts.models import DirectoryPolicy, User
from accounts.users.bi_identity import find_administrators_who_name_people
from accounts.users.roles import Role
from integrations.models import BiConnection, Corp
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, sent_form, with_role
from tests.bi import make_bi
from tests.integrations.conftest import client_of

pytestmark = pytest.mark.django_db
BI_PAGE = "/admin/integrations/biconnection/1/change/"
BY_NAME = "People must not enter the BI by a name that administrators of single companies choose"
BY_EMAIL = "People must not enter the BI by an e-mail address that they choose"


@pytest.fixture(autouse=True)
def _one_host(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]


@pytest.fixture
def root(db: None) -> Client:
    return client_of(User.objects.create(username="root", is_staff=True, is_superuser=True))


def permission(codename: str) -> Permission:
    return Permission.objects.get(content_type__app_label="accounts", codename=codename)


def save_page(client: Client, path: str, **changes: Any) -> Any:
    """Save the page with these changes; None removes a value."""
    values = {**sent_form(client, path), **changes}
    return client.post(path, {name: value for name, value in values.items() if value is not None})


def all_errors(response: Any) -> list[str]:
    assert response.status_code == 200
    return [str(sentence) for sentences in response.context["errors"] for sentence in sentences]


class TestWho:
    def test_nobody_who_sees_all_or_may_only_look_or_is_gone(self, corp: Corp) -> None:
        with_role("chief", Role.SYSTEM_ADMINISTRATOR)
        for role in (Role.INTEGRATION_ADMINISTRATOR, Role.PUSH_EDITOR, Role.READ_ONLY):
            with_role(f"one-{role.name}", role, corp)
        with_role("gone", Role.SYSTEM_ADMINISTRATOR, corp, is_active=False)
        User.objects.create(username="root", is_staff=True, is_superuser=True)

        assert list(find_administrators_who_name_people()) == []

    @pytest.mark.parametrize("codename", ["add_user", "change_user"])
    def test_whoever_may_create_or_rename_by_a_group_or_themselves(self, corp: Corp, codename: str) -> None:
        own, by_group = with_role("own", None, corp), with_role("by-group", Role.READ_ONLY, corp)
        group = Group.objects.create(name="name givers")
        group.permissions.add(permission(codename))
        by_group.groups.add(group)
        own.user_permissions.add(permission(codename))

        assert set(find_administrators_who_name_people()) == {own, by_group}


class TestChoosingNames:
    @pytest.mark.parametrize("source", ["username", "email"])
    def test_is_refused_while_somebody_limited_may_name_people(self, root: Client, limited: User, source: str) -> None:
        make_bi(external_id_source="bi_login_id")

        errors = all_errors(save_page(root, BI_PAGE, external_id_source=source))

        assert len(errors) == 1
        assert errors[0].startswith(BY_NAME)
        assert "and these may create or rename people: limited." in errors[0]
        assert BiConnection.objects.get().external_id_source == "bi_login_id"

    def test_is_refused_at_switching_on_to_who_may_not_choose_either(self, limited: User) -> None:
        make_bi(external_id_source="username", is_enabled=False)
        chief = client_of(with_role("chief", Role.SYSTEM_ADMINISTRATOR))

        assert len(all_errors(save_page(chief, BI_PAGE, is_enabled="on"))) == 1
        assert not BiConnection.objects.get().is_enabled

    def test_is_free_for_the_attribute_which_is_the_default_and_without_such_an_administrator(
        self, root: Client, limited: User, corp: Corp
    ) -> None:
        assert BiConnection().external_id_source == "bi_login_id"
        make_bi(external_id_source="email")
        assert save_page(root, BI_PAGE, external_id_source="bi_login_id").status_code == 302

        limited.delete()
        with_role("reader", Role.READ_ONLY, corp)

        assert save_page(root, BI_PAGE, external_id_source="username").status_code == 302
        assert BiConnection.objects.get().external_id_source == "username"


class TestMakingOne:
    """Making somebody an administrator of one company, refused while people enter the BI by a name."""

    @pytest.fixture(autouse=True)
    def _by_name(self) -> None:
        make_bi(external_id_source="username")

    def page(self, person: User) -> str:
        return f"{LIST}{person.pk}/change/"

    def refused(self, response: Any, person: User) -> bool:
        errors = all_errors(response)
        assert len(errors) == 1
        assert "nobody who is limited to single companies may create or rename people" in errors[0]
        return person not in find_administrators_who_name_people()

    def test_by_a_role_of_a_company(self, root: Client, corp: Corp) -> None:
        person = User.objects.create(username="new", is_staff=True)
        role = Group.objects.get(name=Role.SYSTEM_ADMINISTRATOR)

        assert self.refused(save_page(root, self.page(person), roles=[role.pk], managed_corps=[corp.pk]), person)
        reader = Group.objects.get(name=Role.READ_ONLY)
        assert save_page(root, self.page(person), roles=[reader.pk], managed_corps=[corp.pk]).status_code == 302

    def test_by_a_permission_or_by_taking_away_what_is_more_or_by_letting_somebody_in_again(
        self, root: Client, corp: Corp
    ) -> None:
        chief = Role.SYSTEM_ADMINISTRATOR
        former = with_role("former", chief, corp, is_active=False)
        left = with_role("left", chief, corp)
        User.objects.filter(pk=left.pk).update(is_staff=False)
        of_all = with_role("of-all", chief)
        for person, changes in (
            (with_role("reader", Role.READ_ONLY, corp), {"user_permissions": [permission("add_user").pk]}),
            (of_all, {"manages_all_corps": None, "managed_corps": [corp.pk]}),
            (with_role("superuser", chief, corp, is_superuser=True), {"is_superuser": None}),
            (former, {"is_active": "on"}),
            (left, {"is_staff": "on"}),
        ):
            assert self.refused(save_page(root, self.page(person), **changes), person)

    def test_by_an_administrator_of_all_companies(self, corp: Corp) -> None:
        chief = client_of(with_role("chief", Role.SYSTEM_ADMINISTRATOR))
        person = with_role("new", None, corp)
        role = Group.objects.get(name=Role.SYSTEM_ADMINISTRATOR)

        assert self.refused(save_page(chief, self.page(person), roles=[role.pk]), person)

    def test_by_the_permissions_of_a_group(self, root: Client, corp: Corp) -> None:
        group = Group.objects.create(name="helpers")
        person = with_role("reader", Role.READ_ONLY, corp)
        person.groups.add(group)

        response = save_page(root, f"/admin/auth/group/{group.pk}/change/", permissions=[permission("change_user").pk])

        assert self.refused(response, person)
        person.groups.remove(group)
        path = f"/admin/auth/group/{group.pk}/change/"
        assert save_page(root, path, permissions=[permission("change_user").pk]).status_code == 302

    def test_is_allowed_where_the_bi_is_entered_by_the_attribute_or_not_at_all(self, root: Client, corp: Corp) -> None:
        role = Group.objects.get(name=Role.SYSTEM_ADMINISTRATOR)
        for number, (source, is_enabled) in enumerate([("bi_login_id", True), ("username", False)]):
            make_bi(external_id_source=source, is_enabled=is_enabled)
            person = User.objects.create(username=f"new-{number}", is_staff=True)

            assert save_page(root, self.page(person), roles=[role.pk], managed_corps=[corp.pk]).status_code == 302
            person.delete()


def test_installations_that_had_both_go_on_and_are_told_until_one_is_gone(
    root: Client, limited: User, corp: Corp
) -> None:
    """Warn on the overview and on the page, but not the administrator of one company."""
    make_bi(external_id_source="username")
    assert save_page(root, BI_PAGE, token_seconds="30").status_code == 302
    assert save_page(root, f"{LIST}{limited.pk}/change/", name="New name").status_code == 302

    index = root.get("/admin/").content.decode()
    assert BY_NAME in index
    assert BI_PAGE in index
    assert BY_NAME in root.get(BI_PAGE).content.decode()
    assert BY_NAME not in client_of(limited).get("/admin/").content.decode()
    limited.groups.clear()
    assert BY_NAME not in root.get("/admin/").content.decode()


def test_somebody_whom_a_limited_administrator_calls_api_does_not_enter_the_bi_as_api(
    root: Client, limited: User, corp: Corp
) -> None:
    make_bi(external_id_source=BiConnection().external_id_source)
    api = make_person("api", corp, "attacker")

    all_errors(save_page(root, BI_PAGE, external_id_source="username"))
    response = client_of(api).get("/bi/")

    assert (response.status_code, response.context["error"].cause) == (403, "bi-no-external-id")


class TestEmailOfWeCom:
    """E-mail addresses that people wrote in WeCom, under a policy that updates people."""

    @pytest.fixture
    def policy(self, corp: Corp) -> DirectoryPolicy:
        return DirectoryPolicy.objects.create(corp=corp, mode="link")

    def page(self, policy: DirectoryPolicy) -> str:
        return f"/admin/accounts/directorypolicy/{policy.pk}/change/"

    def test_is_refused_as_identity(self, root: Client, policy: DirectoryPolicy) -> None:
        make_bi(external_id_source="bi_login_id")
        DirectoryPolicy.objects.update(mode="create")

        errors = all_errors(save_page(root, BI_PAGE, external_id_source="email"))

        assert len(errors) == 1
        assert errors[0].startswith(BY_EMAIL)
        assert save_page(root, BI_PAGE, external_id_source="username").status_code == 302

    def test_is_not_taken_over_while_it_is_the_identity(self, root: Client, policy: DirectoryPolicy) -> None:
        make_bi(external_id_source="email")

        errors = all_errors(save_page(root, self.page(policy), mode="create"))

        assert len(errors) == 1
        assert errors[0].startswith("People enter the BI by their e-mail, and may change it in WeCom")
        policy.refresh_from_db()
        assert policy.mode == "link"
        make_bi(external_id_source="username")
        assert save_page(root, self.page(policy), mode="create").status_code == 302

    def test_of_an_installation_that_had_both_is_told(self, root: Client, policy: DirectoryPolicy) -> None:
        make_bi(external_id_source="email")
        assert BY_EMAIL not in root.get("/admin/").content.decode()
        DirectoryPolicy.objects.update(mode="create")

        assert BY_EMAIL in root.get("/admin/").content.decode()
        assert save_page(root, self.page(policy), match_email="on").status_code == 302
