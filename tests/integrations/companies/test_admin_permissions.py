"""Every page and action of this app's admin, tried by everybody who should be let in or kept out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from integrations.companies.callbacks import generate_callback_keys
from integrations.models import CallbackEvent, CheckRun, ConsoleWrite, Corp, SiteAddress, VerificationFile
from tests.integrations.conftest import ADDRESS_PERMISSIONS, CORP_PERMISSIONS, client_of, staff
from tests.integrations.diagnosing import passed
from tests.integrations.opening import version_on

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Page:
    """One page or action. `expected`: the status for each person; 302 leads away (to sign-in or to the index)."""

    name: str
    expected: dict[str, int]
    model: str = "corp"
    has_object: bool = True
    method: str = "get"
    data: dict[str, str] = field(default_factory=dict)
    # What stands in the address after the object; "file" and "write" for the company's one of these.
    arguments: tuple[str, ...] = ()


def statuses(**by_person: int) -> dict[str, int]:
    """What each person gets; those not named are not let in."""
    anonymous_or_employee = {"anonymous": 302, "employee": 302}
    refused = {"bystander": 403, "manager_of_another": 302, "viewer": 403}
    return {**anonymous_or_employee, **refused, **by_person}


FORM = {"name": "x", "agentid": "1"}
EVERY_PAGE = [
    Page("changelist", statuses(manager_of_another=200, viewer=200, manager=200, superuser=200), has_object=False),
    Page("add", statuses(manager_of_another=403, manager=403, superuser=200), has_object=False),
    Page("change", statuses(viewer=200, manager=200, superuser=200)),
    Page("change", statuses(manager=200, superuser=200), method="post", data=FORM),
    Page("history", statuses(bystander=302, viewer=200, manager=200, superuser=200)),
    Page("delete", statuses(manager=200, superuser=200)),
    Page("delete", statuses(manager=302, superuser=302), method="post", data={"post": "yes"}),
    Page("diagnosis", statuses(bystander=404, manager_of_another=404, viewer=200, manager=200, superuser=200)),
    Page("diagnosis_export", statuses(bystander=404, manager_of_another=404, viewer=200, manager=200, superuser=200)),
    Page("diagnosis_run", statuses(bystander=404, manager_of_another=404, manager=302, superuser=302), method="post"),
    Page(
        "diagnosis_message",
        statuses(bystander=404, manager_of_another=404, manager=302, superuser=302),
        method="post",
        data={"userid": "lilei"},
    ),
    *(
        Page(
            f"credentials_{action}",
            statuses(bystander=404, manager_of_another=404, manager=403, superuser=302),
            method="post",
        )
        for action in ("check", "discard")
    ),
    Page("steps", statuses(bystander=404, manager_of_another=404, viewer=200, manager=200, superuser=200)),
    Page("link", statuses(bystander=404, manager_of_another=404, viewer=200, manager=200, superuser=200)),
    Page(
        "ips",
        statuses(bystander=404, manager_of_another=404, manager=302, superuser=302),
        method="post",
        data={"addresses": "203.0.113.9"},
    ),
    *(
        Page(
            "write_start",
            statuses(bystander=404, manager_of_another=404, manager=302, superuser=302),
            method="post",
            arguments=(kind,),
        )
        for kind in ("settings", "menu")
    ),
    *(
        Page(
            name,
            statuses(bystander=404, manager_of_another=404, manager=200, superuser=200),
            arguments=("write",),
        )
        for name in ("write", "write_state")
    ),
    Page(
        "write_confirm",
        statuses(bystander=404, manager_of_another=404, manager=302, superuser=302),
        method="post",
        arguments=("write",),
    ),
    Page("enable", statuses(bystander=404, manager_of_another=404, manager=200, superuser=200)),
    Page("enable", statuses(bystander=404, manager_of_another=404, manager=302, superuser=302), method="post"),
    Page("disable", statuses(bystander=404, manager_of_another=404, manager=200, superuser=200)),
    Page("disable", statuses(bystander=404, manager_of_another=404, manager=302, superuser=302), method="post"),
    Page("verification", statuses(bystander=404, manager_of_another=404, manager=302, superuser=302), method="post"),
    Page("verification_panel", statuses(bystander=404, manager_of_another=404, viewer=200, manager=200, superuser=200)),
    *(
        Page(
            f"verification_{action}",
            statuses(bystander=404, manager_of_another=404, manager=302, superuser=302),
            method="post",
            arguments=("file",),
        )
        for action in ("check", "remove")
    ),
    *(
        page
        for kind in ("app", "contacts")
        for page in (
            Page(
                "callback_state",
                statuses(bystander=404, manager_of_another=404, viewer=200, manager=200, superuser=200),
                arguments=(kind,),
            ),
            Page(
                "callback_generate",
                statuses(bystander=404, manager_of_another=404, manager=302, superuser=302),
                method="post",
                arguments=(kind,),
            ),
            Page(
                "callback_paste",
                statuses(bystander=404, manager_of_another=404, manager=200, superuser=200),
                arguments=(kind,),
            ),
            Page(
                "callback_paste",
                statuses(bystander=404, manager_of_another=404, manager=302, superuser=302),
                method="post",
                data={"token": "t" * 32, "aes_key": "k" * 43},
                arguments=(kind,),
            ),
            Page(
                "callback_keys",
                statuses(bystander=404, manager_of_another=404, manager=200, superuser=200),
                method="post",
                arguments=(kind,),
            ),
        )
    ),
    Page(
        "changelist",
        statuses(manager_of_another=200, viewer=200, manager=200, superuser=200),
        model="siteaddress",
        has_object=False,
    ),
    Page("add", statuses(manager_of_another=403, manager=403, superuser=200), model="siteaddress", has_object=False),
    Page("change", statuses(viewer=200, manager=200, superuser=200), model="siteaddress"),
    Page(
        "change",
        statuses(manager=403, superuser=302),
        model="siteaddress",
        method="post",
        data={"url": "https://new.example/", "_confirmed": "1"},
    ),
    Page("history", statuses(bystander=302, viewer=200, manager=200, superuser=200), model="siteaddress"),
    Page("delete", statuses(manager=403, superuser=200), model="siteaddress"),
]
PEOPLE = ["anonymous", "employee", "bystander", "manager_of_another", "viewer", "manager", "superuser"]


@pytest.fixture(autouse=True)
def _one_host(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]


@pytest.fixture
def target(corp: Corp) -> Corp:
    """A company of its own address, ready to be enabled, with a verification file and keys for callbacks."""
    corp.site_address = SiteAddress.objects.create(url="https://bi.example.com/")
    corp.save()
    VerificationFile.objects.create(corp=corp, code="0123456789abcdef", uploaded_at=timezone.now())
    for kind in CallbackEvent.Kind:
        generate_callback_keys(corp=corp, kind=kind)
    passed(corp)
    ConsoleWrite.objects.create(corp=corp, kind="settings", status="planned", requested_at=timezone.now())
    return corp


def person(name: str, target: Corp, other_corp: Corp) -> User | None:
    everything = CORP_PERMISSIONS + ADDRESS_PERMISSIONS
    if name == "anonymous":
        return None
    if name == "employee":
        return User.objects.create_user("employee")
    if name == "superuser":
        return User.objects.create_superuser("root")
    corps, permissions = {
        "bystander": ((), ()),
        "manager_of_another": ((other_corp,), everything),
        "viewer": ((target,), ("view_corp", "view_siteaddress")),
        "manager": ((target,), everything),
    }[name]
    return staff(name, *corps, permissions=permissions)


def state() -> list[Any]:
    models = (Corp, SiteAddress, VerificationFile, ConsoleWrite)
    return [list(model.objects.order_by("pk").values()) for model in models] + [CheckRun.objects.count()]


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("entry", EVERY_PAGE, ids=lambda entry: f"{entry.method}-{entry.model}-{entry.name}")
def test_everybody_on_every_page(entry: Page, name: str, target: Corp, other_corp: Corp) -> None:
    subject = target if entry.model == "corp" else target.site_address
    args: list[Any] = [subject.pk] if entry.has_object and subject is not None else []
    rows = {"file": VerificationFile.objects.get().pk, "write": ConsoleWrite.objects.get().pk}
    args += [rows.get(word, word) for word in entry.arguments]
    url = reverse(f"admin:integrations_{entry.model}_{entry.name}", args=args)
    client = client_of(person(name, target, other_corp))
    before = state()

    opened = {"page_version": version_on(client, url)} if (entry.method, entry.name) == ("post", "change") else {}
    response = getattr(client, entry.method)(url, {**entry.data, **opened})

    assert response.status_code == entry.expected[name]
    if name not in {"manager", "superuser"}:
        assert state() == before
        if entry.has_object and response.status_code != 200:
            assert target.name not in response.content.decode()


@pytest.mark.parametrize("name", ["manager_of_another"])
def test_lists_hold_nothing_of_other_companies(name: str, target: Corp, other_corp: Corp) -> None:
    client = client_of(person(name, target, other_corp))

    corps = client.get("/admin/integrations/corp/").content.decode()
    addresses = client.get("/admin/integrations/siteaddress/").content.decode()

    assert (other_corp.name in corps, target.name in corps) == (True, False)
    assert ("http://localhost:3001/" in addresses, "https://bi.example.com/" in addresses) == (True, False)


def test_who_may_only_look_finds_no_button_and_no_secret_field(target: Corp, other_corp: Corp) -> None:
    client = client_of(person("viewer", target, other_corp))

    content = client.get(reverse("admin:integrations_corp_change", args=[target.pk])).content.decode()

    assert "data-diagnosis-form" not in content
    assert "new_secret" not in content
    assert "/enable/" not in content
    assert not re.search(r'<form[^>]*method="post"[^>]*action="/admin/integrations/', content)
    assert "data-copy" in content


def test_every_page_of_companies_and_addresses_is_in_the_table() -> None:
    """The pages of all models, with all roles, stand in tests/admin_table.py."""
    names = {
        url.name.removeprefix("integrations_")
        for model, model_admin in admin.site._registry.items()
        if model in {Corp, SiteAddress}
        for url in model_admin.get_urls()
        if url.name
    }

    assert names == {f"{page.model}_{page.name}" for page in EVERY_PAGE}
