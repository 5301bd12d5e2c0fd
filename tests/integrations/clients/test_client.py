"""The check of a public address, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integrations.clients.errors import ConfigurationError, TransientError
from integrations.clients.network import CONTENT_BYTES_AT_MOST, fetch_page
from tests.integrations.clients.wecom.misbehaviour import drips_body, drips_headers, let_drops_pass_time, never_ends
from tests.integrations.clients.wecom.server import listening
from tests.integrations.clients.wecom.test_tls import _certificate
from tools.services import free_port

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\n\r\nabc"


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that gives everybody this answer. Yield its address and the list of requests."""
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests.append(connection.recv(65536))
        connection.sendall(answer)

    with listening(serve) as url:
        yield url, requests


def test_a_page_is_read_as_a_stranger_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(ANSWER) as (url, requests):
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


def test_nobody_listens() -> None:
    with pytest.raises(TransientError, match="no connection"):
        fetch_page(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize("serve", [drips_headers, drips_body])
def test_a_drip_ends_at_the_deadline(serve: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = let_drops_pass_time(monkeypatch)

    with listening(serve) as url, pytest.raises(TransientError):
        fetch_page(f"{url}/", total_seconds=20)

    assert len([moment for moment in clock.readings if moment >= 20]) == 1


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_what_is_not_http_counts_as_no_answer(answer: bytes) -> None:
    with answering(answer) as (url, _requests), pytest.raises(TransientError):
        fetch_page(f"{url}/")


def test_a_certificate_of_nobody_we_know(tmp_path: Path) -> None:
    context = _certificate(tmp_path, "127.0.0.1").context
    with listening(lambda connection: None, context) as url, pytest.raises(ConfigurationError) as refusal:
        fetch_page(f"{url}/")

    assert refusal.value.message == "the certificate is not trusted (unable to get local issuer certificate)"
