"""Reading results: what counts as current, health at a glance, what stands against enabling, the text for support."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from django.db import connection, transaction
from django.utils import translation
from pytest_django import DjangoAssertNumQueries, Settings

from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.companies.diagnosis import results, runner
from integrations.companies.diagnosis.results import CHECKS, export_text
from integrations.core.client_factory import token_store
from integrations.models import CheckRun, Corp, SiteAddress
from tests.databases import somebody_waits
from tests.integrations import diagnosing
from tests.integrations.companies.diagnosis.wire import CALLER_IP, HINT, Wire, refusal
from tests.integrations.conftest import CORPID
from tests.integrations.diagnosing import NOW, check_run, outcome_of, passed, run_one

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


def test_the_text_comes_although_no_key_opens_the_secrets(corp: Corp, settings: Settings) -> None:
    check_run(corp, "token", "wrong", problem="wrong_setting", detail="no key of FIELD_ENCRYPTION_KEYS")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    corp = Corp.objects.defer("secret", "contacts_secret", "proxy_url").get(pk=corp.pk)

    assert "FIELD_ENCRYPTION_KEYS" in export_text(corp, now=NOW)


READ_THE_APP = ("agentid", "app", "scope", "domain", "home_page")
BEHIND_TOKEN = ("ip", *READ_THE_APP, "contacts", "departments")
SECOND, MINUTE = dt.timedelta(seconds=1), dt.timedelta(minutes=1)
LATER = NOW + 60 * MINUTE


def ask(corp: Corp, name: str) -> CheckRun:
    return runner.request_checks(corp=corp, checks=[name], now=LATER)[0]


def carry_out(run: CheckRun) -> list[int]:
    return diagnosing.carry_out(run, clock=lambda: LATER + SECOND)


# --- One cause is said once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BEHIND_TOKEN)
def test_a_refused_secret_is_said_once_by_the_token(corp: Corp, wire: Wire, name: str) -> None:
    wire.token(refusal(40001, "invalid credential"))

    run = run_one(corp, name)

    assert outcome_of(run) == ("skipped", "blocked", 40001)
    assert results.explain_run(run).what == "Not tried: “Token” has to be in order first."
    assert run.next_try_at is None


@pytest.mark.parametrize("name", [*READ_THE_APP, "contacts", "departments"])
def test_a_refused_address_is_said_once_by_the_trusted_ip(corp: Corp, wire: Wire, name: str) -> None:
    wire.token()
    call = "department/simplelist" if name in {"contacts", "departments"} else "agent/get"
    query = {"agentid": 1000002} if call == "agent/get" else {}
    wire.get(call, refusal(60020, "not allow to access from your ip"), **query)

    run = run_one(corp, name)

    assert outcome_of(run) == ("skipped", "blocked", 60020)
    assert run.facts == {"by": "ip"}
    assert results.explain_run(run).what == "Not tried: “Trusted IP” has to be in order first."


@pytest.mark.parametrize("name", ["app", "scope", "domain", "home_page"])
@pytest.mark.parametrize("code", [301002, 40056, 48002])
def test_another_app_s_secret_is_said_once_by_the_agentid(corp: Corp, wire: Wire, name: str, code: int) -> None:
    wire.token()
    wire.agent(refusal(code))

    run = run_one(corp, name)

    assert (outcome_of(run), run.facts) == (("skipped", "blocked", code), {"by": "agentid"})


@pytest.mark.parametrize("name", ["token", *BEHIND_TOKEN])
@pytest.mark.parametrize(
    "trouble",
    [
        {"json": None, "body": "<html>Sign in to the network</html>"},
        {"json": None, "body": "", "status": 502},
        {"json": None, "body": requests.ConnectTimeout("gettoken?corpsecret=the-secret")},
        {"json": None, "body": requests.ReadTimeout()},
        {"json": None, "body": requests.exceptions.InvalidProxyURL()},
    ],
)
def test_a_network_in_the_way_is_said_once_by_the_network(
    corp: Corp, wire: Wire, name: str, trouble: dict[str, Any]
) -> None:
    wire.token(**trouble)

    run = run_one(corp, name)

    assert (outcome_of(run), run.facts) == (("skipped", "blocked", None), {"by": "network"})
    assert "the-secret" not in str(CheckRun.objects.values().get())


@pytest.mark.parametrize("name", BEHIND_TOKEN)
def test_any_other_refusal_is_the_check_s_own_with_the_sentences_of_its_number(
    corp: Corp, wire: Wire, name: str
) -> None:
    wire.token()
    calls = {"ip": "getcallbackip", "contacts": "department/simplelist", "departments": "department/simplelist"}
    call = calls.get(name, "agent/get")
    wire.get(call, refusal(60031, "no right"), **({"agentid": 1000002} if call == "agent/get" else {}))

    run = run_one(corp, name)

    assert outcome_of(run) == ("wrong", "refused", 60031)
    assert (run.hint, run.caller_ip, run.detail) == (HINT, CALLER_IP, "no right")
    told = results.explain_run(run)
    assert told.what == "The app may not call WeCom any more."
    assert (told.who, told.where) == ("The administrator of WeCom.", "WeCom's console → App management → the app.")
    assert run.next_try_at == NOW + dt.timedelta(seconds=21)


@pytest.mark.parametrize("name", ["token", "agentid", "app", "scope", "ip", "departments"])
def test_a_secret_that_no_key_opens_is_said_once(corp: Corp, settings: Settings, name: str) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    run = run_one(corp, name)

    assert outcome_of(run) == (("wrong", "refused", -9001) if name == "token" else ("skipped", "blocked", -9001))
    assert "FIELD_ENCRYPTION_KEYS" in run.detail
    assert run.next_try_at is None


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_problem_of_every_check_is_a_whole_explanation(corp: Corp, check: Any) -> None:
    for problem, english in check.explanations.items():
        facts = dict.fromkeys(("host", "theirs", "ours", "url", "reason"), "<b>x</b>")
        told = results.explain_run(check_run(corp, check.name, "wrong", problem=problem, facts=facts))

        assert told.what
        assert "%" not in told.what + told.who + told.where
        assert bool(english.who) == bool(english.where) == bool(told.where)


@pytest.mark.parametrize("order", [["token", *BEHIND_TOKEN], [*BEHIND_TOKEN, "token"]])
def test_all_checks_together_ask_once_with_a_wrong_secret(corp: Corp, wire: Wire, order: list[str]) -> None:
    """Whichever of them a worker takes first."""
    wire.token(refusal(40001))

    runs = {name: run_one(corp, name) for name in order}

    assert wire.paths() == ["gettoken"]
    assert outcome_of(runs["token"]) == ("wrong", "refused", 40001)


# --- An obstacle that seems in order ----------------------------------------------------------------------------------


def test_an_address_that_was_trusted_an_hour_ago_is_looked_at_again(corp: Corp, wire: Wire) -> None:
    check_run(corp, "ip")
    wire.token()
    wire.agent(refusal(60020))
    run = ask(corp, "scope")

    (freed,) = carry_out(run)

    assert (run.status, run.problem) == ("skipped", "blocked")
    asked = CheckRun.objects.get(pk=freed)
    assert (asked.check_name, asked.status, asked.requested_at) == ("ip", "waiting", LATER + SECOND)


def test_what_is_in_order_and_in_the_way_at_once_is_looked_at_three_times_at_most(corp: Corp, wire: Wire) -> None:
    """The way to WeCom has several addresses, and one of them is not trusted."""
    check_run(corp, "ip")
    wire.token()
    wire.agent(refusal(60020))
    wire.callback_ip()
    run = ask(corp, "scope")
    moments = (LATER + number * SECOND for number in itertools.count())
    waiting, carried = [run.pk], []
    while waiting:
        carried.append(waiting.pop(0))
        waiting += diagnosing.carry_out(CheckRun.objects.get(pk=carried[-1]), clock=lambda: next(moments))

    run.refresh_from_db()
    assert (run.status, run.problem, run.errcode, run.try_count) == ("wrong", "refused", 60020, 3)
    assert len(carried) == 5


@pytest.mark.django_db(transaction=True)
def test_a_check_that_ends_while_the_obstacle_comes_out_of_its_way_is_tried_again(corp: Corp, wire: Wire) -> None:
    """The obstacle's check, found in order, is not committed yet when this one is about to be written as blocked."""
    obstacle = check_run(corp, "ip")
    wire.token()
    wire.agent(refusal(60020))
    run = ask(corp, "scope")
    is_held, is_over = threading.Event(), threading.Event()

    def settle_obstacle() -> None:
        with transaction.atomic():
            Corp.objects.select_for_update().get(pk=corp.pk)
            is_held.set()
            while not is_over.is_set() and not somebody_waits():
                time.sleep(0.02)
            CheckRun.objects.filter(pk=obstacle.pk).update(finished_at=LATER + MINUTE)
        connection.close()

    thread = threading.Thread(target=settle_obstacle)
    thread.start()
    assert is_held.wait(60)
    freed = carry_out(run)
    is_over.set()
    thread.join()

    assert freed == [run.pk]
    assert run.status == "waiting"


