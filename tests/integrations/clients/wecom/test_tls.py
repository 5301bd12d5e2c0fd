"""TLS and proxies: what the client trusts, and its messages about what it does not."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from integrations.clients.errors import ConfigurationError, OutcomeUnknownError, TransientError
from integrations.clients.transport import open_session
from integrations.clients.wecom.calls import Timeouts
from integrations.clients.wecom.client import RobotClient
from tests.authority import Authority
from tests.integrations.clients.wecom.misbehaviour import Misbehaviour, drips_body, drips_headers, takes_nothing
from tests.integrations.clients.wecom.server import listening
from tests.wecom import ROBOT_KEY

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
    return RobotClient(
        key=ROBOT_KEY, base_url=url, session=open_session(), timeouts=timeouts, proxy=proxy, ca_bundle=ca_bundle
    )


def _request_of(connection: socket.socket) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n{}"):
        request += connection.recv(65536)
    return request


def answers(connection: socket.socket) -> None:
    _request_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))


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
    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(refuse) as url, pytest.raises(TransientError) as caught:
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
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))

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
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    with listening(refuse) as url, pytest.raises(expected) as caught:
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
