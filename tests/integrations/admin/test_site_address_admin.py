"""The page of the site address: nothing is saved before its consequences were shown."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from accounts.users.roles import Role
from integrations.models import Corp, SiteAddress
from tests.integrations.conftest import ADDRESS_PERMISSIONS, client_of, staff

pytestmark = pytest.mark.django_db
ADD = "/admin/integrations/siteaddress/add/"
LIST = "/admin/integrations/siteaddress/"
HERE = {"host": "localhost:3001"}


@pytest.fixture(autouse=True)
def _no_extra_hosts(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = []


@pytest.fixture
def default() -> SiteAddress:
    return SiteAddress.objects.default()


def page(address: SiteAddress, action: str = "change") -> str:
    return reverse(f"admin:integrations_siteaddress_{action}", args=[address.pk])


def opened(client: Client, address: SiteAddress, headers: dict[str, str] = HERE) -> dict[str, str]:
    """What the page carries, having been opened."""
    response: Any = client.get(page(address), headers=headers)
    return {"page_version": response.context["adminform"].form["page_version"].value()}


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_a_change_is_shown_before_it_is_saved(
    admin_client: Client, default: SiteAddress, corp: Corp, other_corp: Corp
) -> None:
    other_corp.site_address = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    other_corp.save()

    response = admin_client.post(
        page(default), {"url": "HTTPS://BI.example.com", **opened(admin_client, default)}, headers=HERE
    )

    text = text_of(response)
    assert "Before http://localhost:3001/ After https://bi.example.com/" in text
    assert "北山制造 Trusted domain, Callback domain localhost:3001 bi.example.com" in text
    assert "南海物流" not in text
    assert "This page will be reached under https://bi.example.com/ only" in text
    default.refresh_from_db()
    assert default.url == "http://localhost:3001/"


def test_the_confirmed_change_is_saved_and_leads_to_the_new_address(admin_client: Client, default: SiteAddress) -> None:
    shown = admin_client.post(
        page(default), {"url": "https://bi.example.com", **opened(admin_client, default)}, headers=HERE
    )
    content = shown.content.decode()
    fields = dict(re.findall(r'<input type="hidden" name="(url|page_version|_confirmed)" value="([^"]*)"', content))
    assert (fields["url"], fields["_confirmed"], sorted(fields)) == (
        *("https://bi.example.com/", "1"),
        ["_confirmed", "page_version", "url"],
    )

    response = admin_client.post(page(default), {**fields, "_save": "1"}, headers=HERE)

    default.refresh_from_db()
    assert default.url == "https://bi.example.com/"
    assert (response.status_code, response["Location"]) == (302, f"https://bi.example.com{LIST}")
    assert admin_client.get(LIST, headers=HERE).status_code == 400
    assert admin_client.get(LIST, headers={"host": "bi.example.com"}).status_code == 200


def test_who_came_under_a_host_of_the_environment_stays_there(
    admin_client: Client, default: SiteAddress, settings: Settings
) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["internal.example"]
    headers = {"host": "internal.example"}

    typed = {"url": "https://bi.example.com", **opened(admin_client, default, headers)}
    shown = admin_client.post(page(default), typed, headers=headers)
    response = admin_client.post(page(default), {**typed, "_confirmed": "1", "_save": "1"}, headers=headers)

    assert "This page will be reached" not in text_of(shown)
    assert response["Location"] == LIST


def test_an_unencrypted_address_is_called_one(admin_client: Client, default: SiteAddress) -> None:
    response = admin_client.post(
        page(default), {"url": "http://bi.example.com", **opened(admin_client, default)}, headers=HERE
    )

    assert "The new address has no encryption (http)" in text_of(response)


@pytest.mark.parametrize("confirmed", [{}, {"_confirmed": "1"}])
@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("bi.example.com", "The address must begin with http:// or https://."),
        ("https://bi.example.com/bi", "Write scheme and host only, without anything after the host: "),
        ("https://203.0.113.9", "WeCom accepts no IP address as a domain."),
        ("https://my_bi.example.com", "WeCom accepts no domain with an underscore (_)."),
        ("https://other.example.com", "There is a site address with this host already."),
        ("http://other.example.com", "There is a site address with this host already."),
    ],
)
def test_a_wrong_address_is_refused(
    admin_client: Client, default: SiteAddress, url: str, error: str, confirmed: dict[str, str]
) -> None:
    SiteAddress.objects.create(url="https://other.example.com/")

    response = admin_client.post(
        page(default), {"url": url, **confirmed, **opened(admin_client, default)}, headers=HERE
    )

    assert response.status_code == 200
    assert error in text_of(response)
    default.refresh_from_db()
    assert default.url == "http://localhost:3001/"


def test_saving_the_same_address_asks_nothing(admin_client: Client, default: SiteAddress) -> None:
    typed = {"url": "http://localhost:3001", "_save": "1", **opened(admin_client, default)}
    response = admin_client.post(page(default), typed, headers=HERE)

    assert (response.status_code, response["Location"]) == (302, LIST)


def test_an_address_is_added(admin_client: Client) -> None:
    admin_client.post(ADD, {"url": "https://BI.subsidiary.example"}, headers=HERE)

    address = SiteAddress.objects.get(is_default=False)
    assert address.url == "https://bi.subsidiary.example/"
    assert admin_client.get(LIST, headers={"host": "bi.subsidiary.example"}).status_code == 200


def test_the_default_address_cannot_be_deleted(admin_client: Client, default: SiteAddress) -> None:
    assert admin_client.post(page(default, "delete"), {"post": "yes"}, headers=HERE).status_code == 403
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": default.pk, "post": "yes"}, headers=HERE)

    assert SiteAddress.objects.filter(pk=default.pk).exists()


def test_an_unused_address_can_be_deleted_and_a_used_one_cannot(admin_client: Client, corp: Corp) -> None:
    unused, used = (SiteAddress.objects.create(url=f"https://{name}.example/") for name in ("unused", "used"))
    corp.site_address = used
    corp.save()

    for address in (unused, used):
        admin_client.post(page(address, "delete"), {"post": "yes"}, headers=HERE)

    assert list(SiteAddress.objects.filter(is_default=False)) == [used]


def test_the_list_names_the_first_companies(admin_client: Client, corp: Corp, other_corp: Corp) -> None:
    own = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    SiteAddress.objects.create(url="https://unused.example/")
    for number, address in enumerate([own, own, own, own, None]):
        Corp.objects.create(name=f"C{number}", corpid=f"ww{number:016}", agentid=1, secret="x", site_address=address)

    text = text_of(admin_client.get(LIST, headers=HERE))

    assert re.search(r"http://localhost:3001/\s+C4, 北山制造, 南海物流 ", text)
    assert re.search(r"https://bi.subsidiary.example/\s+C0, C1, C2… ", text)
    assert re.search(r"https://unused.example/\s+— ", text)


def test_the_list_names_no_company_that_one_does_not_see(corp: Corp, other_corp: Corp) -> None:
    client = client_of(staff("one", corp, permissions=ADDRESS_PERMISSIONS))

    assert re.search(r"http://localhost:3001/\s+北山制造 ", text_of(client.get(LIST, headers=HERE)))


# --- Who may change an address ----------------------------------------------------------------------------------------

KEPT = (
    "A company that has been enabled uses this address: WeCom sends the codes there that say who somebody is. "
    "A superuser can change it."
)
ROLES_THAT_CHANGE = (Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR)


def in_role(role: Role) -> Client:
    person = User.objects.create_user("somebody", is_staff=True, manages_all_corps=True)
    person.groups.add(Group.objects.get(name=role))
    return client_of(person)


@pytest.fixture(params=["default", "own"])
def address(request: Any, default: SiteAddress, corp: Corp) -> SiteAddress:
    """The one that `corp` uses."""
    if request.param == "default":
        return default
    corp.site_address = SiteAddress.objects.create(url="https://alpha.example/")
    corp.save()
    return corp.site_address


@pytest.mark.parametrize("role", ROLES_THAT_CHANGE)
@pytest.mark.parametrize("state", ["enabled", "without sign-in", "disabled for the change"])
def test_no_role_changes_the_address_of_a_company_that_was_enabled(
    address: SiteAddress, corp: Corp, role: Role, state: str
) -> None:
    Corp.objects.filter(pk=corp.pk).update(
        is_enabled=not state.startswith("disabled"),
        first_enabled_at=timezone.now(),
        sign_in_enabled=state != "without sign-in",
    )
    before, client = address.url, in_role(role)

    shown = client.get(page(address), headers=HERE)
    typed = {"url": "https://evil.example/", "page_version": "", "_save": "1"}
    changed = [client.post(page(address), {**typed, **more}, headers=HERE) for more in ({}, {"_confirmed": "1"})]
    deleted = client.post(page(address, "delete"), {"post": "yes"}, headers=HERE)

    assert KEPT in text_of(shown)
    assert b'name="url"' not in shown.content
    assert [answer.status_code for answer in (*changed, deleted)] == [403, 403, 403]
    address.refresh_from_db()
    assert address.url == before


@pytest.mark.parametrize("role", ROLES_THAT_CHANGE)
def test_the_roles_set_an_address_up_before_the_first_enabling(address: SiteAddress, role: Role) -> None:
    client = in_role(role)
    carried = opened(client, address)

    client.post(page(address), {"url": "https://bi.example.com", "_confirmed": "1", **carried}, headers=HERE)

    address.refresh_from_db()
    assert address.url == "https://bi.example.com/"


@pytest.mark.parametrize("role", ROLES_THAT_CHANGE)
def test_the_roles_add_addresses_beside_one_in_service(corp: Corp, role: Role) -> None:
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())

    in_role(role).post(ADD, {"url": "https://bi.subsidiary.example"}, headers=HERE)

    assert SiteAddress.objects.get(is_default=False).url == "https://bi.subsidiary.example/"


def test_a_superuser_changes_the_address_of_an_enabled_company(
    admin_client: Client, address: SiteAddress, corp: Corp
) -> None:
    Corp.objects.filter(pk=corp.pk).update(is_enabled=True, first_enabled_at=timezone.now())
    carried = opened(admin_client, address)

    admin_client.post(page(address), {"url": "https://bi.example.com", "_confirmed": "1", **carried}, headers=HERE)

    address.refresh_from_db()
    assert address.url == "https://bi.example.com/"


@pytest.mark.parametrize("role", [Role.READ_ONLY, Role.PUSH_EDITOR])
def test_who_may_change_no_address_reads_no_reason(default: SiteAddress, corp: Corp, role: Role) -> None:
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())

    assert KEPT not in text_of(in_role(role).get(page(default), headers=HERE))


class TestWhoManagesSomeCompaniesOnly:
    """A saved address is a host of this site, and an origin from which its forms are taken, at once."""

    @pytest.fixture
    def limited(self, corp: Corp) -> Client:
        return client_of(staff("one", corp, permissions=ADDRESS_PERMISSIONS))

    def test_is_told_who_can_change_one(self, limited: Client, corp: Corp) -> None:
        own = corp.site_address = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
        corp.save()

        shown = limited.get(page(own), headers=HERE)

        assert "This site answers under each address that is saved: who manages all companies can" in text_of(shown)


# --- The first address ------------------------------------------------------------------------------------------------


def test_the_address_at_which_one_reads_is_filled_in_and_needs_no_confirmation(
    admin_client: Client, default: SiteAddress, settings: Settings
) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["hub.example.com"]
    headers = {"host": "hub.example.com"}
    form: Any = admin_client.get(page(default), headers=headers).context["adminform"].form
    typed = {"url": form["url"].value(), "page_version": form["page_version"].value()}

    response = admin_client.post(page(default), typed, headers=headers)

    assert typed["url"] == "http://hub.example.com/"
    assert "Filled in" in form["url"].help_text
    assert (response.status_code, response["Location"]) == (302, LIST)
    default.refresh_from_db()
    assert default.url == "http://hub.example.com/"
    again: Any = admin_client.get(page(default), headers=headers).context["adminform"].form
    assert "Filled in" not in again["url"].help_text


@pytest.mark.parametrize(("url", "has_corp"), [("https://hub.example.com", False), ("http://hub.example.com", True)])
def test_another_scheme_or_a_company_at_it_asks_first(
    admin_client: Client,
    default: SiteAddress,
    settings: Settings,
    request: pytest.FixtureRequest,
    url: str,
    has_corp: bool,
) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["hub.example.com"]
    if has_corp:
        request.getfixturevalue("corp")
    headers = {"host": "hub.example.com"}

    response = admin_client.post(page(default), {"url": url, **opened(admin_client, default, headers)}, headers=headers)

    assert 'name="_confirmed"' in response.content.decode()
    default.refresh_from_db()
    assert default.url == "http://localhost:3001/"


def test_what_was_typed_is_kept_where_it_is_refused(
    admin_client: Client, default: SiteAddress, settings: Settings
) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["hub.example.com"]
    headers = {"host": "hub.example.com"}
    response: Any = admin_client.post(
        page(default), {"url": "nothing", **opened(admin_client, default, headers)}, headers=headers
    )
    assert response.context["adminform"].form["url"].value() == "nothing"