@pytest.mark.parametrize("columns", [{"status": "wrong"}, {"status": "waiting"}, {"connection_version": 0}])
def test_an_obstacle_whose_last_result_says_so_itself_is_left_alone(
    corp: Corp, wire: Wire, columns: dict[str, object]
) -> None:
    obstacle = check_run(corp, "ip")
    CheckRun.objects.filter(pk=obstacle.pk).update(**columns)
    wire.token()
    wire.agent(refusal(60020))

    assert carry_out(ask(corp, "scope")) == []

    assert CheckRun.objects.filter(check_name="ip").count() == 1


def test_a_secret_that_is_refused_now_is_noted_against_the_token_without_another_try(corp: Corp, wire: Wire) -> None:
    check_run(corp, "token")
    wire.token(refusal(40001, "invalid credential"))

    assert carry_out(ask(corp, "scope")) == []

    token = results.find_latest_runs(corp)["token"]
    assert (token.status, token.problem, token.errcode, token.hint) == ("wrong", "refused", 40001, HINT)
    assert (token.detail, token.caller_ip, token.finished_at) == ("invalid credential", CALLER_IP, LATER + SECOND)
    assert token.next_try_at is None
    assert results.is_current(token, corp)
    assert wire.paths() == ["gettoken"]


def test_a_token_that_is_being_fetched_is_not_judged_by_another_check(corp: Corp, wire: Wire) -> None:
    check_run(corp, "token")
    run = ask(corp, "scope")
    wire.token(refusal(40001))

    def clock() -> dt.datetime:
        if CheckRun.objects.get(pk=run.pk).status == "running":  # somebody clicks while this one asks WeCom
            runner.request_checks(corp=corp, checks=["token"], now=LATER)
        return LATER + SECOND

    diagnosing.carry_out(run, clock=clock)

    assert results.find_latest_runs(corp)["token"].status == "waiting"


