"""The pages of a company in the admin: what they keep, refuse, show, and never show."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from accounts.models import User
from accounts.users.roles import Role
from integrations.callbacks import generate_callback_keys
from integrations.clients.errors import ConfigurationError, RateLimitedError
from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.companies.diagnosis.results import ALL_BUT_MESSAGE
from integrations.core.client_factory import token_store
from integrations.models import CallbackEvent, CheckRun, Corp, SiteAddress, VerificationFile
from tests.integrations.conftest import CORPID, client_of, staff
from tests.integrations.core.test_validators import certificate
from tests.integrations.diagnosing import check_run, checks_waiting, passed
from tests.integrations.opening import version_on

pytestmark = pytest.mark.django_db
ADD = "/admin/integrations/corp/add/"
LIST = "/admin/integrations/corp/"
TESTING = "The connection is being checked with what you saved: the results appear below."
FIELDS = {
    "name": "北山制造",
    "corpid": CORPID,
    "agentid": "1000002",
    "new_secret": "the-secret",
    "department_root_ids": "",
    "sign_in_enabled": "on",
    "home_page": "ours",
    "bi_sign_in_enabled": "on",
    "domain_id": "",
    "site_address": "",
    "api_base_url": "https://qyapi.weixin.qq.com",
    "authorize_base_url": "https://open.weixin.qq.com",
    "qr_base_url": "https://login.work.weixin.qq.com",
    "new_proxy_url": "",
    "ca_bundle": "",
}


def page(corp: Corp, action: str = "change") -> str:
    return reverse(f"admin:integrations_corp_{action}", args=[corp.pk])


def post(client: Client, url: str, **changes: str) -> HttpResponse:
    seen = "" if url == ADD else version_on(client, url)
    return client.post(url, {**FIELDS, "new_secret": "", "page_version": seen, **changes}, follow=True)  # type: ignore[return-value]  # the client's own class


def text_of(response: Any) -> str:
    """What a person reads: without tags, entities resolved as far as these tests need."""
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", text.replace("&#x27;", "'").replace("&amp;", "&"))


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200, response.status_code
    form = response.context["adminform"].form
    return {name: list(errors) for name, errors in form.errors.items()}


# --- Adding and changing ----------------------------------------------------------------------------------------------


def test_a_company_is_added_and_its_page_says_what_comes_next(admin_client: Client) -> None:
    response = post(admin_client, ADD, new_secret="the-secret", department_root_ids="2，5")

    corp = Corp.objects.get()
    assert (corp.name, corp.corpid, corp.agentid, corp.secret) == ("北山制造", CORPID, 1000002, "the-secret")
    assert (corp.department_root_ids, corp.is_enabled, corp.connection_version) == ([2, 5], False, 1)
    assert response.redirect_chain[-1][0] == page(corp)  # type: ignore[attr-defined]  # the client's own class
    assert TESTING in text_of(response)
    assert "invisible" not in text_of(response)


def test_what_comes_along_when_one_copies_is_removed_and_said(admin_client: Client) -> None:
    response = post(
        admin_client,
        ADD,
        name=" 北山制造\u200b",
        corpid=f"\ufeff{CORPID} ",
        agentid=" 1000 002\u200b",
        new_secret="the-\u200bsecret\t",
    )

    corp = Corp.objects.get()
    assert (corp.name, corp.corpid, corp.agentid, corp.secret) == ("北山制造", CORPID, 1000002, "the-secret")
    sentence = "Spaces or invisible characters were removed from: WeCom company name, CorpId, AgentId, Secret."
    assert sentence in text_of(response)


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"name": " "}, {"name": ["This field is required."]}),
        (
            {"domain_id": "域" * 9},
            {"domain_id": ["Too long for a link, where it takes 135 characters: at most 128. Use letters and digits."]},
        ),
        ({"new_secret": ""}, {"new_secret": ["This field is required."]}),
        ({"corpid": "1234"}, {"corpid": ["A CorpId has 18 characters and begins with ww or wx."]}),
        ({"agentid": "my app"}, {"agentid": ["Write a whole number, such as 1000002."]}),
        ({"agentid": "0"}, {"agentid": ["Ensure this value is greater than or equal to 1."]}),
        ({"agentid": "-1"}, {"agentid": ["Ensure this value is greater than or equal to 0."]}),
        ({"agentid": "9" * 30}, {"agentid": ["Ensure this value is less than or equal to 9223372036854775807."]}),
        (
            {"department_root_ids": "sales"},
            {"department_root_ids": ["“sales” is not a department ID: a whole number such as 1 or 42."]},
        ),
        (
            {"api_base_url": "http://qyapi.example.com"},
            {"api_base_url": ["The address must begin with https://, because the Secret travels with each call."]},
        ),
        ({"qr_base_url": "login"}, {"qr_base_url": ["The address must begin with http:// or https://."]}),
        (
            {"new_proxy_url": "proxy"},
            {"new_proxy_url": ["Write the proxy as http://user:password@host:port or http://host:port."]},
        ),
        (
            {"ca_bundle": "x"},
            {"ca_bundle": ["These are not certificates in PEM form (-----BEGIN CERTIFICATE----- …)."]},
        ),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(
    admin_client: Client, changes: dict[str, str], errors: dict[str, list[str]]
) -> None:
    response = post(admin_client, ADD, **{"new_secret": "the-secret", **changes})

    assert errors_of(response) == errors
    assert not Corp.objects.exists()


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        (
            {"name": "北山制造", "agentid": "5"},
            {"name": ["Another WeCom company has this name: people could not tell them apart."]},
        ),
        ({"name": "另一个"}, {"__all__": ["This app (CorpId and AgentId) is connected already."]}),
    ],
)
def test_a_second_row_for_the_same_thing_is_refused(
    admin_client: Client, corp: Corp, changes: dict[str, str], errors: dict[str, list[str]]
) -> None:
    response = post(admin_client, ADD, new_secret="the-secret", **changes)

    assert errors_of(response) == errors
    assert Corp.objects.count() == 1


def test_addresses_of_pages_become_addresses_of_servers(admin_client: Client) -> None:
    post(
        admin_client,
        ADD,
        new_secret="the-secret",
        api_base_url="https://qyapi.weixin.qq.com/cgi-bin/",
        authorize_base_url="https://open.weixin.qq.com/connect/oauth2/authorize",
        qr_base_url="http://127.0.0.1:3002/wwlogin/sso/login/",
    )

    corp = Corp.objects.get()
    assert corp.api_base_url == "https://qyapi.weixin.qq.com"
    assert corp.authorize_base_url == "https://open.weixin.qq.com"
    assert corp.qr_base_url == "http://127.0.0.1:3002"


def test_the_corpid_is_fixed_after_the_first_enabling(admin_client: Client, corp: Corp) -> None:
    assert 'name="corpid"' in admin_client.get(page(corp)).content.decode()
    Corp.objects.update(first_enabled_at=timezone.now())

    assert 'name="corpid"' not in admin_client.get(page(corp)).content.decode()
    post(admin_client, page(corp), corpid="ww" + "2" * 16, name="新名")

    corp.refresh_from_db()
    assert (corp.corpid, corp.name) == (CORPID, "新名")


def test_another_app_of_a_fixed_corp_may_not_be_a_connected_one(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(first_enabled_at=timezone.now())
    Corp.objects.create(name="另一个", corpid=CORPID, agentid=1000003, secret="x")

    response = post(admin_client, page(corp), agentid="1000003")

    assert errors_of(response) == {"__all__": ["This app (CorpId and AgentId) is connected already."]}


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_an_empty_secret_keeps_the_saved_one(admin_client: Client, corp: Corp) -> None:
    response = post(admin_client, page(corp), name="新名")

    corp.refresh_from_db()
    assert (corp.name, corp.secret, corp.connection_version) == ("新名", "the-secret", 1)
    assert TESTING not in text_of(response)
    assert not CheckRun.objects.exists()


def test_a_new_secret_has_to_be_tested(admin_client: Client, corp: Corp) -> None:
    response = post(admin_client, page(corp), new_secret="another")

    corp.refresh_from_db()
    assert (corp.secret, corp.connection_version) == ("another", 2)
    assert TESTING in text_of(response)
    assert LogEntry.objects.get().get_change_message() == "Changed secret."


def test_saving_without_a_change_changes_nothing(admin_client: Client, corp: Corp) -> None:
    before = Corp.objects.values().get()

    post(admin_client, page(corp))

    assert Corp.objects.values().get() == before


@pytest.mark.parametrize("name", ["北山制造", ""])
def test_no_page_shows_a_secret_or_a_proxy_s_password(admin_client: Client, corp: Corp, name: str) -> None:
    corp.proxy_url = "http://user:pr0xy-pass@proxy.example.com:3128"
    corp.save()

    pages: list[Any] = [
        admin_client.get(page(corp)),
        admin_client.get(LIST),
        post(admin_client, page(corp), name=name, new_secret="typed-now", new_proxy_url="http://u:typed-too@p:1"),
        admin_client.get(page(corp, "history")),
        admin_client.get(page(corp, "delete")),
    ]

    for response in pages:
        assert response.status_code == 200
        assert not re.search("the-secret|pr0xy-pass|typed-now|typed-too", response.content.decode())
    messages = " ".join(LogEntry.objects.values_list("change_message", flat=True))
    assert not re.search("the-secret|pr0xy-pass|typed", messages)


def test_a_proxy_is_kept_replaced_and_removed(admin_client: Client, corp: Corp) -> None:
    corp.proxy_url = "http://user:pass@proxy.example.com:3128"
    corp.save()
    assert "Saved: proxy.example.com:3128. Leave this empty to keep it." in text_of(admin_client.get(page(corp)))

    post(admin_client, page(corp))
    assert Corp.objects.get().proxy_url == "http://user:pass@proxy.example.com:3128"

    post(admin_client, page(corp), new_proxy_url="http://new.example.com:1", new_secret="the-secret")
    assert Corp.objects.get().proxy_url == "http://new.example.com:1"

    post(admin_client, page(corp), remove_proxy="on")
    assert (Corp.objects.get().proxy_url, Corp.objects.get().connection_version) == ("", 3)


@pytest.mark.parametrize(
    "changes", [{"api_base_url": "https://elsewhere.example"}, {"new_proxy_url": "http://elsewhere.example:1"}]
)
def test_the_saved_secret_is_not_sent_another_way(admin_client: Client, corp: Corp, changes: dict[str, str]) -> None:
    """Else whoever may change a company could have its Secret sent to an address of their own."""
    before = Corp.objects.values().get()

    response = post(admin_client, page(corp), **changes)

    assert errors_of(response) == {
        "new_secret": ["Paste the Secret again: with this change it would be sent another way."]
    }
    assert Corp.objects.values().get() == before


def test_where_identities_come_from_is_the_superuser_s_to_set(
    corp: Corp, administrator: User, admin_client: Client
) -> None:
    """Whoever answers in WeCom's place can sign in as anybody of the company, a superuser among them."""
    way = {"api_base_url": "https://own.example", "qr_base_url": "https://own.example", "new_secret": "own-secret"}
    manager = client_of(administrator)

    content = manager.get(page(corp)).content.decode()
    post(manager, page(corp), **way, authorize_base_url="https://own.example")

    corp.refresh_from_db()
    addresses = (corp.api_base_url, corp.authorize_base_url, corp.qr_base_url)
    assert addresses == (
        "https://qyapi.weixin.qq.com",
        "https://open.weixin.qq.com",
        "https://login.work.weixin.qq.com",
    )
    assert 'name="api_base_url"' not in content
    assert 'name="api_base_url"' in admin_client.get(page(corp)).content.decode()


