"""Reading results: which are current, health at a glance, reasons against enabling, and the text for support."""

import datetime as dt
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import translation
from pytest_django import Settings

from integrations.clients.wecom import tokens
from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.checks import CHECKS, export_text
from integrations.core.client_factory import token_store
from integrations.models import Corp, SiteAddress
from tests.integrations.companies.diagnosis.wire import CALLER_IP, HINT, Wire, refusal
from tests.integrations.conftest import CORPID
from tests.integrations.diagnosing import NOW, check_run, outcome_of, pass_checks, run_one

pytestmark = pytest.mark.django_db

DEPARTMENTS, DOMAIN_ID, ADDRESS = {"department_root_ids": [7]}, {"domain_id": "x"}, "https://new.example.com/"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, ADDRESS) for name in ("domain", "home_page", "verification_file", "ownership", "callback")),
        *(("departments", DEPARTMENTS), ("home_page", DOMAIN_ID)),
        *((name, {"connection_version": 2}) for name in CHECKS),
    ],
)
def test_a_result_ends_with_what_it_was_about(corp: Corp, name: str, change: Any) -> None:
    run = check_run(corp, name)
    assert checks.is_current(run, corp)

    if change == ADDRESS:
        SiteAddress.objects.filter(is_default=True).update(url=change)
    else:
        Corp.objects.update(**change)

    assert not checks.is_current(run, Corp.objects.get(pk=corp.pk))


@pytest.mark.parametrize(
    ("signs_in", "name", "status"),
    [
        (True, "callback", "wrong"),
        (True, "scope", "warning"),
        (False, "domain", "wrong"),
        (False, "home_page", "wrong"),
    ],
)
def test_nothing_stands_against_a_corp_whose_essential_checks_passed(
    at_home: Corp, signs_in: bool, name: str, status: str
) -> None:
    at_home.sign_in_enabled = signs_in
    at_home.save()
    pass_checks(at_home)
    check_run(at_home, name, status, problem="missing")

    assert services.find_reasons_against_enabling(at_home, now=NOW) == []


@pytest.mark.parametrize("name", ["token", "ip", "agentid", "app", "scope", "domain", "home_page"])
@pytest.mark.parametrize("status", ["wrong", "skipped"])
def test_each_essential_check_stands_against_it(at_home: Corp, name: str, status: str) -> None:
    pass_checks(at_home)
    check_run(at_home, name, status, problem="blocked", facts={"by": "network"})

    assert services.find_reasons_against_enabling(at_home, now=NOW) == [
        f"{checks.label_check(name)}: Not tried: “Network and DNS” has to be in order first."
    ]


def test_an_earlier_success_does_not_hide_what_is_wrong_or_running_now(at_home: Corp) -> None:
    pass_checks(at_home)
    check_run(at_home, "token", "running", finished_at=None)
    check_run(at_home, "ip", "wrong", problem="refused_ip", errcode=60020, facts={"copied": "203.0.113.9"})

    assert services.find_reasons_against_enabling(at_home, now=NOW) == [
        "Being checked at the moment: Token. Wait for the result.",
        "Trusted IP: WeCom refuses the address of this server: 203.0.113.9 is not among the trusted IPs of the app.",
    ]


def test_what_was_found_in_order_long_ago_says_nothing_of_today(at_home: Corp) -> None:
    """Ignore results of a company that was disabled for months, whose Secret may have been reset."""
    pass_checks(at_home)
    check_run(at_home, "token", finished_at=NOW - dt.timedelta(hours=24))
    check_run(at_home, "ip", finished_at=NOW - dt.timedelta(hours=24, seconds=1))
    check_run(at_home, "app", "warning", finished_at=NOW - dt.timedelta(days=90))
    check_run(at_home, "scope", "wrong", problem="empty", finished_at=NOW - dt.timedelta(days=90))

    assert services.find_reasons_against_enabling(at_home, now=NOW) == [
        "Checked more than a day ago: Trusted IP, App enabled. Run the diagnosis again.",
        "Visible scope: The app sees nobody: nobody can sign in, and no message arrives.",
    ]


BEHIND = {"problem": "blocked", "facts": {"by": "token"}}


