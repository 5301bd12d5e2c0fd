"""Checks of the way to WeCom: name, port, proxy, TLS and clock over real sockets; the trusted IP at the wire."""

import datetime as dt
import socket
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.checks import export_text
from integrations.companies.diagnosis.network import judge_clock
from integrations.models import CheckRun, Corp
from tests.integrations.clients.wecom.server import answering, listening, make_answer
from tests.integrations.clients.wecom.test_wire import Certificate, _certificate
from tests.integrations.companies.diagnosis.wire import CALLER_IP, Wire, refusal
from tests.integrations.diagnosing import NOW, carry_out, check_run, outcome_of, run_one
from tools.services import free_port

pytestmark = pytest.mark.django_db
REFUSED = b'{"errcode":41001,"errmsg":"access_token missing"}'


def page(content: bytes = REFUSED, *, status: str = "200 OK", date: dt.datetime | None = None) -> Any:
    """Make a server that gives this answer, dated now unless `date` is given."""

    def serve(connection: socket.socket) -> None:
        request = connection.recv(65536)
        if not request:  # the check whether the port accepts connections
            return
        assert request.startswith(b"GET /cgi-bin/get_api_domain_ip HTTP/1.1\r\n")
        assert b"secret" not in request.lower()
        moment = format_datetime(date or dt.datetime.now(dt.UTC), usegmt=True)
        connection.sendall(make_answer(status, content, f"Date: {moment}"))

    return serve


def run_at(corp: Corp, name: str, url: str, **columns: object) -> CheckRun:
    Corp.objects.filter(pk=corp.pk).update(api_base_url=url, **columns)
    corp.refresh_from_db()
    return run_one(corp, name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return _certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        *((content, "200 OK") for content in (b"<html>Sign in to the network</html>", b"[]", b'{"errcode":"x"}', b"")),
        *((b"", status) for status in ("302 Found", "500 Internal Server Error")),
    ],
)
def test_a_login_page_of_the_network_is_not_wecom(corp: Corp, content: bytes, status: str) -> None:
    with listening(page(content, status=status)) as url:
        run = run_at(corp, "network", url)

    assert (run.status, run.problem, run.detail) == ("wrong", "not_wecom", f"HTTP {status[:3]}")
    assert checks.explain_run(run).what.startswith("What answered is not WeCom")


@pytest.mark.parametrize(
    ("name", "scheme", "answer", "outcome"),
    [
        ("network", "http", b"", ("wrong", "http")),
        ("certificate", "http", None, ("skipped", "not_encrypted")),
        ("certificate", "https", b"220 a mail server\r\n", ("wrong", "no_tls")),
        ("certificate", "https", None, ("skipped", "blocked")),
        ("clock", "http", None, ("skipped", "blocked")),
        *(
            ("clock", "http", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + date + b"\r\n", ("skipped", "no_date"))
            for date in (b"", b"Date: x\r\n", b"Date: Mon, 01 Jan " + b"9" * 20 + b" 00:00:00 GMT\r\n")
        ),
    ],
)
def test_what_answers_at_the_address_of_wecom(
    corp: Corp, name: str, scheme: str, answer: bytes | None, outcome: tuple[str, str]
) -> None:
    """Answer as something that is not WeCom; None: nothing listens."""
    with answering(answer or b"") as (url, _requests):
        address = f"http://127.0.0.1:{free_port()}" if answer is None else url
        run = run_at(corp, name, address.replace("http", scheme))

    assert (run.status, run.problem) == outcome


