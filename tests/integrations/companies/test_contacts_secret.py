"""The Secret of Contacts sync on a company's page: who enters it, and that nobody reads it."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User
from accounts.users.roles import Role
from integrations.directory.sync import request_run
from integrations.models import Corp, SyncRun
from tests.integrations.companies.test_corp_admin import ADD, errors_of, page, post, text_of
from tests.integrations.conftest import client_of, staff

pytestmark = pytest.mark.django_db
NEW = "contacts-secret-0123456789"
ONLY_SUPERUSERS = (
    "Only a superuser may change this once the company has been enabled: it decides who is whom in the directory."
)


def in_role(role: Role) -> Client:
    """Somebody of all companies."""
    person = User.objects.create_user("somebody", is_staff=True, manages_all_corps=True)
    person.groups.add(Group.objects.get(name=role))
    return client_of(person)


@pytest.fixture
def saved(corp: Corp) -> Corp:
    corp.contacts_secret = NEW
    corp.save()
    return corp


@pytest.fixture
def enabled(corp: Corp) -> Corp:
    corp.is_enabled, corp.first_enabled_at = True, timezone.now()
    corp.save()
    return corp


def test_it_is_entered_with_a_new_company(admin_client: Client) -> None:
    post(admin_client, ADD, new_secret="the-secret", new_contacts_secret=f" {NEW}\u200b")

    assert Corp.objects.get().contacts_secret == NEW


def test_once_entered_the_directory_is_read_with_both_secrets(admin_client: Client, corp: Corp) -> None:
    assert "A Contacts sync Secret is saved." not in text_of(admin_client.get(page(corp)))

    response = post(admin_client, page(corp), new_contacts_secret=NEW)

    corp.refresh_from_db()
    assert (corp.contacts_secret, corp.secret, corp.connection_version) == (NEW, "the-secret", 2)
    assert "A Contacts sync Secret is saved." in text_of(response)
    assert LogEntry.objects.get().get_change_message() == "Changed Contacts sync Secret."
    run = request_run(corp=corp, trigger=SyncRun.Trigger.MANUAL, now=timezone.now())
    assert run.source == SyncRun.Source.BOTH


def test_it_is_kept_replaced_and_removed(admin_client: Client, saved: Corp) -> None:
    post(admin_client, page(saved), name="新名")
    assert Corp.objects.get().contacts_secret == NEW

    post(admin_client, page(saved), new_contacts_secret="another")
    assert Corp.objects.get().contacts_secret == "another"

    post(admin_client, page(saved), remove_contacts_secret="on")
    assert Corp.objects.get().contacts_secret == ""


def test_nothing_shows_it(admin_client: Client, saved: Corp) -> None:
    pages = [
        admin_client.get(page(saved)),
        post(admin_client, page(saved), name="", new_contacts_secret="typed-now"),
        post(admin_client, page(saved), new_contacts_secret="typed-now"),
        admin_client.get(page(saved, "history")),
    ]

    assert not any(re.search(f"{NEW}|typed-now", response.content.decode()) for response in pages)  # type: ignore[attr-defined]  # the client's own class
    told = f"{list(LogEntry.objects.values())} {list(AuditEntry.objects.values())}"
    assert not re.search(f"{NEW}|typed-now", told)


def test_the_saved_one_is_not_sent_another_way(admin_client: Client, saved: Corp) -> None:
    way = {"new_proxy_url": "http://elsewhere.example:1", "new_secret": "the-secret"}

    refused = post(admin_client, page(saved), **way)

    assert errors_of(refused) == {
        "new_contacts_secret": ["Paste this Secret again, or remove it: with this change it would be sent another way."]
    }
    assert Corp.objects.get().proxy_url == ""
    post(admin_client, page(saved), **way, new_contacts_secret=NEW)
    assert Corp.objects.get().proxy_url == "http://elsewhere.example:1"


# --- Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR])
def test_of_a_company_that_was_enabled_no_role_enters_it(enabled: Corp, role: Role) -> None:
    client = in_role(role)

    content = client.get(page(enabled))
    post(client, page(enabled), name="新名", new_contacts_secret=NEW)

    enabled.refresh_from_db()
    assert (enabled.name, enabled.contacts_secret) == ("新名", "")
    assert b'name="new_contacts_secret"' not in content.content
    assert ONLY_SUPERUSERS in text_of(content)
    assert re.search(r"Contacts sync Secret\W+not entered", text_of(content))


def test_nor_does_the_company_s_own_administrator_remove_it(enabled: Corp, saved: Corp) -> None:
    client = client_of(staff("one", saved, permissions=("view_corp", "change_corp")))

    text = text_of(client.get(page(saved)))
    post(client, page(saved), remove_contacts_secret="on", domain_id="guanbi")

    saved.refresh_from_db()
    assert (saved.domain_id, saved.contacts_secret) == ("guanbi", NEW)
    assert re.search(r"Contacts sync Secret\W+saved", text)


def test_a_superuser_enters_it(admin_client: Client, enabled: Corp) -> None:
    post(admin_client, page(enabled), new_contacts_secret=NEW)

    assert Corp.objects.get().contacts_secret == NEW


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR])
def test_before_the_first_enabling_the_roles_enter_it(corp: Corp, role: Role) -> None:
    post(in_role(role), page(corp), new_contacts_secret=NEW)

    assert Corp.objects.get().contacts_secret == NEW


def test_who_may_only_look_sees_whether_one_is_saved(saved: Corp) -> None:
    client = in_role(Role.READ_ONLY)

    text = text_of(client.get(page(saved)))

    assert re.search(r"Contacts sync Secret\W+saved", text)
    assert "Only a superuser" not in text
    assert client.post(page(saved), {"new_contacts_secret": "x"}).status_code == 403
    assert Corp.objects.get().contacts_secret == NEW
