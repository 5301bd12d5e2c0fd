"""Checks of what WeCom's console holds of this site: verification file, callback, ownership, home page, domain."""

import datetime as dt
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from pytest_django.live_server_helper import LiveServer

from integrations.callbacks import build_callback_url, generate_callback_keys
from integrations.clients.errors import ConfigurationError, TransientError
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.console import find_domain_mistake, judge_home_page, note_domain_answer
from integrations.models import CallbackEvent, Corp, SiteAddress
from tests.integrations.clients.wecom.server import answering, make_answer
from tests.integrations.companies.diagnosis.wire import HOME, Wire
from tests.integrations.conftest import CORPID
from tests.integrations.diagnosing import NOW, check_run, run_one
from tools.services import free_port

pytestmark = pytest.mark.django_db
CODE = "0123456789abcdef"


def serve_at(url: str) -> None:
    SiteAddress.objects.filter(is_default=True).update(url=url.rstrip("/") + "/")


def put_files(corp: Corp, *codes: str, at: dt.datetime = NOW) -> None:
    corp.verification_files = [{"code": code, "uploaded_at": at.isoformat()} for code in codes]
    corp.save(update_fields=["verification_files"])


def test_each_verification_file_is_looked_for(corp: Corp) -> None:
    assert run_one(corp, "verification_file").problem == "no_file"
    put_files(corp, "f" * 16, CODE, "e" * 16)
    with answering(make_answer("200 OK", CODE.encode(), "Content-Type: text/plain")) as (url, _requests):
        serve_at(url)
        run = run_one(corp, "verification_file")
        put_files(corp, CODE)
        whole = run_one(corp, "verification_file")

    assert (run.status, run.problem, run.facts["file"]) == ("wrong", "wrong_content", f"WW_verify_{'f' * 16}.txt")
    assert (whole.status, whole.problem, whole.subject) == ("ok", "found", f"{url}/ {CODE}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("verified_at", "outcome"),
    [(None, ("warning", "unverified")), (NOW, ("warning", "outdated")), ("later", ("ok", "verified"))],
)
def test_our_own_address_answers(
    corp: Corp, live_server: LiveServer, verified_at: Any, outcome: tuple[str, str]
) -> None:
    serve_at(live_server.url)
    generate_callback_keys(corp=corp, kind=CallbackEvent.Kind.APP)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    expected = later if verified_at == "later" else verified_at
    Corp.objects.update(callback_verified_at=expected)

    run = run_one(corp, "callback")

    corp.refresh_from_db()
    assert (run.status, run.problem) == outcome
    assert corp.callback_verified_at == expected, "our own check must not pass for WeCom's"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (make_answer("200 OK", b"a login page"), "wrong_content"),
        (make_answer("403 Forbidden"), "wrong_status"),
        (make_answer("302 Found", b"", "Location: https://elsewhere.example/"), "redirected"),
    ],
)
def test_another_server_at_the_callback_address(corp: Corp, answer: bytes, problem: str) -> None:
    assert run_one(corp, "callback").problem == "no_keys"
    generate_callback_keys(corp=corp, kind=CallbackEvent.Kind.APP)
    with answering(answer) as (url, _requests):
        serve_at(url)
        run = run_one(corp, "callback")

    assert (run.status, run.problem) == ("wrong", problem)
    assert run.facts["url"].startswith(url)
    serve_at(f"http://localhost:{free_port()}")
    assert run_one(corp, "callback").problem == "unreachable"


def test_the_question_is_signed_as_wecom_signs_it(corp: Corp) -> None:
    generate_callback_keys(corp=corp, kind=CallbackEvent.Kind.APP)
    serve_at("https://bi.example.com")
    with responses.RequestsMock() as mock:
        mock.get(build_callback_url(corp, CallbackEvent.Kind.APP), body="x")
        run = run_one(corp, "callback")
        url = str(mock.calls[0].request.url)
    query = parse_qs(urlsplit(url).query)

    assert set(query) == {"msg_signature", "timestamp", "nonce", "echostr"}
    assert query["timestamp"] == [str(int((NOW + dt.timedelta(seconds=1)).timestamp()))]
    assert corp.callback_aes_key not in url
    assert query["echostr"][0] not in str(run.facts) + run.detail


def make_refusal(code: int) -> ConfigurationError:
    return ConfigurationError("refused", system="wecom", operation="agent_set", code=code, hint="123")


def test_what_is_known_of_the_domain(at_home: Corp) -> None:
    run = run_one(at_home, "ownership")
    assert (run.status, run.problem, run.subject) == ("skipped", "unknown", "bi.example.com")
    busy = TransientError("busy", system="wecom", operation="agent_set", code=-1)
    note_domain_answer(corp=at_home, error=busy, now=NOW)
    put_file(at_home, NOW)
    assert run_one(at_home, "ownership").problem == "file"
    note_domain_answer(corp=at_home, error=make_refusal(85008), now=NOW)
    assert run_one(at_home, "ownership").problem == "no_filing"
    note_domain_answer(corp=at_home, error=None, now=NOW)
    assert run_one(at_home, "ownership").problem == "accepted"
    serve_at("https://new.example.com")

    assert run_one(Corp.objects.get(), "ownership").problem == "unknown"  # the answer was about another domain


@pytest.mark.parametrize(
    ("code", "problem"), [(85005, "unverified"), (85008, "no_filing"), (80001, "no_filing"), (85111, "of_a_provider")]
)
def test_the_last_answer_of_wecom_stands(at_home: Corp, code: int, problem: str) -> None:
    note_domain_answer(corp=at_home, error=make_refusal(code), now=NOW)
    noted = checks.find_latest_runs(at_home)["ownership"]

    run = run_one(at_home, "ownership")

    for one in (noted, run):
        assert (one.status, one.problem, one.errcode, one.hint) == ("wrong", problem, code, "123")
    assert "bi.example.com" in checks.explain_run(run).what
    assert "associated company" in checks.explain_run(run).where


def put_file(corp: Corp, at: dt.datetime, status: str = "ok") -> None:
    put_files(corp, CODE, at=at)
    check_run(corp, "verification_file", status)


HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("code", "age", "outcome"),
    [
        (85005, -HOUR, ("wrong", "unverified")),
        (85005, HOUR, ("warning", "file_since")),
        (85008, HOUR, ("wrong", "no_filing")),
        (85111, HOUR, ("wrong", "of_a_provider")),
    ],
)
def test_a_file_put_there_after_the_refusal_answers_it_if_it_asked_for_one(
    at_home: Corp, code: int, age: dt.timedelta, outcome: tuple[str, str]
) -> None:
    note_domain_answer(corp=at_home, error=make_refusal(code), now=NOW)
    put_file(at_home, NOW + age)

    for _number in range(2):
        run = run_one(at_home, "ownership", now=NOW + 2 * HOUR)
        assert (run.status, run.problem, run.errcode) == (*outcome, code)


def test_looking_again_does_not_make_the_refusal_any_younger(at_home: Corp) -> None:
    """Keep the refusal's time: the file was put there after WeCom's answer, but before the run that repeated it."""
    note_domain_answer(corp=at_home, error=make_refusal(85005), now=NOW)
    put_file(at_home, NOW + HOUR, "wrong")
    assert run_one(at_home, "ownership", now=NOW + 2 * HOUR).problem == "unverified"
    check_run(at_home, "verification_file")

    assert run_one(at_home, "ownership", now=NOW + 3 * HOUR).problem == "file_since"


def home(corp: Corp) -> str:
    return HOME.format(key=corp.pk)


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
