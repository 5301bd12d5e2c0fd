"""Two administrators on one page: the second is told what the first changed, and nothing is overwritten unseen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from time import sleep
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core import signing
from django.db import connections, transaction
from django.test import Client
from django.utils import formats, timezone, translation

from accounts.audit import services
from accounts.models import AuditEntry, User
from integrations.core.concurrency import sealed
from integrations.models import Corp, SiteAddress
from tests.integrations.companies.test_corp_admin import FIELDS, page, text_of
from tests.integrations.conftest import client_of

pytestmark = pytest.mark.django_db
TOLD = (
    "root saved this at {at}, after you had opened the page. Nothing of yours was saved. What changed: {changes}. "
    "What you had left alone shows the new value now. Check, then save again."
)


def told(changes: str) -> str:
    saved_at = timezone.localtime(AuditEntry.objects.filter(action="changed").latest("pk").at)
    with translation.override("en"):
        return TOLD.format(at=formats.date_format(saved_at, "DATETIME_FORMAT"), changes=changes)


@pytest.fixture
def first(superuser: User) -> Client:
    return client_of(superuser)


@pytest.fixture
def second(db: None) -> Client:
    return client_of(User.objects.create_superuser("second"))


def opened(client: Client, corp: Corp) -> dict[str, str]:
    """The fields of the page as a browser would send them back."""
    form: Any = client.get(page(corp)).context["adminform"].form
    return {**FIELDS, "new_secret": "", "seen": form["seen"].value(), "name": corp.name}


def save(client: Client, corp: Corp, data: dict[str, str]) -> Any:
    return client.post(page(corp), data, follow=True)


def again(response: Any) -> dict[str, str]:
    """What the browser sends when the page that came back is saved once more."""
    form = response.context["adminform"].form
    return {
        **FIELDS,
        "new_secret": "",
        **{field.name: field.value() or "" for field in form if field.name != "new_secret"},
    }


def test_the_second_is_told_and_nothing_of_theirs_is_saved(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "name": "南河制造"})

    response = save(second, corp, {**data, "domain_id": "d1"})

    assert told("WeCom company name: “北山制造” → “南河制造”") in text_of(response)
    corp.refresh_from_db()
    assert (corp.name, corp.domain_id) == ("南河制造", "")


def test_a_change_by_the_program_itself_is_told_as_one(second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    corp.name = "南河制造"
    corp.save(update_fields=["name"])

    text = text_of(save(second, corp, data))

    assert "The program itself (a command, or a background task) saved this at " in text


def test_who_changed_the_value_is_named_and_not_who_changed_another_one_later(
    first: Client, second: Client, corp: Corp
) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "new_secret": "another-secret"})
    services.record(action=AuditEntry.Action.CHANGED, subject=corp, changes=[["noted_ips", [], ["203.0.113.9"]]])

    text = text_of(save(second, corp, {**data, "domain_id": "d1"}))

    assert "root saved this at " in text
    assert "The program itself" not in text


def test_without_a_trail_nobody_is_named(second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    Corp.objects.filter(pk=corp.pk).update(name="南河制造")

    assert "Somebody else saved this after you had opened the page. Nothing of yours was saved." in text_of(
        save(second, corp, data)
    )


def test_the_history_does_not_name_what_the_page_carries(first: Client, corp: Corp) -> None:
    """The seal is another one in each second."""
    data = opened(first, corp)
    sleep(1.1)

    save(first, corp, {**data, "name": "南河制造"})

    assert LogEntry.objects.get().get_change_message() == "Changed WeCom company name."


def test_saving_again_keeps_both_changes(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "name": "南河制造", "sign_in_enabled": "", "department_root_ids": "2"})

    response = save(second, corp, {**data, "domain_id": "d1"})
    save(second, corp, again(response))

    corp.refresh_from_db()
    assert (corp.name, corp.domain_id, corp.sign_in_enabled, corp.department_root_ids) == ("南河制造", "d1", False, [2])


def test_where_both_changed_the_same_field_the_second_decides(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "name": "南河制造"})

    response = save(second, corp, {**data, "name": "西岭制造"})

    errors = response.context["adminform"].form.errors
    assert list(errors["name"]) == ["Saved by somebody else meanwhile: “南河制造”"]
    save(second, corp, again(response))
    corp.refresh_from_db()
    assert corp.name == "西岭制造"


def test_a_replaced_secret_is_told_without_being_shown(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "new_secret": "another-secret"})

    response = save(second, corp, {**data, "new_secret": "a-third-secret"})

    assert told("values that are not shown, such as the Secret") in text_of(response)
    assert "another-secret" not in response.content.decode()
    corp.refresh_from_db()
    assert corp.secret == "another-secret"


def test_the_company_s_own_address_is_told_by_its_name(first: Client, second: Client, corp: Corp) -> None:
    own = SiteAddress.objects.create(url="https://bi.example.com/")
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "site_address": str(own.pk)})

    response = save(second, corp, data)

    assert "Own site address: — → https://bi.example.com/" in text_of(response)


def test_the_same_change_made_twice_is_no_conflict(first: Client, second: Client, corp: Corp) -> None:
    data = {**opened(second, corp), "name": "南河制造"}
    save(first, corp, {**opened(first, corp), "name": "南河制造"})

    response = save(second, corp, data)

    assert response.redirect_chain


@pytest.mark.parametrize("seen", ["", "forged", "of-another-row"])
def test_a_page_that_cannot_tell_is_not_saved_but_can_be_saved_again(
    first: Client, corp: Corp, other_corp: Corp, seen: str
) -> None:
    seen = sealed(other_corp, {"name": "x"}) if seen == "of-another-row" else seen

    response = save(first, corp, {**opened(first, corp), "seen": seen, "name": "南河制造"})

    assert "This page was open for too long to tell what others changed." in text_of(response)
    assert Corp.objects.get(pk=corp.pk).name == "北山制造"
    save(first, corp, again(response))
    assert Corp.objects.get(pk=corp.pk).name == "南河制造"


def test_the_page_carries_no_secret(first: Client, corp: Corp) -> None:

    seen = opened(first, corp)["seen"]

    values = signing.loads(seen, salt=f"integrations.seen:integrations.corp:{corp.pk}")
    assert set(values) == {
        *("name", "corpid", "agentid", "department_root_ids", "sign_in_enabled", "domain_id", "site_address"),
        *("home_page", "home_bi_page", "bi_sign_in_enabled", "admin_rights_enabled"),
        *("api_base_url", "authorize_base_url", "qr_base_url", "ca_bundle", "connection_version"),
    }


def test_the_site_address_is_not_overwritten_either(first: Client, second: Client, settings: Any) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]
    address = SiteAddress.objects.default()
    url = f"/admin/integrations/siteaddress/{address.pk}/change/"
    carried = {}
    for name, client in (("first", first), ("second", second)):
        response: Any = client.get(url)
        carried[name] = response.context["adminform"].form["seen"].value()
    first.post(url, {"url": "https://one.example.com/", "seen": carried["first"], "_confirmed": "1"})

    for confirmed in ({}, {"_confirmed": "1"}):
        response = second.post(url, {"url": "https://two.example.com/", "seen": carried["second"], **confirmed})
        text = text_of(response)
        assert "Site address: “http://localhost:3001/” → “https://one.example.com/”" in text

    address.refresh_from_db()
    assert address.url == "https://one.example.com/"


@pytest.mark.django_db(transaction=True)
def test_a_saving_waits_for_the_one_that_is_under_way_and_then_sees_it() -> None:
    corp = Corp.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret")
    client = client_of(User.objects.create_superuser("second"))
    data = {**opened(client, corp), "name": "西岭制造"}

    def save_in_another_connection() -> int:
        try:
            return client.post(page(corp), data).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Corp.objects.filter(pk=corp.pk).update(name="南河制造")
            second = pool.submit(save_in_another_connection)
            # Long enough for a comparison that does not wait to be over, with the values of before.
            assert wait([second], timeout=1.5).not_done
        status = second.result(timeout=60)

    assert status == 200
    corp.refresh_from_db()
    assert corp.name == "南河制造"
