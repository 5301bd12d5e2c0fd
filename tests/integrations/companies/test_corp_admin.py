"""The pages of a company in the admin: what they keep, refuse, show, and never show."""

import datetime as dt
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from accounts.models import AuditEntry
from accounts.users.roles import Role
from integrations.callbacks import generate_callback_keys
from integrations.clients.errors import ConfigurationError, RateLimitedError
from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.companies.diagnosis.checks import ALL_BUT_MESSAGE
from integrations.companies.links import store_file
from integrations.core.client_factory import token_store
from integrations.models import CallbackEvent, CheckRun, Corp, SiteAddress
from tests.integrations.conftest import CORPID, client_of, staff
from tests.integrations.core.test_validators import certificate
from tests.integrations.diagnosing import check_run, checks_waiting, pass_checks
from tests.integrations.pages import disabled_fields, errors_of, in_role, text_of, version_on

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


def test_a_company_is_added_tidied_and_checked(
    admin_client: Client, db: None, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = post(
            admin_client,
            ADD,
            name=" 北山制造\u200b",
            corpid=f"\ufeff{CORPID} ",
            agentid=" 1000 002\u200b",
            new_secret="the-\u200bsecret\t",
            new_contacts_secret=" of-contacts\u200b",
            department_root_ids="2，5",
            # Addresses of pages are turned into those of servers.
            api_base_url="https://qyapi.weixin.qq.com/cgi-bin/",
            authorize_base_url="https://open.weixin.qq.com/connect/oauth2/authorize",
            qr_base_url="http://127.0.0.1:3002/wwlogin/sso/login/",
        )

    corp = Corp.objects.get()
    assert (corp.name, corp.corpid, corp.agentid, corp.secret) == ("北山制造", CORPID, 1000002, "the-secret")
    assert (corp.contacts_secret, corp.department_root_ids) == ("of-contacts", [2, 5])
    assert (corp.is_enabled, corp.connection_version) == (False, 1)
    assert (corp.api_base_url, corp.authorize_base_url, corp.qr_base_url) == (
        *("https://qyapi.weixin.qq.com", "https://open.weixin.qq.com"),
        "http://127.0.0.1:3002",
    )
    assert response.redirect_chain[-1][0] == page(corp)  # type: ignore[attr-defined]  # the client's own class
    assert TESTING in text_of(response)
    assert (
        "Spaces or invisible characters were removed from: WeCom company name, CorpId, AgentId, Secret, Contacts"
        in (text_of(response))
    )
    runs = CheckRun.objects.order_by("pk")
    assert [run.check_name for run in runs] == list(ALL_BUT_MESSAGE)
    assert {(run.corp, run.status, run.connection_version) for run in runs} == {(corp, "waiting", 1)}
    assert checks_waiting() == [run.pk for run in runs]


WRONG = {
    "name": (" ", "This field is required."),
    "domain_id": ("域" * 9, "Too long for a link, where it takes 135 characters: at most 128. Use letters and digits."),
    "new_secret": ("", "This field is required."),
    "corpid": ("1234", "A CorpId has 18 characters and begins with ww or wx."),
    "agentid": ("my app", "Write a whole number, such as 1000002."),
    "department_root_ids": ("sales", "“sales” is not a department ID: a whole number such as 1 or 42."),
    "api_base_url": (
        "http://qyapi.example.com",
        "The address must begin with https://, because the Secret travels with each call.",
    ),
    "qr_base_url": ("login", "The address must begin with http:// or https://."),
    "new_proxy_url": ("proxy", "Write the proxy as http://user:password@host:port or http://host:port."),
    "ca_bundle": ("x", "These are not certificates in PEM form (-----BEGIN CERTIFICATE----- …)."),
}


def test_wrong_values_are_refused_each_with_a_sentence(admin_client: Client, db: None) -> None:
    response = post(admin_client, ADD, **{name: typed for name, (typed, _sentence) in WRONG.items()})

    assert errors_of(response) == {name: [sentence] for name, (_typed, sentence) in WRONG.items()}
    for agentid, sentence in (
        ("0", "Ensure this value is greater than or equal to 1."),
        ("-1", "Ensure this value is greater than or equal to 0."),
        ("9" * 30, "Ensure this value is less than or equal to 9223372036854775807."),
    ):
        assert errors_of(post(admin_client, ADD, new_secret="the-secret", agentid=agentid)) == {"agentid": [sentence]}
    assert not Corp.objects.exists()


TWICE = "This app (CorpId and AgentId) is connected already."


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        (
            {"name": "北山制造", "agentid": "5"},
            {"name": ["Another WeCom company has this name already. People could not tell them apart."]},
        ),
        ({"name": "另一个"}, {"__all__": [TWICE]}),
        (None, {"__all__": [TWICE], "new_secret": ["Paste the Secret of the app with this AgentId, too."]}),
    ],
)
def test_a_second_row_for_the_same_thing_is_refused(
    admin_client: Client, corp: Corp, changes: dict[str, str] | None, errors: dict[str, list[str]]
) -> None:
    """Use None for the app of another company's CorpId, which is fixed once a company was enabled."""
    if changes is None:
        Corp.objects.update(first_enabled_at=timezone.now())
        Corp.objects.create(name="另一个", corpid=CORPID, agentid=1000003, secret="x")
        response = post(admin_client, page(corp), agentid="1000003")
    else:
        response = post(admin_client, ADD, new_secret="the-secret", **changes)

    assert errors_of(response) == errors
    assert Corp.objects.count() == (2 if changes is None else 1)


