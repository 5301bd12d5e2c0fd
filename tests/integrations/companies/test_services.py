"""Saving, enabling and disabling a corp; what a new site address would change."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import transaction
from django.utils import translation
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import User
from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.core import hooks
from integrations.core.client_factory import token_store
from integrations.hooks import Hook
from integrations.models import Corp, SiteAddress
from tests.integrations.conftest import CORPID, staff
from tests.integrations.diagnosing import passed

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=1)
ROOT = User(is_superuser=True)


@pytest.fixture(autouse=True)
def _english() -> object:
    with translation.override("en"):
        yield


def real_address() -> None:
    SiteAddress.objects.filter(is_default=True).update(url="https://bi.example.com/")


def token_of(corp: Corp, fresh: str) -> str:
    """The token that all processes share; `fresh` is what WeCom would give now."""
    return token_store().get(corp.corpid, corp.agentid, lambda: FetchedToken(fresh, 7200))


# --- Saving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("secret", "new"),
        ("agentid", 7),
        ("corpid", "ww" + "2" * 16),
        ("api_base_url", "https://gate.example.com"),
        ("proxy_url", "http://proxy:1"),
        ("ca_bundle", "x"),
    ],
)
def test_a_changed_connection_has_to_be_tested_again_and_drops_the_token(
    corp: Corp, column: str, value: object, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert token_of(corp, "old") == "old"
    setattr(corp, column, value)

    with django_capture_on_commit_callbacks(execute=True):
        assert services.save_corp(corp=corp, changed_fields={column}) is True

    saved = Corp.objects.get(pk=corp.pk)
    assert (saved.connection_version, corp.connection_version) == (2, 2)
    assert getattr(saved, column) == value
    assert token_store().get(CORPID, 1000002, lambda: FetchedToken("new", 7200)) == "new"


def test_another_change_keeps_test_and_token(
    corp: Corp, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert token_of(corp, "old") == "old"
    corp.name = "北山制造集团"
    corp.secret = "not to be saved"

    with django_capture_on_commit_callbacks(execute=True):
        assert services.save_corp(corp=corp, changed_fields={"name"}) is False

    saved = Corp.objects.get(pk=corp.pk)
    assert (saved.name, saved.secret, saved.connection_version) == ("北山制造集团", "the-secret", 1)
    assert token_of(corp, "new") == "old"


def test_a_rolled_back_change_keeps_the_token(
    corp: Corp, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    token_of(corp, "old")
    corp.secret = "new"

    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        services.save_corp(corp=corp, changed_fields={"secret"})
        transaction.set_rollback(True)

    assert token_of(corp, "new") == "old"


def test_saving_works_without_valkey(
    corp: Corp, settings: Settings, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    corp.secret = "new"

    with django_capture_on_commit_callbacks(execute=True):
        services.save_corp(corp=corp, changed_fields={"secret"})

    assert Corp.objects.get(pk=corp.pk).secret == "new"


def test_the_corpid_is_fixed_once_enabled(corp: Corp) -> None:
    Corp.objects.filter(pk=corp.pk).update(first_enabled_at=NOW)
    corp.refresh_from_db()
    corp.corpid = "ww" + "2" * 16

    with pytest.raises(ValueError, match="CorpId"):
        services.save_corp(corp=corp, changed_fields={"corpid"})

    assert Corp.objects.get(pk=corp.pk).corpid == CORPID


# --- Enabling -------------------------------------------------------------------------------------------------------


def reasons(corp: Corp) -> list[str]:
    with pytest.raises(services.CorpNotReady) as refusal:
        services.enable_corp(corp=corp, by=ROOT, now=NOW)
    corp.refresh_from_db()
    assert not corp.is_enabled
    assert corp.first_enabled_at is None
    return refusal.value.reasons


def test_a_checked_corp_with_a_real_address_is_enabled(corp: Corp) -> None:
    real_address()
    passed(corp)

    services.enable_corp(corp=corp, by=ROOT, now=NOW)

    assert (corp.is_enabled, corp.first_enabled_at) == (True, NOW)
    assert Corp.objects.enabled().get() == corp


def test_the_first_enabling_is_remembered(corp: Corp) -> None:
    real_address()
    passed(corp)
    services.enable_corp(corp=corp, by=ROOT, now=NOW)
    services.disable_corp(corp=corp)
    assert corp.is_enabled is False

    services.enable_corp(corp=corp, by=ROOT, now=LATER)

    assert (corp.is_enabled, corp.first_enabled_at) == (True, NOW)


@pytest.mark.parametrize(("by", "carries_rights"), [(ROOT, True), (User(is_staff=True), False)])
def test_without_a_superuser_who_enables_it_first_its_sign_in_carries_no_rights(
    corp: Corp, by: User, carries_rights: bool
) -> None:
    """Whoever set it up may have chosen which app says who somebody is."""
    Corp.objects.update(admin_rights_enabled=True)
    real_address()
    passed(corp)

    services.enable_corp(corp=corp, by=by, now=NOW)

    assert Corp.objects.get().admin_rights_enabled is carries_rights


def test_enabling_again_leaves_the_rights_as_they_are(corp: Corp) -> None:
    Corp.objects.update(admin_rights_enabled=True)
    real_address()
    passed(corp)
    services.enable_corp(corp=corp, by=ROOT, now=NOW)
    services.disable_corp(corp=corp)

    services.enable_corp(corp=corp, by=User(is_staff=True), now=LATER)

    assert Corp.objects.get().admin_rights_enabled


def test_only_the_first_company_of_all_begins_with_rights_after_wecom(db: None) -> None:
    for number in (2, 3):
        new = Corp(name=f"公司 {number}", corpid=f"ww{number:016d}", agentid=number, secret="s")
        services.save_corp(corp=new, changed_fields=())

    assert list(Corp.objects.order_by("pk").values_list("admin_rights_enabled", flat=True)) == [True, False]


def test_a_check_before_the_last_change_does_not_count(corp: Corp) -> None:
    real_address()
    passed(corp)
    services.save_corp(corp=corp, changed_fields={"secret"})

    (reason,) = reasons(corp)
    assert reason.startswith("Not checked, or not since the last change: Token, Trusted IP, ")


@pytest.mark.parametrize(
    "change",
    [{"connection_version": 2}, {"sign_in_enabled": False}, {"site_address": "other"}, {"domain_id": "another"}],
)
def test_a_corp_that_somebody_changed_since_it_was_read_is_not_enabled(corp: Corp, change: dict[str, Any]) -> None:
    real_address()
    passed(corp)
    if "site_address" in change:
        change = {"site_address": SiteAddress.objects.create(url="https://other.example.com/")}
    Corp.objects.filter(pk=corp.pk).update(**change)

    assert reasons(corp) == ["Somebody changed the connection in the meantime. Test it again."]


def test_a_corp_is_not_enabled_on_the_initial_address(corp: Corp) -> None:
    passed(corp)

    assert reasons(corp) == [
        "The site address is still http://localhost:3001/, which only this machine reaches. Enter your real one first."
    ]


def test_every_reason_is_said_at_once(corp: Corp) -> None:
    assert len(reasons(corp)) == 2


@pytest.mark.parametrize(("environment", "count"), [("demo", 0), ("test", 0), ("production", 1)])
def test_the_sandbox_is_enough_outside_production(corp: Corp, settings: Settings, environment: str, count: int) -> None:
    settings.ENVIRONMENT = environment
    corp.api_base_url = "http://127.0.0.1:3002"
    corp.save()
    passed(corp)

    assert len(services.reasons_against_enabling(corp, now=NOW)) == count


def test_a_change_during_enabling_is_noticed(corp: Corp) -> None:
    real_address()
    passed(corp)
    Corp.objects.filter(pk=corp.pk).update(connection_version=2)

    assert reasons(corp) == ["Somebody changed the connection in the meantime. Test it again."]


def test_disabling_says_what_higher_apps_registered(corp: Corp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "corp_disabling", Hook())
    hooks.corp_disabling.register(people_of)
    hooks.corp_disabling.register(people_of)

    assert hooks.corp_disabling.joined(corp) == ["3 people of 北山制造 can no longer sign in."]


def people_of(corp: Corp) -> list[str]:
    return [f"3 people of {corp.name} can no longer sign in."]


# --- Site addresses -------------------------------------------------------------------------------------------------


def test_a_change_of_the_address_concerns_the_corps_without_their_own(corp: Corp, other_corp: Corp) -> None:
    other_corp.site_address = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    other_corp.save()

    (change,) = services.link_changes(address=SiteAddress.objects.default(), url="https://bi.example.com/")

    assert (change.corp, change.domain_before, change.domain_after) == (corp, "localhost:3001", "bi.example.com")
    assert "localhost%3A3001" in change.home_page_before
    assert "https%3A%2F%2Fbi.example.com%2F" in change.home_page_after


def test_a_change_of_its_own_address_concerns_that_corp_alone(corp: Corp) -> None:
    own = SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    assert services.link_changes(address=own, url="https://new.example.com/") == []
    corp.site_address = own
    corp.save()

    assert [change.corp for change in services.link_changes(address=own, url="https://new.example.com/")] == [corp]
    assert services.link_changes(address=SiteAddress.objects.default(), url="https://new.example.com/") == []


def test_an_address_is_changed_by_those_who_see_every_corp(corp: Corp, other_corp: Corp) -> None:
    default, own = SiteAddress.objects.default(), SiteAddress.objects.create(url="https://bi.subsidiary.example/")
    corp.site_address = own
    corp.save()
    every = staff("every")
    every.manages_all_corps = True

    def may(address: SiteAddress, person: User) -> bool:
        return not services.reason_against_changing(address=address, person=person)

    assert [may(own, staff("one", corp)), may(own, every), may(default, every)] == [False, True, True]


def test_addresses_of_corps_that_one_does_not_see_stay_hidden(corp: Corp, other_corp: Corp) -> None:
    own, unused = (SiteAddress.objects.create(url=f"https://{name}.example/") for name in ("theirs", "unused"))
    other_corp.site_address = own
    other_corp.save()

    seen = SiteAddress.objects.visible_to(staff("one", corp))

    assert set(seen) == {SiteAddress.objects.default(), unused}
    assert own in SiteAddress.objects.visible_to(staff("other", other_corp))