def test_a_name_that_has_no_address(corp: Corp, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_arguments: object, **_options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    run = run_at(corp, "network", "https://qyapi.example.com")

    assert (run.status, run.problem, run.facts["host"]) == ("wrong", "dns", "qyapi.example.com")


@pytest.mark.parametrize("address", ["ftp://127.0.0.1", "http://127.0.0.1:99999", "http://"])
def test_an_address_that_is_none(corp: Corp, address: str) -> None:
    run = run_at(corp, "network", address)

    assert (run.status, run.problem) == ("wrong", "wrong_setting")


def run_behind(corp: Corp, name: str, answer: bytes) -> CheckRun:
    with answering(answer) as (url, _requests):
        address = url.replace("http://", "http://bob:pass-word-9@")
        return run_at(corp, name, "https://qyapi.weixin.qq.com", proxy_url=address)


@pytest.mark.parametrize(
    ("answer", "problem", "detail"),
    [
        (make_answer("407 Proxy Authentication Required"), "password", "HTTP 407"),
        (make_answer("401 Unauthorized"), "password", "HTTP 401"),
        (make_answer("403 Forbidden"), "refuses", "HTTP 403"),
    ],
)
def test_a_proxy_that_does_not_let_us_out(corp: Corp, answer: bytes, problem: str, detail: str) -> None:
    run = run_behind(corp, "proxy", answer)
    way = run_behind(corp, "network", answer)

    assert (run.status, run.problem, run.detail) == ("wrong", problem, detail)
    assert (way.status, way.problem) == ("wrong", "proxy")
    assert run_behind(corp, "proxy", b"").problem == "silent"
    assert "pass-word-9" not in str(list(CheckRun.objects.values()))


def test_a_proxy_that_is_not_there(corp: Corp) -> None:
    address = f"http://bob:pass-word-9@127.0.0.1:{free_port()}"

    run = run_at(corp, "proxy", "https://qyapi.weixin.qq.com", proxy_url=address)

    assert (run.status, run.problem) == ("wrong", "unreachable")
    assert run_one(corp, "network").problem == "proxy_tcp"
    assert "pass-word-9" not in str(list(CheckRun.objects.values()))


def test_a_proxy_that_passes(corp: Corp) -> None:
    with answering(make_answer("200 OK", REFUSED)) as (url, _requests):
        run = run_at(corp, "proxy", "http://wecom.example.com", proxy_url=url)
        way = run_one(corp, "network")

    assert (run.status, run.problem, way.status) == ("ok", "passes", "ok")


def test_an_own_authority_is_named_with_its_end(corp: Corp, certificate: Certificate) -> None:
    """Warn, because the invented authority ends tomorrow."""
    with listening(page(), certificate.context) as url:
        Corp.objects.filter(pk=corp.pk).update(api_base_url=url, ca_bundle=Path(certificate.bundle).read_text())
        run = run_one(corp, "certificate", now=timezone.now())
        earlier = run_one(corp, "certificate", now=timezone.now() - dt.timedelta(days=40))

    assert (run.status, run.problem, run.facts["authority"]) == ("warning", "ends_soon", "CN=sim")
    assert (earlier.status, earlier.problem) == ("ok", "private")


def test_a_certificate_of_another_authority_than_ours(
    corp: Corp, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Path(_certificate(tmp_path_factory.mktemp("other"), "127.0.0.1").bundle).read_text()
    with listening(page(), certificate.context) as url:
        untrusted = run_at(corp, "certificate", url)
        run = run_at(corp, "certificate", url, ca_bundle=other)

    assert (run.status, run.problem) == ("wrong", "own_authority")
    assert (untrusted.status, untrusted.problem) == ("wrong", "untrusted")
    assert untrusted.facts == {"reason": "unable to get local issuer certificate"}


@pytest.mark.parametrize(
    ("seconds", "outcome"),
    [
        (0, ("ok", "right")),
        (60, ("ok", "right")),
        (-60, ("ok", "right")),
        (61, ("warning", "ahead")),
        (-61, ("warning", "behind")),
        (300, ("warning", "ahead")),
        (301, ("wrong", "ahead")),
        (-301, ("wrong", "behind")),
    ],
)
def test_how_far_the_clock_may_be(seconds: int, outcome: tuple[str, str]) -> None:
    finding = judge_clock(seconds)

    assert (finding.status, finding.problem) == outcome
    assert finding.facts == {"seconds": abs(seconds)}


def test_the_clock_is_compared_with_the_date_that_wecom_sends(corp: Corp) -> None:
    with listening(page(date=timezone.now() - dt.timedelta(minutes=10))) as url:
        run = run_at(corp, "clock", url)

    assert (run.status, run.problem) == ("wrong", "ahead")


@pytest.mark.parametrize("code", [60020, 301042])
def test_a_refused_address_stands_there_to_be_copied(corp: Corp, wire: Wire, code: int) -> None:
    wire.token()
    wire.callback_ip({**refusal(code, "not allow to access from your ip"), "ip_list": []})

    run = run_one(corp, "ip")

    assert outcome_of(run) == ("wrong", "refused_ip", code)
    assert (run.caller_ip, run.facts) == (CALLER_IP, {"addresses": [CALLER_IP], "copied": CALLER_IP})
    assert CALLER_IP in checks.explain_run(run).what
    assert "Trusted company IP" in checks.explain_run(run).where


def test_the_addresses_of_a_day_are_copied_together_also_when_one_is_accepted(corp: Corp, wire: Wire) -> None:
    check_run(corp, "ip", "wrong", caller_ip="203.0.113.200", finished_at=NOW - dt.timedelta(hours=25))
    wire.token()
    for ip in ("203.0.113.9", "203.0.113.10", "203.0.113.9", "2001:db8::1"):
        wire.callback_ip(refusal(60020, ip=ip))
        run = run_one(corp, "ip")
    assert run.facts["copied"] == "2001:db8::1;203.0.113.9;203.0.113.10"
    wire.callback_ip({"errcode": 60020, "errmsg": "not allow to access from your ip"})
    assert run_one(corp, "ip").facts["copied"] == "2001:db8::1;203.0.113.9;203.0.113.10"
    wire.callback_ip()

    run = run_one(corp, "ip", now=NOW + dt.timedelta(minutes=1))

    assert outcome_of(run) == ("ok", "trusted", None)
    told = checks.explain_run(run).what
    assert told.endswith("What it refused last: 2001:db8::1;203.0.113.9;203.0.113.10.")


def test_a_refused_address_that_is_not_named(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.callback_ip({"errcode": 60020, "errmsg": "not allow to access from your ip"})

    assert outcome_of(run_one(corp, "ip")) == ("wrong", "unnamed_ip", 60020)


NASTY = "a\x00b\ud800c\u202ed" + "x" * 5000
READ_THE_APP = ("agentid", "app", "scope", "domain", "home_page")


@pytest.mark.parametrize("name", READ_THE_APP)
def test_characters_that_no_table_takes_are_left_out(corp: Corp, wire: Wire, name: str) -> None:
    wire.token()
    users, parties = {"user": [{"userid": NASTY}]}, {"partyid": [10**30]}
    wire.agent(
        name=NASTY, redirect_domain=NASTY, home_url=f"https://{NASTY}", allow_userinfos=users, allow_partys=parties
    )

    run = run_one(corp, name)

    assert run.status in {"ok", "wrong"}
    assert run.problem != "crashed"
    assert "x\x00" not in export_text(corp, now=NOW)


@pytest.mark.parametrize("code", [2**31, -(2**31) - 1, 10**30])
def test_a_number_that_no_column_takes_is_told_in_the_detail(corp: Corp, wire: Wire, code: int) -> None:
    wire.token()
    wire.agent({"errcode": code, "errmsg": NASTY})

    run = run_one(corp, "app")

    assert (run.status, run.problem, run.errcode) == ("wrong", "not_wecom", None)
    assert str(code) in run.detail
    assert len(run.detail) <= 1000
    assert str(code) in export_text(corp, now=NOW)


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 0, "errmsg": "ok", "msgid": NASTY},
        {"errcode": 0, "errmsg": "ok", "msgid": NASTY, "unlicenseduser": f"lilei|{NASTY}"},
        {"errcode": 0, "errmsg": f"Warning: {NASTY}", "msgid": NASTY},
        {"errcode": 10**20, "errmsg": NASTY},
    ],
)
def test_a_receipt_of_such_characters_is_kept_as_far_as_possible(corp: Corp, wire: Wire, answer: Any) -> None:
    wire.token()
    wire.post("message/send", answer)
    checks.request_test_message(corp=corp, userid="lilei", now=NOW)
    run = CheckRun.objects.get()

    carry_out(run, clock=lambda: NOW + dt.timedelta(seconds=1))

    run.refresh_from_db()
    assert run.status in {"ok", "warning", "wrong"}
    assert run.problem != "crashed"
    assert len(wire.sent) == 1
    assert len(str(run.facts)) < 1000