def test_the_corpid_is_fixed_after_the_first_enabling(admin_client: Client, corp: Corp) -> None:
    assert "corpid" not in disabled_fields(admin_client.get(page(corp)))
    Corp.objects.update(first_enabled_at=timezone.now())

    assert disabled_fields(admin_client.get(page(corp))) == {"corpid"}
    post(admin_client, page(corp), corpid="ww" + "2" * 16, name="新名")

    corp.refresh_from_db()
    assert (corp.corpid, corp.name) == (CORPID, "新名")


PROXY = "http://user:pass@proxy.example.com:3128"


def test_secrets_are_kept_replaced_and_removed(admin_client: Client, corp: Corp) -> None:
    corp.proxy_url, corp.contacts_secret = PROXY, "of-contacts"
    corp.save()
    before = Corp.objects.values().get()
    shown = text_of(admin_client.get(page(corp)))
    assert "Saved: proxy.example.com:3128. Leave this empty to keep it." in shown
    assert "A Contacts sync Secret is saved." in shown

    post(admin_client, page(corp))
    assert Corp.objects.values().get() == before
    kept = post(admin_client, page(corp), name="新名")
    saved = Corp.objects.get()
    assert (saved.name, saved.secret, saved.contacts_secret) == ("新名", "the-secret", "of-contacts")
    assert (saved.proxy_url, saved.connection_version) == (PROXY, 1)
    assert TESTING not in text_of(kept)
    assert not CheckRun.objects.exists()

    changed = post(admin_client, page(corp), name="新名", new_secret="another")
    assert (Corp.objects.get().secret, Corp.objects.get().connection_version) == ("another", 2)
    assert TESTING in text_of(changed)
    assert LogEntry.objects.latest("pk").get_change_message() == "Changed secret."
    post(admin_client, page(corp), name="新名", new_contacts_secret="new")
    assert LogEntry.objects.latest("pk").get_change_message() == "Changed Contacts sync Secret."
    post(admin_client, page(corp), remove_proxy="on", remove_contacts_secret="on")
    saved = Corp.objects.get()
    assert (saved.proxy_url, saved.contacts_secret, saved.connection_version) == ("", "", 4)


@pytest.mark.parametrize("name", ["北山制造", ""])
def test_no_page_shows_a_secret_or_a_proxy_s_password(admin_client: Client, corp: Corp, name: str) -> None:
    corp.proxy_url, corp.contacts_secret = "http://user:pr0xy-pass@proxy.example.com:3128", "c0ntacts"
    corp.save()
    typed = {"new_secret": "typed-now", "new_contacts_secret": "typed-there", "new_proxy_url": "http://u:typed-too@p:1"}

    pages: list[Any] = [
        admin_client.get(page(corp)),
        admin_client.get(LIST),
        post(admin_client, page(corp), name=name, **typed),
        admin_client.get(page(corp, "history")),
        admin_client.get(page(corp, "delete")),
    ]

    for response in pages:
        assert response.status_code == 200
        assert not re.search("the-secret|pr0xy-pass|c0ntacts|typed-", response.content.decode())
    told = f"{list(LogEntry.objects.values())} {list(AuditEntry.objects.values())}"
    assert not re.search("the-secret|pr0xy-pass|c0ntacts|typed", told)


@pytest.mark.parametrize(
    "changes", [{"api_base_url": "https://elsewhere.example"}, {"new_proxy_url": "http://elsewhere.example:1"}]
)
def test_the_saved_secret_is_not_sent_another_way(admin_client: Client, corp: Corp, changes: dict[str, str]) -> None:
    """Stop whoever may change a company from having its Secret sent to their own address."""
    corp.contacts_secret = "of-contacts"
    corp.save()
    before = Corp.objects.values().get()

    response = post(admin_client, page(corp), **changes)

    assert errors_of(response) == {
        name: ["Paste it again: with this change it would be sent another way."]
        for name in ("new_secret", "new_contacts_secret")
    }
    assert Corp.objects.values().get() == before
    again = {"new_secret": "the-secret", "new_contacts_secret": "of-contacts"}
    assert post(admin_client, page(corp), **changes, **again).redirect_chain  # type: ignore[attr-defined]  # as above


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