def test_with_the_secret_the_way_can_be_changed(admin_client: Client, corp: Corp) -> None:
    pem = certificate()
    assert list(errors_of(post(admin_client, page(corp), ca_bundle=pem))) == ["new_secret"]

    way = {"ca_bundle": pem, "api_base_url": "https://gate.example"}
    post(admin_client, page(corp), new_secret="the-secret", **way)

    corp.refresh_from_db()
    assert corp.api_base_url == "https://gate.example"
    assert corp.ca_bundle.split() == pem.split()
    post(admin_client, page(corp), **{**way, "api_base_url": "https://gate.example/"}, name="新名")
    corp.refresh_from_db()
    assert corp.name == "新名"


def test_the_page_opens_although_no_key_opens_the_secret(admin_client: Client, corp: Corp) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE integrations_corp SET secret = 'gAAA', proxy_url = 'gAAA', contacts_secret = 'gAAA'")

    note = "What is saved cannot be read with the present keys: enter it again."
    assert text_of(admin_client.get(page(corp))).count(note) == 3
    assert admin_client.get(LIST).status_code == 200
    post(admin_client, page(corp), new_secret="another", new_contacts_secret="new", remove_proxy="on")

    saved = Corp.objects.get()
    assert (saved.secret, saved.contacts_secret, saved.proxy_url, saved.connection_version) == ("another", "new", "", 2)


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_no_inline_script_or_style(admin_client: Client, corp: Corp) -> None:
    passed(corp)
    for url in (ADD, LIST, page(corp), page(corp, "enable"), page(corp, "disable")):
        content = admin_client.get(url).content.decode()

        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", content), url


