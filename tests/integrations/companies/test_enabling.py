"""Enabling a company, switching sign-in on, disabling: reasons against it, and the sentences of the pages."""

import datetime as dt
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from integrations.companies import links, services
from integrations.companies.diagnosis.console import judge_home_page
from integrations.core import hooks
from integrations.hooks import Hook
from integrations.models import Corp, SiteAddress
from tests.integrations.companies.test_corp_admin import page, post
from tests.integrations.diagnosing import check_run, pass_checks
from tests.integrations.pages import errors_of, text_of

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
ROOT = User(is_superuser=True)


@pytest.mark.parametrize(("by", "carries_rights"), [(ROOT, True), (User(is_staff=True), False)])
@pytest.mark.usefixtures("at_home")
def test_the_first_enabling_is_remembered_and_carries_rights_if_a_superuser_did_it(
    corp: Corp, by: User, carries_rights: bool
) -> None:
    """Carry no rights otherwise: whoever set it up may have chosen which app identifies people."""
    Corp.objects.update(admin_rights_enabled=True)
    pass_checks(corp)

    services.enable_corp(corp=corp, by=by, now=NOW)
    assert (corp.is_enabled, corp.first_enabled_at) == (True, NOW)
    assert Corp.objects.enabled().get().admin_rights_enabled is carries_rights
    services.disable_corp(corp=corp)
    assert not Corp.objects.enabled().exists()

    services.enable_corp(corp=corp, by=User(is_staff=True), now=NOW + dt.timedelta(days=1))
    assert (corp.is_enabled, corp.first_enabled_at) == (True, NOW)
    assert Corp.objects.get().admin_rights_enabled is carries_rights


def test_only_the_first_company_of_all_begins_with_rights_after_wecom(db: None) -> None:
    for number in (2, 3):
        new = Corp(name=f"公司 {number}", corpid=f"ww{number:016d}", agentid=number, secret="s")
        services.save_corp(corp=new, changed_fields=())

    assert list(Corp.objects.order_by("pk").values_list("admin_rights_enabled", flat=True)) == [True, False]


@pytest.mark.parametrize(
    "change",
    [{"connection_version": 2}, {"sign_in_enabled": False}, {"site_address": "other"}, {"domain_id": "another"}],
)
@pytest.mark.usefixtures("at_home")
def test_a_corp_that_somebody_changed_since_it_was_read_is_not_enabled(corp: Corp, change: dict[str, Any]) -> None:
    pass_checks(corp)
    if "site_address" in change:
        change = {"site_address": SiteAddress.objects.create(url="https://other.example.com/")}
    Corp.objects.filter(pk=corp.pk).update(**change)

    assert services.enable_corp(corp=corp, by=ROOT, now=NOW) == [
        "Somebody changed the connection in the meantime. Test it again."
    ]
    corp.refresh_from_db()
    assert (corp.is_enabled, corp.first_enabled_at) == (False, None)


@pytest.mark.parametrize(("environment", "count"), [("demo", 0), ("test", 0), ("production", 1)])
def test_the_sandbox_is_enough_outside_production(corp: Corp, settings: Settings, environment: str, count: int) -> None:
    settings.ENVIRONMENT = environment
    corp.api_base_url = "http://127.0.0.1:3002"
    corp.save()
    pass_checks(corp)

    assert len(services.find_reasons_against_enabling(corp, now=NOW)) == count


def test_enabling_is_refused_with_every_reason(admin_client: Client, corp: Corp) -> None:
    shown = admin_client.get(page(corp, "enable"))
    refused = admin_client.post(page(corp, "enable"))

    assert (shown.status_code, refused.status_code) == (200, 409)
    for response in (shown, refused):
        assert (
            "Not checked, or not since the last change: Token, Trusted IP, AgentId and Secret, App enabled, Visible "
            "scope, Trusted domain, Home page link. Run the diagnosis first."
        ) in text_of(response)
        assert "The site address is still http://localhost:3001/" in text_of(response)
        assert 'type="submit" class="button default"' not in response.content.decode()
    assert not Corp.objects.enabled().exists()


@pytest.mark.usefixtures("at_home")
def test_a_ready_company_is_enabled_after_a_confirmation(admin_client: Client, corp: Corp) -> None:
    pass_checks(corp)
    headers = {"host": "bi.example.com"}
    shown = admin_client.get(page(corp, "enable"), headers=headers)
    assert "People of this company will be able to sign in" in text_of(shown)
    version = corp.connection_version
    assert f'name="connection_version" value="{version}"' in shown.content.decode()
    late = admin_client.post(page(corp, "enable"), {"connection_version": version - 1}, headers=headers)
    assert late.status_code == 409
    assert "Somebody changed the connection in the meantime. Test it again." in text_of(late)
    assert not Corp.objects.enabled().exists()

    response = admin_client.post(page(corp, "enable"), {"connection_version": version}, headers=headers, follow=True)

    assert Corp.objects.enabled().get() == corp
    assert "“北山制造” is enabled." in text_of(response)
    assert LogEntry.objects.get().get_change_message() == "Changed enabled: no → yes."


