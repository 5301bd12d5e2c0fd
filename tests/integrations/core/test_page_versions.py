"""Two administrators on one page: the second is told who saved first, and decides what stands."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from time import sleep
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connections, transaction
from django.test import Client
from django.utils import formats, timezone, translation

from accounts.models import AuditEntry, User
from integrations.models import Corp, SiteAddress
from tests.integrations.companies.test_corp_admin import FIELDS, page, text_of
from tests.integrations.conftest import client_of
from tests.integrations.opening import version_on

pytestmark = pytest.mark.django_db
KEPT = "What you typed is kept below and not saved yet. Save once more to put it in place of that."


@pytest.fixture
def first(superuser: User) -> Client:
    return client_of(superuser)


@pytest.fixture
def second(db: None) -> Client:
    return client_of(User.objects.create_superuser("second"))


def opened(client: Client, corp: Corp) -> dict[str, str]:
    """The fields of the page as a browser would send them back."""
    return {**FIELDS, "new_secret": "", "page_version": version_on(client, page(corp)), "name": corp.name}


def save(client: Client, corp: Corp, data: dict[str, str]) -> Any:
    return client.post(page(corp), data, follow=True)


def again(response: Any) -> dict[str, str]:
    """What the browser sends when the page that came back is saved once more."""
    form = response.context["adminform"].form
    return {**FIELDS, "new_secret": "", **{one.name: one.value() or "" for one in form if one.name != "new_secret"}}


def test_the_second_is_told_who_saved_first_and_saves_over_it(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "name": "南河制造"})

    response = save(second, corp, {**data, "name": "西岭制造", "domain_id": "d1"})

    saved_at = timezone.localtime(AuditEntry.objects.filter(action="changed").latest("pk").at)
    with translation.override("en"):
        at = formats.date_format(saved_at, "DATETIME_FORMAT")
    assert f"root saved this at {at}, after you had opened the page. {KEPT}" in text_of(response)
    corp.refresh_from_db()
    assert (corp.name, corp.domain_id) == ("南河制造", "")

    save(second, corp, again(response))

    corp.refresh_from_db()
    assert (corp.name, corp.domain_id) == ("西岭制造", "d1")


def test_the_second_may_look_at_what_was_saved_instead(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "name": "南河制造"})

    response = save(second, corp, {**data, "name": "西岭制造"})

    assert '<a href="">Show what is saved now, without my changes</a>' in response.content.decode()
    assert 'value="南河制造"' in second.get(page(corp)).content.decode()


def test_a_third_who_saves_meanwhile_is_told_of_too(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "name": "南河制造"})
    response = save(second, corp, {**data, "name": "西岭制造"})
    save(first, corp, {**opened(first, corp), "name": "东湖制造"})

    assert KEPT in text_of(save(second, corp, again(response)))
    assert Corp.objects.get(pk=corp.pk).name == "东湖制造"


def test_a_change_by_the_program_itself_is_told_as_one(second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    corp.name = "南河制造"
    corp.save(update_fields=["name"])

    text = text_of(save(second, corp, {**data, "domain_id": "d1"}))

    assert "The program itself (a command, or a background task) saved this at " in text


def test_nobody_is_named_who_saved_before_the_page_was_opened(first: Client, second: Client, corp: Corp) -> None:
    save(first, corp, {**opened(first, corp), "name": "南河制造"})
    sleep(1.1)  # the version counts whole seconds
    data = opened(second, corp)
    Corp.objects.filter(pk=corp.pk).update(name="东湖制造")

    text = text_of(save(second, corp, {**data, "domain_id": "d1"}))

    assert f"Somebody else saved this after you had opened the page. {KEPT}" in text


def test_the_history_does_not_name_what_the_page_carries(first: Client, corp: Corp) -> None:
    save(first, corp, {**opened(first, corp), "name": "南河制造"})

    assert LogEntry.objects.get().get_change_message() == "Changed WeCom company name."


def test_a_replaced_secret_is_told_without_being_shown(first: Client, second: Client, corp: Corp) -> None:
    data = opened(second, corp)
    save(first, corp, {**opened(first, corp), "new_secret": "another-secret"})

    response = save(second, corp, {**data, "new_secret": "a-third-secret"})

    assert KEPT in text_of(response)
    assert "another-secret" not in response.content.decode()
    assert Corp.objects.get(pk=corp.pk).secret == "another-secret"


def test_the_same_change_made_twice_is_no_conflict(first: Client, second: Client, corp: Corp) -> None:
    data = {**opened(second, corp), "name": "南河制造"}
    save(first, corp, {**opened(first, corp), "name": "南河制造"})

    assert save(second, corp, data).redirect_chain


@pytest.mark.parametrize("version", ["", "forged", "x.y", "²."])
def test_a_page_without_its_version_is_not_saved_at_once(first: Client, corp: Corp, version: str) -> None:
    response = save(first, corp, {**opened(first, corp), "page_version": version, "name": "南河制造"})

    assert KEPT in text_of(response)
    assert Corp.objects.get(pk=corp.pk).name == "北山制造"
    save(first, corp, again(response))
    assert Corp.objects.get(pk=corp.pk).name == "南河制造"


def test_the_version_of_another_row_is_none_of_this_one(first: Client, corp: Corp, other_corp: Corp) -> None:
    version = version_on(first, page(other_corp))

    assert KEPT in text_of(save(first, corp, {**opened(first, corp), "page_version": version, "name": "南河制造"}))


def test_the_site_address_is_not_overwritten_either(first: Client, second: Client, settings: Any) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]
    address = SiteAddress.objects.default()
    url = f"/admin/integrations/siteaddress/{address.pk}/change/"
    version = version_on(second, url)
    first.post(url, {"url": "https://one.example.com/", "page_version": version_on(first, url), "_confirmed": "1"})

    for confirmed in ({}, {"_confirmed": "1"}):
        response = second.post(url, {"url": "https://two.example.com/", "page_version": version, **confirmed})
        assert KEPT in text_of(response)

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