def test_the_list_shows_each_company_s_state(
    admin_client: Client, corp: Corp, other_corp: Corp, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    Corp.objects.filter(pk=corp.pk).update(is_enabled=True)
    check_run(corp, "token", "wrong")
    check_run(corp, "token", finished_at=dt.datetime(2026, 3, 2, 1, 0, tzinfo=dt.UTC))

    admin_client.get(LIST)  # the first request of a session writes it down
    with django_assert_max_num_queries(11):
        text = text_of(admin_client.get(LIST))

    assert f"北山制造 enabled in order 2026-03-02 09:00 {CORPID} 1000002" in text
    assert f"南海物流 disabled not checked yet {other_corp.corpid} 1000003" in text


# --- The diagnosis (see test_diagnosis_pages) -------------------------------------------------------------------------


def test_saving_a_new_company_starts_its_diagnosis(
    admin_client: Client, db: None, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        post(admin_client, ADD, new_secret="the-secret")

    runs = CheckRun.objects.order_by("pk")
    assert [run.check_name for run in runs] == list(ALL_BUT_MESSAGE)
    assert {(run.corp, run.status, run.connection_version) for run in runs} == {(Corp.objects.get(), "waiting", 1)}
    assert checks_waiting() == [run.pk for run in runs]


def test_saving_other_departments_checks_again_what_looked_at_them(
    admin_client: Client, corp: Corp, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    passed(corp)
    check_run(corp, "departments", "wrong", problem="unknown", facts={"unknown": "99"})

    with django_capture_on_commit_callbacks(execute=True):
        response = post(admin_client, page(corp), department_root_ids="2")

    run = CheckRun.objects.get(status="waiting")
    assert (run.check_name, run.subject) == ("departments", "2")
    assert checks_waiting() == [run.pk]
    assert TESTING in text_of(response)


def test_another_way_of_an_enabled_company_is_checked_while_it_stays_enabled(admin_client: Client, corp: Corp) -> None:
    passed(corp)
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())

    post(admin_client, page(corp), new_secret="the-secret", new_proxy_url="http://proxy.example.com:3128")

    assert set(CheckRun.objects.newest_of([corp]).values_list("status", "connection_version")) == {("waiting", 2)}
    assert Corp.objects.enabled().get() == corp


@pytest.mark.parametrize(
    ("changes", "tab"),
    [
        ({"name": "北山集团"}, "#credentials"),
        ({"department_root_ids": "2"}, "#diagnosis"),
        ({"new_secret": "another-secret"}, "#credentials"),
    ],
)
def test_an_enabled_company_is_shown_where_what_saving_began_is_told(
    admin_client: Client, corp: Corp, changes: dict[str, str], tab: str
) -> None:
    passed(corp)
    check_run(corp, "departments", "wrong", problem="unknown", facts={"unknown": "99"})
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())
    fields = {**FIELDS, "page_version": version_on(admin_client, page(corp)), "new_secret": "", **changes}

    response = admin_client.post(page(corp), fields)

    assert response["Location"] == page(corp) + tab
    assert CheckRun.objects.filter(status="waiting").exists() is (tab == "#diagnosis")


def state_of(client: Client, corp: Corp) -> tuple[str, str]:
    """The company's state as its page has it, and as the page is told while one looks."""
    live = client.get(page(corp, "diagnosis")).json()["state"]
    found = re.search(r"<span data-corp-state[^>]*>(.*?)</div>", client.get(page(corp)).content.decode(), re.DOTALL)
    assert found
    shown, told = (" ".join(re.sub(r"<[^>]+>|\s+", " ", text).split()) for text in (found[1], live))
    return shown, told


def reach_of(client: Client, corp: Corp) -> str:
    """What the page says of the company's people; the same while one looks."""
    told: str = client.get(page(corp, "steps")).json()["parts"]["corp-reach"]
    assert told in client.get(page(corp)).content.decode()
    return told


def test_credentials_that_were_changed_since_they_were_checked_are_said(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(is_enabled=True)
    assert state_of(admin_client, corp) == ("enabled", "enabled")
    passed(corp)
    assert state_of(admin_client, corp) == ("enabled", "enabled")

    Corp.objects.update(connection_version=2)
    corp.refresh_from_db()
    assert state_of(admin_client, corp) == ("enabled credentials changed, not checked",) * 2
    check_run(corp, "token", "waiting", finished_at=None)
    assert state_of(admin_client, corp) == ("enabled credentials changed, not checked",) * 2

    passed(corp)
    assert state_of(admin_client, corp) == ("enabled", "enabled")


def test_an_essential_check_that_is_wrong_is_said_at_the_head_of_the_page(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(is_enabled=True)
    passed(corp)
    assert "People of this company sign in with WeCom and receive messages." in reach_of(admin_client, corp)

    check_run(corp, "token", "wrong", problem="refused", errcode=40001)

    assert state_of(admin_client, corp) == ("enabled an essential check is wrong",) * 2
    assert "An essential check is wrong: messages and sign-in of this company may fail." in reach_of(admin_client, corp)


def test_where_there_is_no_network_it_is_not_said_that_nobody_looked(admin_client: Client, corp: Corp) -> None:
    check_run(corp, "token", "skipped", problem="blocked", facts={"by": "network"})
    assert state_of(admin_client, corp) == ("disabled credentials changed, not checked",) * 2

    assert services.list_steps(corp)[0].state == "to_do"

    check_run(corp, "network", "wrong", problem="proxy")

    assert state_of(admin_client, corp) == ("disabled an essential check is wrong",) * 2
    assert services.list_steps(corp)[0].state == "wrong"


# --- The address, once it is in use -----------------------------------------------------------------------------------

FIXED = (
    "Only a superuser may change this once the company has been enabled: WeCom sends the codes there that say who "
    "somebody is."
)


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR])
def test_no_role_gives_a_company_that_was_enabled_another_address(corp: Corp, role: Role) -> None:
    own = SiteAddress.objects.create(url="https://evil.example/")
    Corp.objects.update(first_enabled_at=timezone.now())
    person = User.objects.create_user("somebody", is_staff=True, manages_all_corps=True)
    person.groups.add(Group.objects.get(name=role))
    client = client_of(person)

    text = text_of(client.get(page(corp)))
    post(client, page(corp), site_address=str(own.pk), name="新名")

    corp.refresh_from_db()
    assert (corp.name, corp.site_address) == ("新名", None)
    assert FIXED in text
    assert text.count("Only a superuser may change this: whoever answers here") == 5


def test_a_superuser_gives_an_enabled_company_another_address(admin_client: Client, corp: Corp) -> None:
    own = SiteAddress.objects.create(url="https://alpha.example/")
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())

    post(admin_client, page(corp), site_address=str(own.pk))

    corp.refresh_from_db()
    assert corp.site_address == own


