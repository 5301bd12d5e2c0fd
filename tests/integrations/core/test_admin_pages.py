"""Common parts of administration pages: versions of a page, long lists, paths that stay on this site."""

from concurrent.futures import ThreadPoolExecutor, wait
from time import sleep
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from django.test import Client
from django.utils import formats, timezone, translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.authentication.flow import find_requested_page
from accounts.models import AuditEntry, User
from integrations.companies import links
from integrations.core.admin_pages import KeysetPage, read_page
from integrations.core.http import add_leading_slash, is_own_page, parse_inner_page
from integrations.models import Corp, SiteAddress
from tests.accounts.authentication.test_targets import TRICKS
from tests.integrations.companies.test_corp_admin import FIELDS, page
from tests.integrations.conftest import client_of
from tests.integrations.pages import text_of, version_on

pytestmark = pytest.mark.django_db
KEPT = "What you typed is kept below and not saved yet. Save once more to overwrite what is saved now."


@pytest.fixture
def second(db: None) -> Client:
    return client_of(User.objects.create_superuser("second"))


def open_page(client: Client, corp: Corp) -> dict[str, str]:
    """Return the fields of the page as a browser would send them back."""
    return {**FIELDS, "new_secret": "", "page_version": version_on(client, page(corp)), "name": corp.name}


def save(client: Client, corp: Corp, data: dict[str, str]) -> Any:
    return client.post(page(corp), data, follow=True)


def again(response: Any) -> dict[str, str]:
    """Return what the browser sends when the returned page is saved once more."""
    form = response.context["adminform"].form
    return {**FIELDS, "new_secret": "", **{one.name: one.value() or "" for one in form if one.name != "new_secret"}}


def test_the_second_is_told_who_saved_first_and_saves_over_it(admin_client: Client, second: Client, corp: Corp) -> None:
    data = open_page(second, corp)
    save(admin_client, corp, {**open_page(admin_client, corp), "name": "南河制造"})

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


def test_a_change_by_the_program_itself_is_told_as_one(second: Client, corp: Corp) -> None:
    data = open_page(second, corp)
    corp.name = "南河制造"
    corp.save(update_fields=["name"])

    text = text_of(save(second, corp, {**data, "domain_id": "d1"}))

    assert "The program itself (a command, or a background task) saved this at " in text


def test_nobody_is_named_who_saved_before_the_page_was_opened(admin_client: Client, second: Client, corp: Corp) -> None:
    save(admin_client, corp, {**open_page(admin_client, corp), "name": "南河制造"})
    sleep(1.1)  # the version counts whole seconds
    data = open_page(second, corp)
    Corp.objects.filter(pk=corp.pk).update(name="东湖制造")

    text = text_of(save(second, corp, {**data, "domain_id": "d1"}))

    assert f"Somebody else saved this after you had opened the page. {KEPT}" in text


def test_a_replaced_secret_is_told_without_being_shown_and_the_same_change_is_no_conflict(
    admin_client: Client, second: Client, corp: Corp
) -> None:
    data = open_page(second, corp)
    same = {**data, "name": "南河制造"}
    save(admin_client, corp, {**open_page(admin_client, corp), "name": "南河制造"})
    assert save(second, corp, same).redirect_chain
    data = open_page(second, corp)
    save(admin_client, corp, {**open_page(admin_client, corp), "new_secret": "another-secret"})

    response = save(second, corp, {**data, "new_secret": "a-third-secret"})

    assert KEPT in text_of(response)
    assert "another-secret" not in response.content.decode()
    assert Corp.objects.get(pk=corp.pk).secret == "another-secret"


def test_a_page_without_its_version_is_not_saved_at_once(admin_client: Client, corp: Corp, other_corp: Corp) -> None:
    data = {**open_page(admin_client, corp), "name": "南河制造"}
    for version in ("", "forged", "x.y", "².", version_on(admin_client, page(other_corp))):
        response = save(admin_client, corp, {**data, "page_version": version})

        assert KEPT in text_of(response)
        assert Corp.objects.get(pk=corp.pk).name == "北山制造"
    save(admin_client, corp, again(response))
    assert Corp.objects.get(pk=corp.pk).name == "南河制造"


def test_the_site_address_is_not_overwritten_either(admin_client: Client, second: Client, settings: Any) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]
    address = SiteAddress.objects.default()
    url = f"/admin/integrations/siteaddress/{address.pk}/change/"
    version = version_on(second, url)
    admin_client.post(
        url, {"url": "https://one.example.com/", "page_version": version_on(admin_client, url), "_confirmed": "1"}
    )

    for confirmed in ({}, {"_confirmed": "1"}):
        response = second.post(url, {"url": "https://two.example.com/", "page_version": version, **confirmed})
        assert KEPT in text_of(response)

    address.refresh_from_db()
    assert address.url == "https://one.example.com/"


