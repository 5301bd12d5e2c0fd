"""The page of the site address: it saves nothing before it has shown the consequences."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.users.roles import Role
from integrations.models import Corp, SiteAddress
from tests.browser_form import skip_drawing
from tests.integrations.conftest import ADDRESS_PERMISSIONS, client_of, staff
from tests.integrations.pages import in_role, text_of

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


def open_page(client: Client, address: SiteAddress, headers: dict[str, str] = HERE) -> dict[str, str]:
    """Open the page and return its version."""
    with skip_drawing():
        response: Any = client.get(page(address), headers=headers)
    return {"page_version": response.context_data["adminform"].form["page_version"].value()}


def test_a_change_is_shown_then_saved_and_leads_to_the_new_address(
    admin_client: Client, default: SiteAddress, corp: Corp, other_corp: Corp
) -> None:
    own = other_corp.site_address = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    other_corp.save()
    moved = {"url": "https://new.example.com", **open_page(admin_client, own)}
    of_other = text_of(admin_client.post(page(own), moved, headers=HERE))
    assert ("南海物流" in of_other, "北山制造" in of_other) == (True, False)

    shown = admin_client.post(
        page(default), {"url": "HTTPS://BI.example.com", **open_page(admin_client, default)}, headers=HERE
    )

    text, content = text_of(shown), shown.content.decode()
    assert "Before http://localhost:3001/ After https://bi.example.com/" in text
    assert "北山制造 Trusted domain, Callback domain localhost:3001 bi.example.com" in text
    assert "南海物流" not in text
    assert all(f"redirect_uri={host}" in content for host in ("http%3A%2F%2Flocalhost%3A3001", "https%3A%2F%2Fbi.ex"))
    assert "This page will be reached under https://bi.example.com/ only" in text
    default.refresh_from_db()
    assert default.url == "http://localhost:3001/"
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

    typed = {"url": "https://bi.example.com", **open_page(admin_client, default, headers)}
    shown = admin_client.post(page(default), typed, headers=headers)
    response = admin_client.post(page(default), {**typed, "_confirmed": "1", "_save": "1"}, headers=headers)

    assert "This page will be reached" not in text_of(shown)
    assert response["Location"] == LIST


def test_a_wrong_address_is_refused(admin_client: Client, default: SiteAddress) -> None:
    SiteAddress.objects.create(url="https://other.example.com/")
    for number, (url, error) in enumerate(
        (
            ("bi.example.com", "The address must begin with http:// or https://."),
            ("https://bi.example.com/bi", "Write scheme and host only, without anything after the host: "),
            ("https://203.0.113.9", "WeCom accepts no IP address as a domain."),
            ("https://my_bi.example.com", "WeCom accepts no domain with an underscore (_)."),
            ("http://other.example.com", "There is a site address with this host already."),
        )
    ):
        confirmed = {"_confirmed": "1"} if number % 2 else {}  # with and without confirmation
        typed = {"url": url, **confirmed, **open_page(admin_client, default)}
        response: Any = admin_client.post(page(default), typed, headers=HERE)

        assert response.status_code == 200
        assert error in text_of(response)
        assert response.context["adminform"].form["url"].value() == url  # for correction
        default.refresh_from_db()
        assert default.url == "http://localhost:3001/"


def test_what_is_not_encrypted_is_called_so_and_the_same_address_asks_nothing(
    admin_client: Client, default: SiteAddress
) -> None:
    carried = open_page(admin_client, default)
    shown = admin_client.post(page(default), {"url": "http://bi.example.com", **carried}, headers=HERE)
    same = {"url": "http://localhost:3001", "_save": "1", **carried}
    saved = admin_client.post(page(default), same, headers=HERE)

    assert "The new address has no encryption (http)" in text_of(shown)
    assert (saved.status_code, saved["Location"]) == (302, LIST)


def test_an_address_is_added_and_deleted_unless_it_is_used(
    admin_client: Client, default: SiteAddress, corp: Corp
) -> None:
    for name in ("BI.unused", "used"):
        admin_client.post(ADD, {"url": f"https://{name}.example"}, headers=HERE)
    assert admin_client.get(LIST, headers={"host": "bi.unused.example"}).status_code == 200
    unused, used = SiteAddress.objects.filter(is_default=False).order_by("url")
    assert (unused.url, used.url) == ("https://bi.unused.example/", "https://used.example/")
    corp.site_address = used
    corp.save()

    assert admin_client.post(page(default, "delete"), {"post": "yes"}, headers=HERE).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": default.pk, "post": "yes"}
    admin_client.post(LIST, selected, headers=HERE)
    for address in (unused, used):
        admin_client.post(page(address, "delete"), {"post": "yes"}, headers=HERE)

    assert set(SiteAddress.objects.all()) == {default, used}


def test_the_list_names_the_first_companies(admin_client: Client, corp: Corp, other_corp: Corp) -> None:
    own = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    SiteAddress.objects.create(url="https://unused.example/")
    for number, address in enumerate([own, own, own, own, None]):
        Corp.objects.create(name=f"C{number}", corpid=f"ww{number:016}", agentid=1, secret="x", site_address=address)

    text = text_of(admin_client.get(LIST, headers=HERE))

    assert re.search(r"http://localhost:3001/\s+C4, 北山制造, 南海物流 ", text)
    assert re.search(r"https://bi.subsidiary.example/\s+C0, C1, C2… ", text)
    assert re.search(r"https://unused.example/\s+— ", text)
    limited = client_of(staff("one", corp, permissions=ADDRESS_PERMISSIONS))  # a manager of one company sees no other
    assert re.search(r"http://localhost:3001/\s+北山制造 ", text_of(limited.get(LIST, headers=HERE)))


KEPT = (
    "A company that has been enabled uses this address: WeCom sends the codes there that identify people. A superuser "
    "can change it."
)
ROLES_THAT_CHANGE = (Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR)


@pytest.fixture(params=["default", "own"])
def address(request: Any, default: SiteAddress, corp: Corp) -> SiteAddress:
    if request.param == "default":
        return default
    corp.site_address = SiteAddress.objects.create(url="https://alpha.example/")
    corp.save()
    return corp.site_address


@pytest.mark.parametrize(
    ("role", "state"),
    [
        (Role.SYSTEM_ADMINISTRATOR, "enabled"),
        (Role.SYSTEM_ADMINISTRATOR, "disabled for the change"),
        (Role.INTEGRATION_ADMINISTRATOR, "without sign-in"),
    ],
)
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
def test_the_roles_set_an_address_up_first_and_add_others_later_a_superuser_always(
    admin_client: Client, address: SiteAddress, corp: Corp, role: Role
) -> None:
    administrator = in_role(role)
    for client, url in ((administrator, "https://bi.example.com/"), (admin_client, "https://new.example.com/")):
        headers = {"host": address.domain}
        typed = {"url": url, "_confirmed": "1", **open_page(client, address, headers)}
        client.post(page(address), typed, headers=headers)

        address.refresh_from_db()
        assert address.url == url
        Corp.objects.filter(pk=corp.pk).update(is_enabled=True, first_enabled_at=timezone.now())

    administrator.post(ADD, {"url": "https://bi.subsidiary.example"}, headers={"host": address.domain})
    assert SiteAddress.objects.filter(url="https://bi.subsidiary.example/").exists()


def test_who_may_change_none_reads_no_reason_and_who_manages_some_companies_who_can(
    default: SiteAddress, corp: Corp
) -> None:
    """Explain: a saved address becomes, at once, a host of this site, and an origin from which forms are accepted."""
    own = corp.site_address = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    corp.save()
    limited = client_of(staff("one", corp, permissions=ADDRESS_PERMISSIONS))
    shown = text_of(limited.get(page(own), headers=HERE))
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())

    assert "This site answers under each saved address: people who manage all companies can" in shown
    assert KEPT not in text_of(in_role(Role.READ_ONLY).get(page(default), headers=HERE))


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

    response = admin_client.post(
        page(default), {"url": url, **open_page(admin_client, default, headers)}, headers=headers
    )

    assert 'name="_confirmed"' in response.content.decode()
    default.refresh_from_db()
    assert default.url == "http://localhost:3001/"