def test_who_may_only_look_finds_no_form_no_secret_and_no_reason(corp: Corp) -> None:
    VerificationFile.objects.create(corp=corp, code="0123456789abcdef", uploaded_at=timezone.now())
    for kind in CallbackEvent.Kind:
        generate_callback_keys(corp=corp, kind=kind)
    passed(corp)
    Corp.objects.update(first_enabled_at=timezone.now())

    response = client_of(staff("one", corp, permissions=("view_corp",))).get(page(corp))

    content = response.content.decode()
    assert not re.search(r'<form[^>]*method="post"[^>]*action="/admin/integrations/', content)
    assert not re.search(
        r"/verification/\d+/(check|remove)/|/callback/|/enable/|data-diagnosis-form|new_secret", content
    )
    assert "Only a superuser" not in text_of(response)
    assert "data-copy" in content


# --- Deleting ---------------------------------------------------------------------------------------------------------


def test_a_company_that_was_never_enabled_can_be_deleted(admin_client: Client, corp: Corp) -> None:
    passed(corp)

    admin_client.post(page(corp, "delete"), {"post": "yes"})

    assert not Corp.objects.exists()


def test_a_company_that_was_enabled_once_cannot(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(first_enabled_at=timezone.now())

    assert admin_client.post(page(corp, "delete"), {"post": "yes"}).status_code == 403
    assert Corp.objects.exists()


# --- Choosing an address ----------------------------------------------------------------------------------------------


def test_only_visible_addresses_can_be_chosen(corp: Corp, other_corp: Corp) -> None:
    own, theirs = (SiteAddress.objects.create(url=f"https://{name}.example/") for name in ("own", "theirs"))
    other_corp.site_address = theirs
    other_corp.save()
    client = client_of(staff("one", corp, permissions=("view_corp", "change_corp")))

    assert "https://theirs.example/" not in client.get(page(corp)).content.decode()
    response = post(client, page(corp), site_address=str(theirs.pk))
    assert list(errors_of(response)) == ["site_address"]
    post(client, page(corp), site_address=str(own.pk))

    corp.refresh_from_db()
    assert corp.site_address == own


def test_the_page_tells_of_the_pause_after_a_wrong_secret(admin_client: Client, corp: Corp) -> None:
    def refused() -> FetchedToken:
        raise ConfigurationError("invalid credential", system="wecom", operation="gettoken", code=40001)

    assert "not asked again" not in text_of(admin_client.get(page(corp)))

    with pytest.raises(ConfigurationError):
        token_store().get(corp.corpid, corp.agentid, refused)

    text = text_of(admin_client.get(page(corp)))
    assert re.search(r"credentials refused · not asked again before \d\d:\d\d · update the Secret", text)


def test_the_page_and_the_overview_tell_until_when_wecom_gives_no_token(admin_client: Client, corp: Corp) -> None:
    def too_many() -> FetchedToken:
        raise RateLimitedError(
            "api freq out of limit", system="wecom", operation="gettoken", code=45009, retry_after_seconds=3600
        )

    Corp.objects.update(is_enabled=True)
    with pytest.raises(RateLimitedError):
        token_store().get(corp.corpid, corp.agentid, too_many)

    page_text, overview = text_of(admin_client.get(page(corp))), text_of(admin_client.get("/admin/"))

    said = r"WeCom gives no token until (\d{4}-\d\d-\d\d )?\d\d:\d\d"
    assert re.search(said, page_text)
    assert re.search(f"“北山制造”: {said}", overview)
