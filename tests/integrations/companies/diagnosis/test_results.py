"""Reading results: what counts as current, health at a glance, what stands against enabling, the text for support."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import AnonymousUser
from django.utils import translation
from pytest_django import DjangoAssertNumQueries, Settings

from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.companies.callbacks import generate_callback_keys
from integrations.companies.diagnosis import results
from integrations.companies.diagnosis.results import CHECKS, essential_checks, export_text
from integrations.core.client_factory import token_store
from integrations.models import CallbackEvent, Corp, SiteAddress
from tests.integrations.companies.diagnosis.wire import Wire
from tests.integrations.conftest import CORPID
from tests.integrations.diagnosing import NOW, check_run, passed, run_one

pytestmark = pytest.mark.django_db

# --- What counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["domain", "home_page", "verification_file", "ownership", "callback"])
def test_a_result_about_our_address_ends_with_that_address(corp: Corp, name: str) -> None:
    run = check_run(corp, name)
    assert results.is_current(run, corp)

    SiteAddress.objects.filter(is_default=True).update(url="https://new.example.com/")

    assert not results.is_current(run, Corp.objects.get(pk=corp.pk))


@pytest.mark.parametrize(
    ("name", "change"), [("departments", {"department_root_ids": [7]}), ("home_page", {"domain_id": "x"})]
)
def test_a_result_about_what_was_changed_ends(corp: Corp, name: str, change: dict[str, Any]) -> None:
    run = check_run(corp, name)

    Corp.objects.update(**change)

    assert not results.is_current(run, Corp.objects.get(pk=corp.pk))


@pytest.mark.parametrize("name", CHECKS)
def test_every_result_ends_with_another_connection(corp: Corp, name: str) -> None:
    run = check_run(corp, name)
    assert results.is_current(run, corp)

    corp.connection_version += 1

    assert not results.is_current(run, corp)


# --- Enabling ---------------------------------------------------------------------------------------------------------


def test_what_is_essential(corp: Corp) -> None:
    assert essential_checks(corp) == ("token", "ip", "agentid", "app", "scope", "domain", "home_page")
    corp.sign_in_enabled = False
    assert essential_checks(corp) == ("token", "ip", "agentid", "app", "scope")


def test_nothing_stands_against_a_corp_whose_essential_checks_passed(at_home: Corp) -> None:
    passed(at_home)
    check_run(at_home, "callback", "wrong", problem="unreachable")

    assert services.reasons_against_enabling(at_home, now=NOW) == []


@pytest.mark.parametrize("name", ["token", "ip", "agentid", "app", "scope", "domain", "home_page"])
@pytest.mark.parametrize("status", ["wrong", "skipped"])
def test_each_essential_check_stands_against_it(at_home: Corp, name: str, status: str) -> None:
    passed(at_home)
    check_run(at_home, name, status, problem="blocked", facts={"by": "network"})

    assert services.reasons_against_enabling(at_home, now=NOW) == [
        f"{results.label(name)}: Not tried: “Network and DNS” has to be in order first."
    ]


@pytest.mark.parametrize("name", ["domain", "home_page"])
def test_domain_and_home_page_do_not_matter_without_sign_in(at_home: Corp, name: str) -> None:
    at_home.sign_in_enabled = False
    at_home.save()
    passed(at_home)
    check_run(at_home, name, "wrong", problem="missing")

    assert services.reasons_against_enabling(at_home, now=NOW) == []


def test_what_is_to_be_looked_at_does_not_stand_against_it(at_home: Corp) -> None:
    passed(at_home)
    check_run(at_home, "scope", "warning", problem="members_only", facts={"members": 3})

    assert services.reasons_against_enabling(at_home, now=NOW) == []


def test_an_earlier_success_does_not_hide_what_is_wrong_or_running_now(at_home: Corp) -> None:
    passed(at_home)
    check_run(at_home, "token", "running", finished_at=None)
    check_run(at_home, "ip", "wrong", problem="refused_ip", errcode=60020, facts={"copied": "203.0.113.9"})

    assert services.reasons_against_enabling(at_home, now=NOW) == [
        "Being checked at the moment: Token. Wait for the result.",
        "Trusted IP: WeCom refuses the address of this server: 203.0.113.9 is not among the trusted IPs of the app.",
    ]


def test_all_that_was_never_checked_is_named_in_one_sentence(at_home: Corp) -> None:
    assert services.reasons_against_enabling(at_home, now=NOW) == [
        "Not checked, or not since the last change: Token, Trusted IP, AgentId and Secret, App enabled, Visible scope, "
        "Trusted domain, Home page link. Run the diagnosis first."
    ]


def test_another_address_asks_for_new_results_of_domain_and_home_page(at_home: Corp) -> None:
    passed(at_home)
    SiteAddress.objects.filter(is_default=True).update(url="https://new.example.com/")

    assert services.reasons_against_enabling(Corp.objects.get(), now=NOW) == [
        "Not checked, or not since the last change: Trusted domain, Home page link. Run the diagnosis first."
    ]


def test_what_was_found_in_order_long_ago_says_nothing_of_today(at_home: Corp) -> None:
    """A company may be disabled for months, and its Secret reset meanwhile."""
    passed(at_home)
    check_run(at_home, "token", finished_at=NOW - dt.timedelta(hours=24))
    check_run(at_home, "ip", finished_at=NOW - dt.timedelta(hours=24, seconds=1))
    check_run(at_home, "app", "warning", finished_at=NOW - dt.timedelta(days=90))
    check_run(at_home, "scope", "wrong", problem="empty", finished_at=NOW - dt.timedelta(days=90))

    assert services.reasons_against_enabling(at_home, now=NOW) == [
        "Checked more than a day ago: Trusted IP, App enabled. Run the diagnosis again.",
        "Visible scope: The app sees nobody: nobody can sign in, and no message arrives.",
    ]


def test_enabling_is_refused_with_the_reason(at_home: Corp) -> None:
    passed(at_home)
    check_run(at_home, "scope", "wrong", problem="empty")

    with pytest.raises(services.CorpNotReady, match="sees nobody"):
        services.enable_corp(corp=at_home, by=AnonymousUser(), now=NOW)

    assert not Corp.objects.enabled().exists()


# --- Health -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "tone", "words", "wrong_count"),
    [
        ({}, "quiet", "not checked yet", 0),
        ({"token": "ok", "ip": "ok", "proxy": "skipped"}, "good", "in order", 0),
        ({"token": "ok", "scope": "warning"}, "warn", "1 check to be looked at", 0),
        ({"token": "ok", "scope": "warning", "ip": "wrong"}, "bad", "1 check wrong", 1),
        ({"domain": "wrong", "ip": "wrong"}, "bad", "2 checks wrong", 2),
        ({"token": "ok", "ip": "running"}, "quiet", "being checked", 0),
        ({"message": "wrong", "token": "ok"}, "good", "in order", 0),
    ],
)
def test_the_health_of_a_company(corp: Corp, statuses: dict[str, str], tone: str, words: str, wrong_count: int) -> None:
    for name, status in statuses.items():
        check_run(corp, name, status)

    health = results.health_by_corp([corp])[corp.pk]

    assert (health.tone, health.words, health.wrong_count) == (tone, words, wrong_count)
    assert health.checked_at == (NOW if statuses else None)


def test_the_newest_result_of_each_check_counts(corp: Corp) -> None:
    check_run(corp, "token", "wrong")
    check_run(corp, "token", finished_at=NOW + dt.timedelta(minutes=1))

    health = results.health_by_corp([corp])[corp.pk]

    assert (health.tone, health.checked_at) == ("good", NOW + dt.timedelta(minutes=1))


def test_results_of_another_connection_count_for_nothing(corp: Corp) -> None:
    passed(corp)
    corp.connection_version = 2

    assert results.health_by_corp([corp])[corp.pk].words == "credentials changed, not checked"


@pytest.mark.parametrize("count", [1, 5])
def test_health_takes_one_query_for_all_companies(
    count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    corps = [
        Corp.objects.create(name=f"公司{number}", corpid=f"ww{number:016}", agentid=1, secret="x")
        for number in range(count)
    ]
    for corp in corps:
        passed(corp)

    with django_assert_num_queries(1):
        health = results.health_by_corp(corps)

    assert {one.tone for one in health.values()} == {"good"}
    assert len(health) == count


# --- The text for support ---------------------------------------------------------------------------------------------

SECRETS = {
    "secret": "the-secret",
    "contacts_secret": "the-contacts-secret",
    "callback_token": "CallbackTokenOfTheApp",
    "callback_aes_key": "k" * 43,
    "contacts_callback_token": "CallbackTokenOfContacts",
    "contacts_callback_aes_key": "c" * 43,
    "proxy_url": "http://bob:pass-word-9@proxy.example.com:3128",
}


def test_the_text_says_everything_that_the_page_says(at_home: Corp) -> None:
    check_run(at_home, "token", problem="given")
    columns = {"errcode": 60020, "hint": "123", "caller_ip": "203.0.113.9", "detail": "not allow"}
    check_run(at_home, "ip", "wrong", problem="refused_ip", facts={"copied": "203.0.113.9"}, **columns)

    text = export_text(at_home, now=NOW)

    assert f"CorpId {CORPID}, AgentId 1000002, connection 1" in text
    assert "site address: https://bi.example.com/" in text
    assert "[in order] Token (token)" in text
    assert "[wrong] Trusted IP (ip)" in text
    assert "check ip; problem refused_ip; errcode 60020; not allow; hint 123; ip 203.0.113.9" in text
    assert "[not tried] Clock (clock)" in text
    for name in CHECKS:
        assert f"({name})" in text


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_the_text_holds_no_secret_whatever_another_server_answered(at_home: Corp, language: str) -> None:
    Corp.objects.filter(pk=at_home.pk).update(**SECRETS)
    corp = Corp.objects.get(pk=at_home.pk)
    token_store().get(CORPID, 1000002, lambda: FetchedToken("the-shared-token", 7200))
    echoed = " ".join([*SECRETS.values(), "pass-word-9"])
    for name in CHECKS:
        check_run(corp, name, "wrong", problem="other", detail=echoed, facts={"theirs": echoed, "ours": "x"})

    with translation.override(language):
        text = export_text(corp, now=NOW)

    for secret in [*SECRETS.values(), "pass-word-9", "the-shared-token"]:
        assert secret not in text
    assert "***" in text


def test_no_row_of_a_whole_run_holds_a_secret(corp: Corp, wire: Wire) -> None:
    Corp.objects.filter(pk=corp.pk).update(**SECRETS)
    generate_callback_keys(corp=corp, kind=CallbackEvent.Kind.APP)
    wire.token(json={"errcode": 40001, "errmsg": "corpsecret=the-secret is wrong"})

    run = run_one(corp, "token")

    assert run.errcode == 40001
    assert "the-secret" not in str(vars(run))


def test_the_text_comes_although_no_key_opens_the_secrets(corp: Corp, settings: Settings) -> None:
    check_run(corp, "token", "wrong", problem="wrong_setting", detail="no key of FIELD_ENCRYPTION_KEYS")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    corp = Corp.objects.defer("secret", "contacts_secret", "proxy_url").get(pk=corp.pk)

    assert "FIELD_ENCRYPTION_KEYS" in export_text(corp, now=NOW)