@pytest.mark.parametrize(
    ("found", "version", "tone", "words"),
    [
        ([], 1, "quiet", "not checked yet"),
        ([("token", "ok", {}), ("ip", "ok", {}), ("proxy", "skipped", {})], 1, "good", "in order"),
        ([("token", "wrong", {}), ("token", "ok", {})], 1, "good", "in order"),
        ([("message", "wrong", {}), ("token", "ok", {})], 1, "good", "in order"),
        ([("token", "ok", {}), ("scope", "warning", {})], 1, "warn", "1 check to be looked at"),
        ([("token", "ok", {}), ("scope", "skipped", BEHIND)], 1, "warn", "1 check to be looked at"),
        ([("scope", "warning", {}), ("ip", "wrong", {})], 1, "bad", "1 check wrong"),
        ([("domain", "wrong", {}), ("ip", "wrong", {})], 1, "bad", "2 checks wrong"),
        ([("token", "ok", {}), ("ip", "running", {})], 1, "busy", "being checked"),
        ([("token", "ok", {})], 2, "warn", "credentials changed, not checked"),
    ],
)
def test_the_health_of_a_company(
    corp: Corp, found: list[tuple[str, str, Any]], version: int, tone: str, words: str
) -> None:
    for name, status, columns in found:
        check_run(corp, name, status, **columns)
    corp.connection_version = version

    checks.fetch_states([corp])

    health: checks.Health = corp.health  # type: ignore[attr-defined]  # of fetch_states
    assert (health.tone, health.words) == (tone, words)
    assert health.checked_at == (NOW if found and version == 1 else None)


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


BEHIND_TOKEN = ("ip", "agentid", "app", "scope", "domain", "home_page", "contacts", "departments")
SECOND = dt.timedelta(seconds=1)


def answers_with(wire: Wire, name: str, answer: dict[str, Any]) -> None:
    """Give a token, and this answer to the first call of the check."""
    wire.token()
    calls = {"ip": "getcallbackip", "contacts": "department/simplelist", "departments": "department/simplelist"}
    call = calls.get(name, "agent/get")
    wire.get(call, answer, **({"agentid": 1000002} if call == "agent/get" else {}))


@pytest.mark.parametrize("name", BEHIND_TOKEN)
@pytest.mark.parametrize(("code", "seconds"), [(60031, 20), (45033, 20), (45009, None), (999999, None), (40058, None)])
def test_any_other_refusal_is_the_check_s_own_and_tried_again_where_that_may_help(
    corp: Corp, wire: Wire, name: str, code: int, seconds: int | None
) -> None:
    """Do not retry after a limit of minutes, an unknown number, or a mistake of ours."""
    answers_with(wire, name, refusal(code, "no right"))

    run = run_one(corp, name)

    assert outcome_of(run) == ("wrong", "refused", code)
    assert (run.hint, run.caller_ip, run.detail) == (HINT, CALLER_IP, "no right")
    assert run.next_try_at == (None if seconds is None else NOW + SECOND + dt.timedelta(seconds=seconds))
    if code == 60031:
        told = checks.explain_run(run)
        assert (told.what, told.who) == ("The app may not call WeCom any more.", "The administrator of WeCom.")


@pytest.mark.parametrize("name", ["token", "scope"])
def test_a_secret_that_no_key_opens_is_said(corp: Corp, settings: Settings, name: str) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    run = run_one(corp, name)

    assert outcome_of(run) == ("wrong", "refused", -9001)
    assert "FIELD_ENCRYPTION_KEYS" in run.detail
    assert run.next_try_at is None


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_problem_of_every_check_is_a_whole_explanation(corp: Corp, check: Any) -> None:
    for problem, english in check.explanations.items():
        facts = dict.fromkeys(("host", "theirs", "ours", "url", "reason"), "<b>x</b>")
        told = checks.explain_run(check_run(corp, check.name, "wrong", problem=problem, facts=facts))

        assert told.what
        assert "%" not in told.what + told.who + told.where
        assert bool(english.who) == bool(english.where) == bool(told.where)


@pytest.mark.parametrize("order", [["token", *BEHIND_TOKEN], [*BEHIND_TOKEN, "token"]])
def test_all_checks_together_ask_once_with_a_wrong_secret(
    corp: Corp, wire: Wire, monkeypatch: pytest.MonkeyPatch, order: list[str]
) -> None:
    """Ask once, whichever check a worker takes first."""
    monkeypatch.setattr(tokens, "SHARED_SECONDS", 60)  # a busy machine takes seconds for a check
    wire.token(refusal(40001))

    runs = {name: run_one(corp, name) for name in order}

    assert wire.paths() == ["gettoken"]
    assert outcome_of(runs["token"]) == ("wrong", "refused", 40001)


@pytest.mark.parametrize("code", [40001, 40013, 45009])
def test_a_secret_that_is_refused_is_not_tried_for_ever_by_any_check(corp: Corp, wire: Wire, code: int) -> None:
    wire.token(refusal(code))

    run = run_one(corp, "scope")

    assert (outcome_of(run), run.next_try_at) == (("wrong", "refused", code), None)


def test_a_token_that_is_refused_although_it_is_new_is_not_fetched_for_ever(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent(refusal(40014))

    run = run_one(corp, "app")

    assert (run.errcode, run.next_try_at) == (40014, None)
    assert wire.paths() == ["gettoken", "agent/get", "gettoken", "agent/get"]
