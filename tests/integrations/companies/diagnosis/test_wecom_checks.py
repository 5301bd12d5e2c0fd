"""The checks that ask WeCom: every outcome of each, at the wire."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from django.conf import settings
from django.utils import timezone
from pytest_django import Settings

from integrations.clients.errors import ConfigurationError
from integrations.clients.wecom import token_refresh
from integrations.clients.wecom.messages.limits import MessageError
from integrations.clients.wecom.token_store import FetchedToken
from integrations.companies import links
from integrations.companies.diagnosis import results, runner
from integrations.companies.diagnosis.checks import CHECKS
from integrations.companies.diagnosis.checks.console import find_domain_mistake, judge_home_page
from integrations.core.client_factory import _token_store, token_store
from integrations.models import CheckRun, Corp
from tests.integrations.companies.diagnosis.wire import AGENT, CALLER_IP, HINT, HOME, Wire, refusal
from tests.integrations.conftest import CORPID
from tests.integrations.diagnosing import NOW, check_run, run_one

pytestmark = pytest.mark.django_db
OK = {"errcode": 0, "errmsg": "ok"}
READ_THE_APP = ("agentid", "app", "scope", "domain", "home_page")


def found(run: CheckRun) -> tuple[str, str, int | None]:
    return run.status, run.problem, run.errcode


# --- What is in the way of the check itself ---------------------------------------------------------------------------

BEHIND_TOKEN = ("ip", *READ_THE_APP, "contacts", "departments")


@pytest.mark.parametrize("name", BEHIND_TOKEN)
def test_a_refused_secret_is_said_once_by_the_token(corp: Corp, wire: Wire, name: str) -> None:
    wire.token(refusal(40001, "invalid credential"))

    run = run_one(corp, name)

    assert found(run) == ("skipped", "blocked", 40001)
    assert results.explain_run(run).what == "Not tried: “Token” has to be in order first."
    assert run.next_try_at is None


@pytest.mark.parametrize("name", [*READ_THE_APP, "contacts", "departments"])
def test_a_refused_address_is_said_once_by_the_trusted_ip(corp: Corp, wire: Wire, name: str) -> None:
    wire.token()
    call = "department/simplelist" if name in {"contacts", "departments"} else "agent/get"
    query = {"agentid": 1000002} if call == "agent/get" else {}
    wire.get(call, refusal(60020, "not allow to access from your ip"), **query)

    run = run_one(corp, name)

    assert found(run) == ("skipped", "blocked", 60020)
    assert run.facts == {"by": "ip"}
    assert results.explain_run(run).what == "Not tried: “Trusted IP” has to be in order first."


@pytest.mark.parametrize("name", ["app", "scope", "domain", "home_page"])
@pytest.mark.parametrize("code", [301002, 40056, 48002])
def test_another_app_s_secret_is_said_once_by_the_agentid(corp: Corp, wire: Wire, name: str, code: int) -> None:
    wire.token()
    wire.agent(refusal(code))

    run = run_one(corp, name)

    assert (found(run), run.facts) == (("skipped", "blocked", code), {"by": "agentid"})


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

    assert (found(run), run.facts) == (("skipped", "blocked", None), {"by": "network"})
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

    assert found(run) == ("wrong", "refused", 60031)
    assert (run.hint, run.caller_ip, run.detail) == (HINT, CALLER_IP, "no right")
    told = results.explain_run(run)
    assert told.what == "The app may not call WeCom any more."
    assert (told.who, told.where) == ("The administrator of WeCom.", "WeCom's console → App management → the app.")
    assert run.next_try_at == NOW + dt.timedelta(seconds=21)


@pytest.mark.parametrize("name", ["token", "agentid", "app", "scope", "ip", "departments"])
def test_a_secret_that_no_key_opens_is_said_once(corp: Corp, settings: Settings, name: str) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    run = run_one(corp, name)

    assert found(run) == (("wrong", "refused", -9001) if name == "token" else ("skipped", "blocked", -9001))
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


# --- Token ------------------------------------------------------------------------------------------------------------


def test_a_token_is_given(corp: Corp, wire: Wire) -> None:
    wire.token()

    run = run_one(corp, "token")

    assert found(run) == ("ok", "given", None)
    assert wire.paths() == ["gettoken"]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            40001,
            "WeCom refuses the Secret: it is wrong, was reset, belongs to another company, or the app is disabled.",
        ),
        (40013, "The CorpId does not exist."),
        (40091, "The Secret is not valid; it may belong to another company."),
    ],
)
def test_a_refused_token_is_not_asked_for_again_by_itself(corp: Corp, wire: Wire, code: int, what: str) -> None:
    wire.token(refusal(code))

    run = run_one(corp, "token")

    assert found(run) == ("wrong", "refused", code)
    assert results.explain_run(run).what == what
    assert run.next_try_at is None
    assert len(wire.paths()) == 1


def test_the_limit_of_gettoken_says_until_when(corp: Corp, wire: Wire) -> None:
    wire.token(refusal(45009))

    run = run_one(corp, "token")

    assert (found(run), run.next_try_at) == (("wrong", "held", 45009), None)
    until = timezone.localtime(NOW + dt.timedelta(seconds=3601))
    said = results.explain_run(run)
    assert said.what.startswith(f"WeCom gives this server no token until about {until:%Y-%m-%d %H:%M}: ")
    assert said.where.startswith("Correct the Secret on the company's page")


@pytest.mark.parametrize(("code", "what"), [(-1, "WeCom is busy."), (50003, "The app is disabled.")])
def test_what_may_pass_without_another_secret_is_tried_again_by_itself(
    corp: Corp, wire: Wire, code: int, what: str
) -> None:
    wire.token(refusal(code))

    run = run_one(corp, "token")

    assert found(run) == ("wrong", "refused", code)
    assert results.explain_run(run).what == what
    assert run.next_try_at is not None


def refused_token() -> FetchedToken:
    raise ConfigurationError("wrong", system="wecom", operation="gettoken", code=40001)


def test_the_secret_itself_is_tried_although_a_token_is_shared(corp: Corp, wire: Wire) -> None:
    token_store().get(CORPID, 1000002, lambda: FetchedToken("still good", 7200))
    wire.token(refusal(40001))

    assert run_one(corp, "token").status == "wrong"
    assert token_store().get(CORPID, 1000002, refused_token) == "still good"


def test_a_check_goes_by_no_token_that_another_process_has_forgotten(corp: Corp, wire: Wire) -> None:
    """Whoever saved another Secret did so in a web process; checks run in a worker, which keeps a copy for a second."""
    token_store().get(CORPID, 1000002, lambda: FetchedToken("of the old Secret", 7200))
    of_another_process = _token_store.__wrapped__(settings.VALKEY_URL)
    of_another_process.forget(CORPID, 1000002)
    wire.token()
    wire.agent()

    run_one(corp, "agentid")

    assert wire.paths() == ["gettoken", "agent/get"]


def test_a_given_token_ends_the_pause_after_a_wrong_secret(
    corp: Corp, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_refresh, "SHARED_SECONDS", 0)  # it was refused some time ago
    with pytest.raises(ConfigurationError):
        token_store().get(CORPID, 1000002, refused_token)
    assert token_store().pause(CORPID, 1000002) is not None
    wire.token()

    run_one(corp, "token")

    assert token_store().pause(CORPID, 1000002) is None


@pytest.mark.parametrize("order", [["token", *BEHIND_TOKEN], [*BEHIND_TOKEN, "token"]])
def test_all_checks_together_ask_once_with_a_wrong_secret(corp: Corp, wire: Wire, order: list[str]) -> None:
    """Whichever of them a worker takes first."""
    wire.token(refusal(40001))

    runs = {name: run_one(corp, name) for name in order}

    assert wire.paths() == ["gettoken"]
    assert found(runs["token"]) == ("wrong", "refused", 40001)


def test_the_other_checks_ask_no_second_time_with_a_wrong_secret(corp: Corp, wire: Wire) -> None:
    """Wrong Secrets, too often, block this server's address at WeCom for an hour."""
    wire.token(refusal(40001))

    for name in BEHIND_TOKEN:
        assert run_one(corp, name).problem == "blocked"

    assert wire.paths() == ["gettoken"]