def test_the_list_shows_each_company_s_state(
    admin_client: Client, corp: Corp, other_corp: Corp, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    Corp.objects.filter(pk=corp.pk).update(is_enabled=True)
    check_run(corp, "token", "wrong")
    check_run(corp, "token", finished_at=dt.datetime(2026, 3, 2, 1, 0, tzinfo=dt.UTC))

    admin_client.get(LIST)  # the first request of a session saves it
    with django_assert_max_num_queries(11):
        text = text_of(admin_client.get(LIST))

    assert f"北山制造 in order in order 2026-03-02 09:00 {CORPID} 1000002" in text
    assert f"南海物流 waiting not enabled yet waiting not checked yet {other_corp.corpid} 1000003" in text


@pytest.mark.parametrize(
    ("changes", "tab"),
    [
        ({"name": "北山集团"}, "#credentials"),
        ({"department_root_ids": "2"}, "#diagnosis"),
        ({"new_secret": "another-secret"}, "#credentials"),
        ({"new_secret": "the-secret", "new_proxy_url": "http://proxy.example.com:3128"}, "#diagnosis"),
    ],
)
def test_an_enabled_company_is_shown_where_what_saving_began_is_told(
    admin_client: Client, corp: Corp, changes: dict[str, str], tab: str
) -> None:
    pass_checks(corp)
    check_run(corp, "departments", "wrong", problem="unknown", facts={"unknown": "99"})
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())
    fields = {**FIELDS, "page_version": version_on(admin_client, page(corp)), "new_secret": "", **changes}

    response = admin_client.post(page(corp), fields)

    assert response["Location"] == page(corp) + tab
    waiting = CheckRun.objects.filter(status="waiting")
    assert waiting.exists() is (tab == "#diagnosis")
    if "department_root_ids" in changes:  # only the check of the departments runs again
        assert list(waiting.values_list("check_name", "subject")) == [("departments", "2")]
        assert checks_waiting() == [run.pk for run in waiting]
    assert Corp.objects.enabled().get() == corp


def state_of(client: Client, corp: Corp) -> tuple[str, str]:
    """Return the company's state as its page shows it, and as the page polls it."""
    live = client.get(page(corp, "diagnosis")).json()["state"]
    found = re.search(r"<span data-corp-state[^>]*>(.*?)</div>", client.get(page(corp)).content.decode(), re.DOTALL)
    assert found
    shown, told = (" ".join(re.sub(r"<[^>]+>|\s+", " ", text).split()) for text in (found[1], live))
    return shown, told


def test_the_head_of_the_page_says_whether_the_credentials_were_checked_and_work(
    admin_client: Client, corp: Corp
) -> None:
    def said() -> tuple[str, str]:
        corp.refresh_from_db()
        return state_of(admin_client, corp)

    check_run(corp, "token", "skipped", problem="blocked", facts={"by": "network"})
    assert said() == ("waiting not enabled yet credentials changed, not checked",) * 2
    assert services.list_steps(corp)[0].state == "to_do"
    check_run(corp, "network", "wrong", problem="proxy")
    assert said() == ("waiting not enabled yet an essential check is wrong Look",) * 2
    assert services.list_steps(corp)[0].state == "wrong"

    CheckRun.objects.all().delete()
    Corp.objects.update(is_enabled=True)
    assert said() == ("in order · nothing sent today",) * 2
    pass_checks(corp)
    assert said() == ("in order · nothing sent today",) * 2
    Corp.objects.update(connection_version=2)
    assert said() == ("in order · nothing sent today credentials changed, not checked",) * 2
    check_run(corp, "token", "waiting", finished_at=None)
    assert said() == ("in order · nothing sent today credentials changed, not checked",) * 2
    pass_checks(corp)
    reach = admin_client.get(page(corp, "steps")).json()["parts"]["corp-reach"]
    assert "People of this company sign in with WeCom and receive messages." in reach
    assert reach in admin_client.get(page(corp)).content.decode()

    check_run(corp, "token", "wrong", problem="refused", errcode=40001)
    assert said() == ("failed an essential check is wrong Look",) * 2
    reach = admin_client.get(page(corp, "steps")).json()["parts"]["corp-reach"]
    assert "An essential check is wrong: messages and sign-in of this company may fail." in reach


