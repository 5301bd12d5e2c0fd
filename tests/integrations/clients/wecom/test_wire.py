"""Deadlines, broken connections, TLS, proxies and reuse of connections, which only a real socket can show."""

import contextlib
import gzip
import os
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from integrations.clients import transport
from integrations.clients.errors import (
    ConfigurationError,
    IntegrationError,
    OutcomeUnknownError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.network import CONTENT_BYTES_AT_MOST, fetch_page
from integrations.clients.transport import open_session
from integrations.clients.wecom.calls import Timeouts, Wire
from integrations.clients.wecom.client import RobotClient, WeComClient
from integrations.clients.wecom.tokens import FetchedToken, TokenStore, TrialTokens
from tests.authority import Authority
from tests.integrations.clients.wecom.contract import KINDS, open_client
from tests.integrations.clients.wecom.misbehaviour import (
    BREAKS,
    DRIPS,
    Misbehaviour,
    StandingClock,
    drips_body,
    drips_headers,
    hangs,
    let_drops_pass_time,
    never_ends,
    takes_nothing,
)
from tests.integrations.clients.wecom.server import WireServer, answering, listening, make_answer
from tests.wecom import AGENTID, CORPID, ROBOT_KEY, SECRET

ANSWER = b'{"errcode":0,"errmsg":"ok"}'
PATIENT = Timeouts(connect_seconds=10, total_seconds=20, transfer_seconds=20)
# For calls that only the deadline ends: the other side gives up after 20 seconds, with another error.
SHORT = Timeouts(connect_seconds=1, total_seconds=1, transfer_seconds=1)


@dataclass(frozen=True)
class Certificate:
    """A server's certificate: the file of the signing authority, and the server's TLS context."""

    bundle: str
    context: ssl.SSLContext


def _certificate(folder: Path, host: str) -> Certificate:
    authority = Authority("sim", folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certify(host))
    return Certificate(str(authority.file), context)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return _certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def other_host(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return _certificate(tmp_path_factory.mktemp("tls"), "203.0.113.9")


def _robot(
    url: str, *, ca_bundle: str | None = None, proxy: str | None = None, timeouts: Timeouts = PATIENT
) -> RobotClient:
    wire = Wire(base_url=url, session=open_session(), timeouts=timeouts, proxy=proxy, ca_bundle=ca_bundle)
    return RobotClient(key=ROBOT_KEY, wire=wire)


def _request_of(connection: socket.socket) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n{}"):
        request += connection.recv(65536)
    return request


def answers(connection: socket.socket) -> None:
    _request_of(connection)
    connection.sendall(make_answer("200 OK", ANSWER))


def breaks_in_the_body(connection: socket.socket) -> None:
    """Send half of the body, and then bytes that are no TLS."""
    _request_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER[:9]))
    with socket.socket(fileno=os.dup(connection.fileno())) as below:
        below.sendall(b"no record of TLS" * 9)


def test_tls_that_breaks_in_the_body_leaves_open_what_became_of_the_call(certificate: Certificate) -> None:
    with listening(breaks_in_the_body, certificate.context) as url, pytest.raises(OutcomeUnknownError) as caught:
        _robot(url, ca_bundle=certificate.bundle).webhook_send(b"{}")

    assert caught.value.message == "the connection failed before the answer was complete (SSLError)"


def test_a_certificate_that_nobody_vouches_for_is_a_matter_of_settings(certificate: Certificate) -> None:
    with listening(answers, certificate.context) as url, pytest.raises(ConfigurationError) as caught:
        _robot(url).webhook_send(b"{}")

    assert caught.value.message == "the certificate is not trusted (unable to get local issuer certificate)"


def test_a_bundle_of_ones_own_is_trusted_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")

    with listening(answers, certificate.context) as url:
        assert _robot(url, ca_bundle=certificate.bundle).webhook_send(b"{}").warning == ""