@pytest.mark.django_db(transaction=True)
def test_a_saving_waits_for_the_one_that_is_under_way_and_then_sees_it() -> None:
    corp = Corp.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret")
    client = client_of(User.objects.create_superuser("second"))
    data = {**open_page(client, corp), "name": "西岭制造"}

    def save_in_another_connection() -> int:
        try:
            return client.post(page(corp), data).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Corp.objects.filter(pk=corp.pk).update(name="南河制造")
            second = pool.submit(save_in_another_connection)
            # Long enough for a comparison that does not wait to finish with the former values.
            assert wait([second], timeout=1.5).not_done
        status = second.result(timeout=60)

    assert status == 200
    corp.refresh_from_db()
    assert corp.name == "南河制造"


def fill(number: int) -> list[int]:
    Group.objects.all().delete()
    return [one.pk for one in Group.objects.bulk_create(Group(name=f"g{n}") for n in range(number))]


def keys(page: KeysetPage) -> list[int]:
    return [one.pk for one in page.rows]


@given(number=st.integers(0, 12), size=st.integers(1, 5))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_leafing_forth_and_back_shows_every_row_once(number: int, size: int) -> None:
    pks = fill(number)
    pages = [read_page(Group.objects.all(), size=size)]
    while (after := pages[-1].after) is not None:
        pages.append(read_page(Group.objects.all(), after=after, size=size))
    back = [pages[-1]]
    while (before := back[-1].before) is not None:
        back.append(read_page(Group.objects.all(), before=before, size=size))

    assert [pk for page in pages for pk in keys(page)] == pks
    assert [keys(page) for page in reversed(back)] == [keys(page) for page in pages]


def test_keys_beyond_the_ends_lead_back_to_the_rows() -> None:
    pks = fill(3)

    beyond = read_page(Group.objects.all(), after=pks[-1], size=2)
    assert keys(beyond) == []
    assert beyond.after is None
    assert keys(read_page(Group.objects.all(), before=pks[0], size=2)) == []


SITE = "https://bi.example.com/"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", ""),
        ("survey-engine", "survey-engine"),
        ("/survey-engine", "/survey-engine"),
        ("  survey-engine\u200b ", "survey-engine"),
        ("/m/1?from=menu&x=a b#part", "/m/1?from=menu&x=a b#part"),
        ("报表/一", "报表/一"),
        ("https://bi.example.com/survey-engine?a=1", "/survey-engine?a=1"),
        ("HTTPS://BI.example.com/x", "/x"),
        ("https://bi.example.com", "/"),
        ("https://bi.example.com/", "/"),
        ("https://bi.example.com?tab=2", "/?tab=2"),
        # The specification's example, in the ways one might type it.
        ("path_url=survey-engine", "survey-engine"),
        ("?path_url=survey-engine", "survey-engine"),
        ("/?path_url=survey-engine", "survey-engine"),
        ("https://bi.example.com/?path_url=survey-engine", "survey-engine"),
        ("https://bi.example.com?path_url=survey-engine&a=1&b=2", "survey-engine?a=1&b=2"),
        ("/?path_url=m%2F1%3Fx%3D1&a=1", "m/1?x=1&a=1"),
    ],
)
def test_what_may_be_typed(typed: str, kept: str) -> None:
    assert parse_inner_page(typed, site_url=SITE) == kept


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("https://evil.example/x", "elsewhere"),
        ("http://bi.example.com/x", "elsewhere"),
        ("https://bi.example.com.evil.example/", "elsewhere"),
        ("https://bi.example.com@evil.example/", "elsewhere"),
        ("https://bi.example.com:444/", "elsewhere"),
        ("javascript:alert(1)", "path"),
        ("//evil.example", "path"),
        ("/\\evil.example", "path"),
        ("/%2fevil.example", "path"),
        ("https://bi.example.com//evil.example", "path"),
        ("/login/", "path"),
        ("wecom/1/start/", "path"),
        ("/login", "path"),
        ("/wecom", "path"),
        ("/./login/", "path"),
        ("/m/../login/", "path"),
        ("/%2e%2e/login/", "path"),
        ("/m/%252e%252e/", "path"),
        ("/?path_url=//evil.example", "path"),
        ("/?path_url=/login/", "path"),
        ("x" * 641, "long"),
        ("报" * 43, "long"),  # 15 characters each in the link
    ],
)
def test_what_is_refused(typed: str, code: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        parse_inner_page(typed, site_url=SITE)

    assert refusal.value.code == code


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_of_the_sign_in_s_tests_becomes_a_link_elsewhere(trick: str) -> None:
    try:
        page = parse_inner_page(trick, site_url=SITE)
    except ValidationError:
        return
    assert page == "" or is_own_page(add_leading_slash(page))


@given(st.text(min_size=1, max_size=60))
def test_the_link_leads_where_it_was_built_for(typed: str) -> None:
    try:
        page = parse_inner_page(typed, site_url=SITE)
    except ValidationError:
        return
    corp = Corp(corpid="ww0123", agentid=1, sign_in_enabled=True, site_address=SiteAddress(url=SITE))
    callback = parse_qs(urlsplit(links.build_home_page_link(corp, page)).query)["redirect_uri"][0]

    assert find_requested_page(urlsplit(callback).query) == (add_leading_slash(page).strip() or "/")