AT = r"(\d{4}-\d\d-\d\d )?\d\d:\d\d"


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        (40001, None, f"credentials refused · not asked again before {AT} · update the Secret"),
        (45009, 3600, f"WeCom gives no token until {AT}"),
    ],
)
def test_the_page_and_the_overview_tell_that_wecom_gives_no_token(
    admin_client: Client, corp: Corp, code: int, seconds: int | None, said: str
) -> None:
    def refused() -> FetchedToken:
        if seconds is None:
            raise ConfigurationError("refused", system="wecom", operation="gettoken", code=code)
        raise RateLimitedError("refused", system="wecom", operation="gettoken", code=code, retry_after_seconds=seconds)

    Corp.objects.update(is_enabled=True)
    with pytest.raises((ConfigurationError, RateLimitedError)):
        token_store().get(corp.corpid, corp.agentid, refused)

    shown = said.replace(" · ", " ").replace("update", "Update")
    assert re.search(shown, text_of(admin_client.get(page(corp))))
    assert re.search(f"“北山制造”: {said}", text_of(admin_client.get("/admin/")))


FIXED = (
    "Only a superuser may change this once the company has been enabled: WeCom sends the codes there that identify "
    "people."
)
FIXED_CONTACTS = (
    "Only a superuser may change this once the company has been enabled: it decides how people are identified."
)


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR])
def test_no_role_gives_a_company_that_was_enabled_another_address(corp: Corp, role: Role) -> None:
    own = SiteAddress.objects.create(url="https://evil.example/")
    saved = "of-contacts" if role == Role.INTEGRATION_ADMINISTRATOR else ""
    corp.first_enabled_at, corp.contacts_secret = timezone.now(), saved
    corp.save()
    client = in_role(role)
    way = {
        "site_address": str(own.pk),
        "agentid": "1000009",
        "remove_contacts_secret": "on",
        "new_secret": "own-secret",
    }
    way |= {"admin_rights_enabled": "on", **dict.fromkeys(("api_base_url", "qr_base_url"), "https://own.example")}

    shown = client.get(page(corp))
    post(client, page(corp), **way, new_contacts_secret="" if saved else "own-contacts", name="新名")

    kept = Corp.objects.get()
    assert (kept.name, kept.site_address, kept.contacts_secret) == ("新名", None, saved)
    assert (kept.agentid, kept.secret, kept.admin_rights_enabled) == (1000002, "the-secret", False)
    assert (kept.api_base_url, kept.qr_base_url) == (
        *("https://qyapi.weixin.qq.com", "https://login.work.weixin.qq.com"),
    )
    assert not Corp.objects.exclude(staged_state="").exists()
    text = text_of(shown)
    assert FIXED in text
    assert FIXED_CONTACTS in text
    assert "another app could name other people" in text
    assert f'placeholder="{"saved, never shown" if saved else "not entered"}"' in shown.content.decode()
    assert text.count("Only a superuser may change this: a server in WeCom's place") == 5
    names = {"api_base_url", "site_address", "agentid", "new_contacts_secret", "new_secret", "admin_rights_enabled"}
    assert names < disabled_fields(shown)


def test_the_roles_enter_both_secrets_before_the_first_enabling_and_a_superuser_changes_address_and_one_later(
    admin_client: Client, corp: Corp
) -> None:
    typed = {"agentid": "1000009", "new_secret": "another", "new_contacts_secret": "of-contacts"}
    post(in_role(Role.INTEGRATION_ADMINISTRATOR), page(corp), **typed)
    corp.refresh_from_db()
    assert (corp.agentid, corp.secret, corp.contacts_secret) == (1000009, "another", "of-contacts")
    own = SiteAddress.objects.create(url="https://alpha.example/")
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())

    post(admin_client, page(corp), agentid="1000009", site_address=str(own.pk), new_contacts_secret="changed")

    corp.refresh_from_db()
    assert (corp.site_address, corp.contacts_secret) == (own, "changed")


def test_who_may_only_look_finds_no_form_no_secret_and_no_reason(corp: Corp) -> None:
    name = f"WW_verify_{'f' * 16}.txt"
    store_file(corp=corp, name=name, content=b"f" * 16, now=timezone.now())
    for kind in CallbackEvent.Kind:
        generate_callback_keys(corp=corp, kind=kind)
    pass_checks(corp)
    Corp.objects.update(first_enabled_at=timezone.now(), contacts_secret="of-contacts")

    response = client_of(staff("one", corp, permissions=("view_corp",))).get(page(corp))

    content = response.content.decode()
    assert not re.search(r'<form[^>]*method="post"[^>]*action="/admin/integrations/', content)
    assert not re.search(
        r"/verification/\d+/(check|remove)/|/callback/|/enable/|data-diagnosis-form|new_secret", content
    )
    assert "Only a superuser" not in text_of(response)
    assert re.search(r"Contacts sync Secret\W+saved", text_of(response))
    assert "data-copy" in content


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