def test_a_certificate_for_another_host_and_a_missing_or_broken_bundle_are_refused(
    tmp_path: Path, other_host: Certificate
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")

    for bundle in (other_host.bundle, str(broken), str(tmp_path / "none.pem")):
        with listening(answers, other_host.context) as url, pytest.raises(ConfigurationError):
            _robot(url, ca_bundle=bundle).webhook_send(b"{}")


def test_a_server_without_tls_is_certain() -> None:
    with answering(make_answer("400 Bad Request")) as (url, _requests), pytest.raises(TransientError) as caught:
        _robot(url.replace("http:", "https:")).webhook_send(b"{}")

    assert caught.value.message == "no connection (SSLError)"


def test_a_handshake_without_end_is_certain_and_ends() -> None:
    has_left: list[bool] = []

    with listening(lambda line: has_left.append(takes_nothing(line))) as url, pytest.raises(TransientError) as caught:
        _robot(url.replace("http:", "https:"), timeouts=SHORT).webhook_send(b"{}")

    assert caught.value.message == "no connection (TimeoutError)"
    assert False not in has_left


@pytest.mark.parametrize("drip", [drips_headers, drips_body])
@pytest.mark.usefixtures("clock")
def test_a_drip_behind_tls_ends_at_the_deadline(certificate: Certificate, drip: Misbehaviour) -> None:
    with listening(drip, certificate.context) as url, pytest.raises(OutcomeUnknownError, match=r"TimeoutError\)$"):
        _robot(url, ca_bundle=certificate.bundle).webhook_send(b"{}")


def test_a_reader_behind_tls_that_takes_nothing_cannot_hold_an_upload(certificate: Certificate) -> None:
    has_left: list[bool] = []

    with listening(lambda line: has_left.append(takes_nothing(line)), certificate.context) as url:
        robot = _robot(url, ca_bundle=certificate.bundle, timeouts=SHORT)
        with pytest.raises(TransientError):
            robot.webhook_upload_media(b"x" * 20_000_000, file_name="large.bin")

    assert False not in has_left


def test_a_proxy_is_asked_for_the_whole_address() -> None:
    seen: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        seen.append(_request_of(connection))
        connection.sendall(make_answer("200 OK", ANSWER))

    with listening(proxy) as url:
        _robot("http://wecom.invalid", proxy=url).webhook_send(b"{}")

    assert seen[0].startswith(
        b"POST http://wecom.invalid/cgi-bin/webhook/send?key=sim-robot-key-0123456789 HTTP/1.1\r\n"
    )


def test_a_tunnel_goes_through_the_proxy(certificate: Certificate) -> None:
    with listening(answers, certificate.context) as target:
        port = int(target.rpartition(":")[2])

        def proxy(connection: socket.socket) -> None:
            assert connection.recv(65536).startswith(f"CONNECT 127.0.0.1:{port} ".encode())
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)) as onward:
                _pump_both_ways(connection, onward)

        with listening(proxy) as url:
            result = _robot(target, ca_bundle=certificate.bundle, proxy=url).webhook_send(b"{}")

    assert result.warning == ""


def _pump_both_ways(one: socket.socket, other: socket.socket) -> None:
    def pump(source: socket.socket, target: socket.socket) -> None:
        while piece := source.recv(65536):
            target.sendall(piece)
        with contextlib.suppress(OSError):  # the other side may have closed both directions already
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(other, one))
    back.start()
    pump(one, other)
    back.join()


@pytest.mark.parametrize(
    ("status", "expected"), [(407, ConfigurationError), (403, ConfigurationError), (502, TransientError)]
)
def test_a_proxy_that_refuses_a_tunnel_is_certain(status: int, expected: type[Exception]) -> None:
    with answering(make_answer(f"{status} No")) as (url, _requests), pytest.raises(expected) as caught:
        _robot("https://wecom.invalid", proxy=url.replace("//", "//user:pass-word-1@")).webhook_send(b"{}")

    assert type(caught.value) is expected
    assert str(caught.value) == f"wecom webhook_send: the proxy answered {status}"