def test_a_busy_wecom_that_gives_no_token_is_asked_again(corp: Corp, wire: Wire) -> None:
    check_run(corp, "token")
    wire.token(refusal(-1))

    (freed,) = carry_out(ask(corp, "scope"))

    assert CheckRun.objects.get(pk=freed).check_name == "token"


def test_a_company_with_a_check_that_could_not_be_tried_is_not_in_order(corp: Corp) -> None:
    check_run(corp, "token")
    check_run(corp, "scope", "skipped", problem="blocked", facts={"by": "token"})
    check_run(corp, "proxy", "skipped", problem="none")

    health = results.health_by_corp([corp])[corp.pk]

    assert (health.tone, health.words) == ("warn", "1 check to be looked at")


# --- What is not asked again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [40001, 40013, 45009])
def test_a_secret_that_one_check_passes_and_another_does_not_is_not_tried_for_ever(
    corp: Corp, wire: Wire, code: int
) -> None:
    wire.token(refusal(code))
    run = ask(corp, "scope")
    CheckRun.objects.filter(pk=run.pk).update(try_count=runner.TRIES_BEHIND_OBSTACLE - 1)
    check_run(corp, "token", finished_at=LATER + MINUTE)

    assert carry_out(run) == []

    assert (run.status, run.problem, run.errcode, run.next_try_at) == ("wrong", "refused", code, None)


@pytest.mark.parametrize("name", ["ip", "app", "scope", "contacts"])
@pytest.mark.parametrize("code", [45009, 999999, 40058])
def test_a_limit_an_unknown_number_and_a_mistake_of_ours_are_not_asked_for_again(
    corp: Corp, wire: Wire, name: str, code: int
) -> None:
    call = {"ip": "getcallbackip", "contacts": "department/simplelist"}.get(name, "agent/get")
    wire.token()
    wire.get(call, refusal(code), **({"agentid": 1000002} if call == "agent/get" else {}))

    run = run_one(corp, name)

    assert (run.status, run.problem, run.errcode, run.next_try_at) == ("wrong", "refused", code, None)


def test_a_limit_of_a_few_seconds_is_waited_for(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent(refusal(45033))

    assert run_one(corp, "app").next_try_at == NOW + 21 * SECOND


def test_a_token_that_is_refused_although_it_is_new_is_not_fetched_for_ever(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent(refusal(40014))

    run = run_one(corp, "app")

    assert (run.errcode, run.next_try_at) == (40014, None)
    assert wire.paths() == ["gettoken", "agent/get", "gettoken", "agent/get"]