def test_disabling_says_first_what_it_does(admin_client: Client, corp: Corp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "corp_disabling", Hook())
    hooks.corp_disabling.register(lambda corp: [f"{corp.name}: 3 people & more."])
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())

    shown = admin_client.get(page(corp, "disable"))
    assert Corp.objects.enabled().exists()
    response = admin_client.post(page(corp, "disable"), follow=True)

    assert "北山制造: 3 people & more." in text_of(shown)
    assert not Corp.objects.enabled().exists()
    assert "“北山制造” is disabled." in text_of(response)
    assert LogEntry.objects.get().get_change_message() == "Changed enabled: yes → no."


@pytest.mark.usefixtures("at_home")
def test_without_sign_in_neither_page_speaks_of_it(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(sign_in_enabled=False)
    corp.refresh_from_db()
    pass_checks(corp)
    headers = {"host": "bi.example.com"}

    text, stopped = (text_of(admin_client.get(page(corp, name), headers=headers)) for name in ("enable", "disable"))

    assert "Due messages will be sent to the people of this company." in text
    assert "sign in" not in text.split("Enable “", 1)[1]
    assert "Nothing will be sent to this company." in stopped
    assert "sign in" not in stopped.split("Disable “", 1)[1]


@pytest.fixture
def pushing(at_home: Corp) -> Corp:
    """A company enabled for messages, without sign-in."""
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now(), sign_in_enabled=False)
    at_home.refresh_from_db()
    return at_home


def make_results(
    corp: Corp, *, home_page: str | None = None, domain: str = "ok", age: dt.timedelta = dt.timedelta()
) -> None:
    """Make the checks' results of WeCom's settings; `home_page` None is the plain login address."""
    theirs = links.build_plain_login_url(corp) if home_page is None else home_page
    at = timezone.now() - age
    check_run(corp, "domain", domain, problem="equal" if domain == "ok" else "missing", finished_at=at)
    finding = judge_home_page(corp, theirs)
    check_run(corp, "home_page", finding.status, problem=finding.problem, facts=dict(finding.facts), finished_at=at)


def switch_on(client: Client, corp: Corp, **changes: str) -> Any:
    client.defaults["HTTP_HOST"] = "bi.example.com"
    return post(client, page(corp), **changes)


def signs_in(corp: Corp) -> bool:
    return Corp.objects.signing_in().filter(pk=corp.pk).exists()


@pytest.mark.parametrize("how", ["plain address", "prepared for sign-in", "never enabled"])
def test_sign_in_is_switched_on_once_domain_and_home_page_were_found(
    admin_client: Client, pushing: Corp, how: str
) -> None:
    """Accept a home page prepared for sign-in, which the check reports as another one: it expects the plain address."""
    prepared = None
    if how == "prepared for sign-in":
        pushing.sign_in_enabled = True
        prepared = links.build_home_page_link(pushing)
        pushing.sign_in_enabled = False
    if how == "never enabled":  # nothing is asked
        Corp.objects.update(is_enabled=False, first_enabled_at=None)
    else:
        make_results(pushing, home_page=prepared)

    switch_on(admin_client, pushing)

    assert Corp.objects.get().sign_in_enabled


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (None, "Not checked, or not since the last change: Trusted domain, Home page link. Run the diagnosis first."),
        ({"site_address": "another"}, "Not checked, or not since the last change: Trusted domain, Home page link."),
        ({"domain": "wrong"}, "Trusted domain: The app has no trusted domain in WeCom: sign-in is refused."),
        ({"home_page": ""}, "Home page link: The app has no home page in WeCom: a tap on it leads nowhere."),
        (
            {"home_page": "https://other.example/"},
            "Home page link: The home page in WeCom differs from the link of this site in: ",
        ),
        (
            {"age": dt.timedelta(days=2)},
            "Checked more than a day ago: Trusted domain, Home page link. Run the diagnosis again.",
        ),
    ],
)
def test_sign_in_stays_off_while_something_essential_is_wrong(
    admin_client: Client, pushing: Corp, how: dict[str, Any] | None, reason: str
) -> None:
    changes = {}
    if how == {"site_address": "another"}:
        how, changes = {}, {"site_address": str(SiteAddress.objects.create(url="https://new.example.com/").pk)}
    if how is not None:
        make_results(pushing, **how)

    (told,) = errors_of(switch_on(admin_client, pushing, **changes))["sign_in_enabled"]

    assert told.startswith(reason)
    assert not signs_in(pushing)