@pytest.mark.usefixtures("clock")
def test_a_proxy_that_drips_or_is_not_there_is_certain() -> None:
    with listening(drips_headers) as url:
        for proxy, error in ((url, "TimeoutError"), ("http://127.0.0.1:1", "ConnectionRefusedError")):
            with pytest.raises(TransientError) as caught:
                _robot("https://wecom.invalid", proxy=proxy).webhook_send(b"{}")

            assert caught.value.message == f"no connection ({error})"


# No part of a call may take longer while the clock of its deadline stands still.
BRIEF = Timeouts(connect_seconds=60, total_seconds=0.1, transfer_seconds=0.1)
AT_THE_DEADLINE = r"the connection failed before the answer was complete \((Read)?TimeoutError\)$"


@pytest.fixture
def sim(wire: WireServer) -> WireServer:
    wire.valid_secret = SECRET
    return wire


def _app_client(sim: WireServer, timeouts: Timeouts = PATIENT) -> WeComClient:
    client = open_client(base_url=sim.url, timeouts=timeouts)
    assert isinstance(client, WeComClient)
    return client


@pytest.mark.parametrize("stall", ["silence", *DRIPS])
@pytest.mark.usefixtures("clock")
def test_silence_and_a_slow_drip_end_at_the_deadline(sim: WireServer, stall: str) -> None:
    """Let the client give up first: the other side would do so later, with another error."""
    sim.misbehave["/cgi-bin/message/send"] = DRIPS.get(stall, hangs)
    timeouts = PATIENT if stall in DRIPS else BRIEF
    sim.valid_token, store = "token-in-use", TrialTokens()
    store.get(CORPID, AGENTID, lambda: FetchedToken(sim.valid_token, 7200))
    client = open_client(base_url=sim.url, timeouts=timeouts, token_store=store)

    with pytest.raises(OutcomeUnknownError, match=AT_THE_DEADLINE):
        KINDS[1].call(client)


@pytest.mark.parametrize("break_off", BREAKS)
def test_after_a_broken_connection_a_send_is_unclear_and_a_read_may_be_tried_again(
    sim: WireServer, break_off: str
) -> None:
    sim.misbehave["/cgi-bin/message/send"] = sim.misbehave["/cgi-bin/agent/get"] = BREAKS[break_off]

    with pytest.raises(OutcomeUnknownError):
        _app_client(sim).message_send(b"{}")
    # The first client's connection may be kept, and the server may close it at any moment.
    with pytest.raises(TransientError):
        _app_client(sim).agent_get()

    assert (sim.calls["/cgi-bin/message/send"], sim.calls["/cgi-bin/agent/get"]) == (1, 1)