# --- Trusted IP -------------------------------------------------------------------------------------------------------


def test_a_trusted_address(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.callback_ip()

    run = run_one(corp, "ip")

    assert found(run) == ("ok", "accepted", None)
    assert results.explain_run(run).what == "WeCom accepts calls from this server."


@pytest.mark.parametrize("code", [60020, 301042])
def test_a_refused_address_stands_there_to_be_copied(corp: Corp, wire: Wire, code: int) -> None:
    wire.token()
    wire.callback_ip({**refusal(code, "not allow to access from your ip"), "ip_list": []})

    run = run_one(corp, "ip")

    assert found(run) == ("wrong", "refused_ip", code)
    assert (run.caller_ip, run.facts) == (CALLER_IP, {"addresses": [CALLER_IP], "copied": CALLER_IP})
    assert CALLER_IP in results.explain_run(run).what
    assert "Trusted company IP" in results.explain_run(run).where


def test_several_addresses_are_copied_together_as_wecom_takes_them(corp: Corp, wire: Wire) -> None:
    wire.token()
    for ip in ("203.0.113.9", "203.0.113.10", "203.0.113.9", "2001:db8::1"):
        wire.callback_ip(refusal(60020, ip=ip))
        run_one(corp, "ip")

    newest = results.find_latest_runs(corp)["ip"]
    assert newest.facts["copied"] == "2001:db8::1;203.0.113.9;203.0.113.10"


def test_what_wecom_saw_last_is_told_although_it_is_accepted_now(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.callback_ip(refusal(60020))
    run_one(corp, "ip")
    wire.callback_ip()

    run = run_one(corp, "ip", now=NOW + dt.timedelta(minutes=1))

    assert found(run) == ("ok", "trusted", None)
    assert "What it refused last: 203.0.113.9." in results.explain_run(run).what


def test_an_address_of_yesterday_is_not_offered(corp: Corp, wire: Wire) -> None:
    check_run(corp, "ip", "wrong", caller_ip="203.0.113.200", finished_at=NOW - dt.timedelta(hours=25))
    wire.token()
    wire.callback_ip(refusal(60020))

    assert run_one(corp, "ip").facts["addresses"] == [CALLER_IP]


def test_a_refused_address_that_is_not_named(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.callback_ip({"errcode": 60020, "errmsg": "not allow to access from your ip"})

    assert found(run_one(corp, "ip")) == ("wrong", "unnamed_ip", 60020)


# --- The app ----------------------------------------------------------------------------------------------------------


def test_the_app_is_named(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent()

    run = run_one(corp, "agentid")

    assert found(run) == ("ok", "named", None)
    assert results.explain_run(run).what == "WeCom knows the app as “观远BI”."


def test_what_wecom_says_fits_into_the_row_whatever_it_is(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent(name="a\x00b" + "长" * 500, home_url="http://" + "x" * 9999, redirect_domain="y" * 999)

    name = run_one(corp, "agentid").facts["app_name"]
    link = run_one(corp, "home_page").facts["theirs"]
    theirs = run_one(corp, "domain").facts["theirs"]

    assert (name[:3], len(name), len(link), len(theirs)) == ("ab长", 128, 4096, 255)


@pytest.mark.parametrize("answer", [refusal(301002), refusal(40056), {**AGENT, "agentid": 1000009}])
def test_the_secret_of_another_app(corp: Corp, wire: Wire, answer: dict[str, Any]) -> None:
    wire.token()
    wire.agent(answer)

    run = run_one(corp, "agentid")

    assert (run.status, run.problem) == ("wrong", "other_app")
    assert results.explain_run(run).what == "The Secret belongs to another app than the AgentId."


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({**OK, "next_cursor": "", "dept_user": []}, "contacts_secret"),
        (refusal(48002), "no_app"),
    ],
)
def test_the_secret_of_the_contacts_assistant_is_named(
    corp: Corp, wire: Wire, answer: dict[str, Any], problem: str
) -> None:
    wire.token()
    wire.agent(refusal(48002, "api forbidden"))
    wire.post("user/list_id", answer)

    run = run_one(corp, "agentid")

    assert found(run) == ("wrong", problem, 48002)
    assert wire.sent == [{"limit": 1}]
    assert run.next_try_at is None


@pytest.mark.parametrize(("close", "outcome"), [(0, ("ok", "enabled", None)), (1, ("wrong", "disabled", None))])
def test_whether_the_app_is_enabled(corp: Corp, wire: Wire, close: int, outcome: tuple[Any, ...]) -> None:
    wire.token()
    wire.agent(close=close)

    assert found(run_one(corp, "app")) == outcome


def test_a_disabled_app_that_gets_no_token(corp: Corp, wire: Wire) -> None:
    wire.token(refusal(50003, "app disabled"))

    run = run_one(corp, "app")

    assert found(run) == ("wrong", "disabled", 50003)
    assert "enable it" in results.explain_run(run).where


@pytest.mark.parametrize(
    ("members", "departments", "tags", "outcome"),
    [
        (0, 2, 0, ("ok", "seen")),
        (1, 2, 0, ("ok", "seen")),
        (0, 0, 1, ("ok", "seen")),
        (3, 0, 0, ("warning", "members_only")),
        (0, 0, 0, ("wrong", "empty")),
    ],
)
def test_the_visible_scope_is_counted(
    corp: Corp, wire: Wire, members: int, departments: int, tags: int, outcome: tuple[str, str]
) -> None:
    wire.token()
    wire.agent(
        allow_userinfos={"user": [{"userid": f"u{number}"} for number in range(members)]},
        allow_partys={"partyid": list(range(1, departments + 1))},
        allow_tags={"tagid": list(range(1, tags + 1))},
    )

    run = run_one(corp, "scope")

    assert (run.status, run.problem) == outcome
    assert run.facts == {"members": members, "departments": departments, "tags": tags}


# --- Home page and domain ---------------------------------------------------------------------------------------------


def home(corp: Corp) -> str:
    return HOME.format(key=corp.pk)


def test_our_home_page_link(at_home: Corp, wire: Wire) -> None:
    assert links.home_page_link(at_home) == home(at_home)
    wire.token()
    wire.agent(home_url=home(at_home))

    run = run_one(at_home, "home_page")

    assert (run.status, run.problem, run.subject) == ("ok", "equal", home(at_home))


INNER = "callback%2F%3Fpath_url%3Dsurvey-engine"


@pytest.mark.parametrize(
    ("change", "outcome", "parts"),
    [
        (lambda link: link.replace("callback%2F", INNER), ("ok", "inner_page"), None),
        (lambda link: "", ("wrong", "missing"), None),
        (lambda link: "bi.example.com/", ("wrong", "no_scheme"), None),
        (lambda link: "https://bi.example.com/login/", ("warning", "plain"), None),
        (lambda link: "https://old.example.com/", ("wrong", "differs"), None),
        (lambda link: link.replace(CORPID, "ww" + "1" * 16), ("wrong", "differs"), "appid"),
        (lambda link: link.replace("1000002", "1000003"), ("wrong", "differs"), "agentid"),
        (lambda link: link.replace("bi.example", "old.example"), ("wrong", "differs"), "redirect_uri"),
        (lambda link: link.replace("https%3A", "http%3A"), ("wrong", "differs"), "redirect_uri"),
        (lambda link: link.replace("%3A%2F%2F", "%253A%252F%252F"), ("wrong", "differs"), "redirect_uri"),
        (lambda link: link.replace("callback%2F", "callback%2F%3Fdomain%3Dx"), ("wrong", "differs"), "domain"),
        (lambda link: link.replace("snsapi_base", "snsapi_login"), ("wrong", "differs"), "scope"),
        (lambda link: link.replace("response_type=code&", ""), ("wrong", "differs"), "response_type"),
        (lambda link: link.removesuffix("#wechat_redirect"), ("wrong", "differs"), "#wechat_redirect"),
        (lambda link: link.replace("open.weixin", "open.work.weixin"), ("wrong", "differs"), "address"),
    ],
)
def test_another_home_page_is_told_part_by_part(
    at_home: Corp, wire: Wire, change: Any, outcome: tuple[str, str], parts: str | None
) -> None:
    wire.token()
    wire.agent(home_url=change(home(at_home)))

    run = run_one(at_home, "home_page")

    assert (run.status, run.problem) == outcome
    assert run.facts["ours"] == home(at_home)
    if parts is not None:
        assert run.facts["parts"] == parts


def test_without_sign_in_the_plain_login_address_is_ours(at_home: Corp, wire: Wire) -> None:
    Corp.objects.update(sign_in_enabled=False)
    wire.token()
    wire.agent(home_url="https://bi.example.com/login/")
    assert run_one(at_home, "home_page").problem == "equal"
    at_home.refresh_from_db()

    assert judge_home_page(at_home, "https://elsewhere.example/").problem == "other"


@pytest.mark.parametrize("theirs", ["bi.example.com", " BI.Example.COM "])
def test_our_trusted_domain(at_home: Corp, wire: Wire, theirs: str) -> None:
    wire.token()
    wire.agent(redirect_domain=theirs)

    run = run_one(at_home, "domain")

    assert (run.status, run.problem, run.subject) == ("ok", "equal", "bi.example.com")


@pytest.mark.parametrize(
    ("ours", "theirs", "problem"),
    [
        ("bi.example.com", "", "missing"),
        ("bi.example.com", "https://bi.example.com", "scheme"),
        ("bi.example.com", "bi.example.com/", "path"),
        ("bi.example.com", "bi.example.com?x=1", "path"),
        ("bi.example.com", "b_i.example.com", "underscore"),
        ("bi.example.com", "bi.example.com:8443", "port"),
        ("bi.example.com:8443", "bi.example.com", "port"),
        ("bi.example.com", "old.example.com", "other"),
        ("bi.example.com", "[", "other"),
        ("bi.example.com", "*.example.com", "other"),
    ],
)
def test_a_mistake_in_the_domain_is_named(ours: str, theirs: str, problem: str) -> None:
    assert find_domain_mistake(ours=ours, theirs=theirs) == problem


def test_a_wrong_domain_gives_the_right_one_to_copy(at_home: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent(redirect_domain="https://bi.example.com")

    run = run_one(at_home, "domain")

    assert (run.status, run.facts["ours"]) == ("wrong", "bi.example.com")
    assert results.explain_run(run).what == (
        "The trusted domain in WeCom, https://bi.example.com, has http:// or https:// in front. Enter the domain alone."
    )


# --- Contacts and departments -----------------------------------------------------------------------------------------

DEPARTMENTS = {**OK, "department_id": [{"id": 2, "parentid": 1, "order": 1}, {"id": 5, "parentid": 2, "order": 1}]}
MEMBER = {**OK, "userid": "lilei", "name": "李雷", "department": [2]}
RESTRICTED = ("mobile", "email", "biz_mail", "gender", "avatar", "qr_code", "address")


def test_the_fields_that_wecom_withholds_are_named(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.get("department/simplelist", DEPARTMENTS)
    wire.get("user/simplelist", {**OK, "userlist": []}, department_id=2)
    wire.get(
        "user/simplelist", {**OK, "userlist": [{"userid": "lilei", "name": "", "department": [5]}]}, department_id=5
    )
    wire.get("user/get", {**MEMBER, "email": "", "gender": "1"}, userid="lilei")

    run = run_one(corp, "contacts")

    assert found(run) == ("ok", "partly", None)
    assert run.facts == {"departments": 2, "withheld": "mobile, biz_mail, avatar, qr_code, address"}


def test_an_app_of_before_2022_gets_every_field(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.get("department/simplelist", {**OK, "department_id": []})
    wire.agent(allow_userinfos={"user": [{"userid": "lilei"}]})
    wire.get("user/get", {**MEMBER, **dict.fromkeys(RESTRICTED, "")}, userid="lilei")

    run = run_one(corp, "contacts")

    assert (found(run), run.facts) == (("ok", "whole", None), {"departments": 0, "withheld": ""})


def test_nobody_to_look_at(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.get("department/simplelist", {**OK, "department_id": []})
    wire.agent()

    assert found(run_one(corp, "contacts")) == ("skipped", "nobody", None)


@pytest.mark.parametrize(
    ("roots", "codes", "problem", "unknown", "outside"),
    [
        ([], {}, "all", None, None),
        ([2, 5], {}, "seen", "", ""),
        ([2, 9], {9: 60003}, "unknown", "9", ""),
        ([9], {9: 60123}, "unknown", "9", ""),
        ([7, 8], {7: 60011, 8: 60011}, "outside", "", "7, 8"),
        ([7, 9], {7: 60011, 9: 60003}, "both", "9", "7"),
    ],
)
def test_department_roots(
    corp: Corp, wire: Wire, roots: list[int], codes: dict[int, int], problem: str, unknown: str, outside: str
) -> None:
    Corp.objects.update(department_root_ids=roots)
    wire.token()
    wire.get("department/simplelist", DEPARTMENTS)
    for department, code in codes.items():
        wire.get("department/get", refusal(code), id=department)

    run = run_one(corp, "departments")

    assert (run.status, run.problem) == ("wrong" if codes else "ok", problem)
    assert (run.facts.get("unknown"), run.facts.get("outside")) == (unknown, outside)


# --- Test message -----------------------------------------------------------------------------------------------------


def send(corp: Corp, userid: str = "LiLei") -> CheckRun:
    run = runner.request_test_message(corp=corp, userid=userid, now=NOW, requested_by="root")
    runner.carry_out(run_id=run.pk, clock=lambda: NOW)
    run.refresh_from_db()
    return run


def test_a_message_to_the_chosen_person_with_its_receipt(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.post("message/send", {**OK, "msgid": "m1"})

    run = send(corp)

    assert found(run) == ("ok", "accepted", None)
    assert run.facts == {"to": "LiLei", "msgid": "m1"}
    (sent,) = wire.sent
    assert (sent["touser"], sent["agentid"], sent["msgtype"]) == ("LiLei", 1000002, "text")
    assert f"{run.pk}" in sent["text"]["content"]
    assert "toparty" not in sent


def test_two_messages_are_never_the_same_which_wecom_would_drop(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.post("message/send", {**OK, "msgid": "m1"})

    send(corp)
    send(corp)

    first, second = wire.sent
    assert first["text"]["content"] != second["text"]["content"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({**OK, "msgid": "m1", "invaliduser": "lilei"}, ("wrong", "nobody", None)),
        (refusal(81013, "user & party & tag all invalid"), ("wrong", "nobody", 81013)),
        ({**OK, "msgid": "m1", "unlicenseduser": "lilei"}, ("wrong", "unlicensed", None)),
        ({**refusal(81013), "unlicenseduser": "lilei"}, ("wrong", "unlicensed", 81013)),
        (refusal(40201, "content blocked"), ("wrong", "refused", 40201)),
        ({**OK, "errmsg": "ok. Warning: wrong json format. ", "msgid": "m1"}, ("warning", "with_warning", None)),
        (refusal(-1, "system busy"), ("warning", "unclear", -1)),
        (refusal(48002, "api forbidden"), ("wrong", "refused", 48002)),
        (refusal(60020), ("skipped", "blocked", 60020)),
    ],
)
def test_what_becomes_of_a_message(corp: Corp, wire: Wire, answer: dict[str, Any], outcome: tuple[Any, ...]) -> None:
    wire.token()
    wire.post("message/send", answer)

    run = send(corp)

    assert found(run) == outcome
    assert run.next_try_at is None
    assert len(wire.sent) == 1


@pytest.mark.parametrize("userid", ["@all", "", " ", "a|b", " a", "x" * 65, "长" * 22])
def test_a_message_goes_to_one_person_only(corp: Corp, userid: str) -> None:
    with pytest.raises(MessageError):
        runner.request_test_message(corp=corp, userid=userid, now=NOW)

    assert not CheckRun.objects.exists()