def test_an_answer_without_end_is_cut_off(sim: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_BYTES_AT_MOST", 1000)
    bomb = gzip.compress(b" " * 100_000)

    def explode(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        connection.sendall(head.encode() + bomb)

    sim.misbehave["/cgi-bin/agent/get"] = explode

    with pytest.raises(UnexpectedResponseError, match="the answer is longer than"):
        _app_client(sim).agent_get()


def test_the_deadline_is_for_the_call_with_its_token(sim: WireServer, clock: StandingClock) -> None:
    sim.before_token = lambda: clock.set_forward(14)

    def hold_up(connection: socket.socket) -> None:
        clock.set_forward(7)
        drips_body(connection)

    sim.misbehave["/cgi-bin/message/send"] = hold_up

    with pytest.raises(OutcomeUnknownError, match=AT_THE_DEADLINE):
        _app_client(sim, Timeouts(total_seconds=20)).message_send(b"{}")

    # It stopped at the first reading after 20 s. Twenty seconds from the token on would have taken more readings.
    assert len([moment for moment in clock.readings if moment >= 20]) == 1


def test_a_send_that_could_only_time_out_is_not_begun(sim: WireServer, clock: StandingClock) -> None:
    sim.before_token = lambda: clock.set_forward(16)

    with pytest.raises(TransientError) as caught:
        _app_client(sim, Timeouts(total_seconds=20)).message_send(b"{}")

    assert caught.value.message == "no time was left to send"
    assert sim.calls == {"/cgi-bin/gettoken": 1}


def test_waiting_for_another_callers_token_ends_at_the_deadline(sim: WireServer, store: TokenStore) -> None:
    is_asked, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        is_asked.set()
        go_on.wait(60)

    sim.before_token = hold_up
    slow, waiting = (
        open_client(base_url=sim.url, timeouts=timeouts, token_store=store)
        for timeouts in (Timeouts(total_seconds=120), BRIEF)
    )
    thread = threading.Thread(target=slow.agent_get)  # type: ignore[union-attr]  # no robot without a case
    thread.start()
    assert is_asked.wait(60)

    with pytest.raises(TransientError):
        waiting.agent_get()  # type: ignore[union-attr]  # no robot without a case

    assert thread.is_alive()  # the other one still waits for WeCom
    go_on.set()
    thread.join()


def test_one_connection_serves_a_process_until_wecom_closes_it(
    sim: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _app_client(sim)

    for _ in range(10):
        client.agent_get()
        client.message_send(b"{}")
    assert sim.connection_count == 1

    sim.close_connections()
    client.message_send(b"{}")
    assert sim.connection_count == 2

    monkeypatch.setattr("os.getpid", lambda: 1)  # as after a fork
    client.agent_get()
    client.agent_get()
    assert sim.connection_count == 3


def test_a_file_name_goes_out_in_raw_utf8(sim: WireServer) -> None:
    with pytest.raises(IntegrationError):  # the fake's answer has no media_id
        _app_client(sim).media_upload(b"1,2,3\n", kind="file", file_name='日报"1".csv', media_type="text/csv")

    head, _, rest = sim.bodies[0].partition(b"\r\n\r\n")
    boundary = head.partition(b"\r\n")[0]
    assert head == (
        boundary
        + '\r\nContent-Disposition: form-data; name="media"; filename="日报_1_.csv"\r\nContent-Type: text/csv'.encode()
    )
    assert rest == b"1,2,3\n\r\n" + boundary + b"--\r\n"


def test_a_page_is_read_as_a_stranger_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(make_answer("200 OK", b"abc", "Content-Type: text/plain", "Set-Cookie: a=b")) as (url, requests):
        page = fetch_page(f"{url}/WW_verify_x.txt")

    assert (page.status, page.content, page.headers["Content-Type"]) == (200, b"abc", "text/plain")
    request = requests[0].decode().lower()
    assert request.startswith("get /ww_verify_x.txt http/1.1\r\n")
    assert "\r\nuser-agent: guanwecom\r\n" in request
    assert "cookie" not in request
    assert "authorization" not in request


@pytest.mark.parametrize(
    "place", [b"https://elsewhere.example/x", b"http://[", b"http://*:99999999/", b"http://\xff\xfe/"]
)
def test_a_redirection_is_an_answer_and_is_not_followed(place: bytes) -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n"
    with answering(answer) as (url, requests):
        page = fetch_page(f"{url}/")

    assert (page.status, page.headers["Location"]) == (302, place.decode("latin-1"))
    assert len(requests) == 1


@pytest.mark.parametrize("status", ["200 OK", "302 Found\r\nLocation: /x", "503 No"])
def test_of_an_answer_without_end_only_the_beginning_is_read_whatever_its_status(status: str) -> None:
    with listening(never_ends(f"HTTP/1.1 {status}\r\n\r\n".encode())) as url:
        page = fetch_page(f"{url}/", total_seconds=20)

    assert (page.status, page.content) == (int(status[:3]), b"x" * CONTENT_BYTES_AT_MOST)


@pytest.mark.parametrize("serve", [drips_headers, drips_body])
def test_a_drip_ends_at_the_deadline(serve: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = let_drops_pass_time(monkeypatch)

    with listening(serve) as url, pytest.raises(TransientError):
        fetch_page(f"{url}/", total_seconds=20)

    assert len([moment for moment in clock.readings if moment >= 20]) == 1
