"""Overload: requests that waited too long are asked to come again, and clients with half a request block nobody."""

import io
import resource
import runpy
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from guanwecom.operations.middleware import RETRY_SECONDS, LateRequestMiddleware
from tests.e2e.stack import BIN, running, wait_for_http
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tools.services import free_port

THREADS = 2
HALVES = (b"GET / HTTP/1.1\r\nHost: 127", b"POST /login/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nu=")
LOGIN = b"GET /login/ HTTP/1.1\r\nConnection: close\r\n\r\n"
LIVE = b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# How far the kernel's clock for TCP_INFO may lag: it ticks a hundred times a second or more.
CLOCK_MILLISECONDS = 10


def reach(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer in Django's place."""
    start_response("200 OK", [])
    return [b"reached " + environ["PATH_INFO"].encode()]


def asked(path: str, method: str = "GET", **environ: str) -> tuple[str, dict[str, str], bytes]:
    given: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(), **environ}
    said: list[tuple[str, dict[str, str]]] = []
    answer = LateRequestMiddleware(reach)(given, lambda status, headers: said.append((status, dict(headers))))
    body = b"".join(answer)
    [(status, headers)] = said
    return status, headers, body


def late(path: str, method: str = "GET", **environ: str) -> tuple[str, dict[str, str], bytes]:
    return asked(path, method, HTTP_WAITED_TOO_LONG="1", **environ)


def test_what_did_not_wait_reaches_the_site() -> None:
    assert asked("/login/") == ("200 OK", {}, b"reached /login/")


@pytest.mark.parametrize("path", ["/healthz", "/healthz/live", "/healthz/engine", "/metrics", "/static/a.css"])
def test_monitors_and_static_files_are_answered_however_long_they_waited(path: str) -> None:
    assert late(path)[0] == "200 OK"


@pytest.mark.parametrize(
    ("language", "words"), [("zh-CN,zh;q=0.9", "现在访问的人很多"), ("en", "Many people are here just now")]
)
@pytest.mark.django_db
def test_a_browser_gets_a_page_that_comes_again_by_itself(client: Client, language: str, words: str) -> None:
    own = client.get("/not/there/").headers
    status, headers, body = late("/wecom/1/start/", HTTP_ACCEPT_LANGUAGE=language)

    assert status == "503 Service Unavailable"
    assert headers["Refresh"] == headers["Retry-After"]
    assert words in body.decode()
    assert (headers["Content-Length"], headers["Cache-Control"]) == (str(len(body)), "no-store")
    # This page has the security headers of the site's own pages.
    names = ("Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options")
    assert {name: headers[name] for name in names} == {name: own[name] for name in names}
    directives = set(headers["Content-Security-Policy"].split("; "))
    assert directives == set(own["Content-Security-Policy"].split("; "))
    assert "default-src 'self'" in directives


def test_those_that_were_refused_together_do_not_come_again_together() -> None:
    assert {late("/login/")[1]["Retry-After"] for _request in range(200)} == set(map(str, RETRY_SECONDS))


@pytest.mark.parametrize("path", ["/api/v1/messages", "/in/abc"])
def test_programs_get_a_problem_and_nothing_is_posted_again_by_itself(path: str) -> None:
    status, headers, body = late(path, "POST")

    assert (status, headers["Content-Type"]) == ("503 Service Unavailable", "application/problem+json")
    assert b'"code": "busy"' in body
    assert "Retry-After" in headers
    assert "Refresh" not in headers


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as exits:
        listener = exits.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = exits.enter_context(socket.create_connection(listener.getsockname()))
        server, _address = listener.accept()
        yield client, exits.enter_context(server)


def test_waiting_begins_with_the_last_that_the_client_sent(
    project_root: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    waited = runpy.run_path(str(project_root / "gunicorn.conf.py"))["read_waiting_milliseconds"]
    client, server = pair
    client.sendall(b"GET / ")
    eventually(lambda: waited(server) > 300)

    before = time.monotonic()
    client.sendall(b"HTTP/1.1")
    assert server.recv(14, socket.MSG_WAITALL) == b"GET / HTTP/1.1"
    assert waited(server) <= (time.monotonic() - before) * 1000 + CLOCK_MILLISECONDS


@pytest.fixture
def send(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> Iterator[Callable[[bytes], socket.socket]]:
    """A function that sends a request to a gunicorn with two threads and few file descriptors."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port = free_port()
    gunicorn = [str(BIN / "gunicorn"), "guanwecom.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", str(THREADS)]
    # 1,024, less the connections of busy threads to PostgreSQL and Valkey.
    command = ["sh", "-c", 'ulimit -n 1000; exec "$@"', "sh", *gunicorn]
    command += ["--no-control-socket", "--worker-tmp-dir", str(tmp_path)]
    with ExitStack() as exits:
        exits.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (before, most))
        web = exits.enter_context(running("web", command, env=process_environ, folder=tmp_path, cwd=project_root))
        wait_for_http(f"http://127.0.0.1:{port}/healthz/live", web)

        def act(request: bytes) -> socket.socket:
            client = exits.enter_context(socket.create_connection(("127.0.0.1", port), timeout=120))
            client.sendall(request)
            return client

        # A connection whose end was not noticed yet would count as waiting. This request comes after it and ends.
        act(LIVE).makefile("rb").read()
        yield act


@nightly
@pytest.mark.processes
def test_half_requests_in_all_threads_keep_nobody_from_an_answer(send: Callable[[bytes], socket.socket]) -> None:
    """Let half requests hold all threads for seconds while other requests wait.

    A request that waits alone is served. In a queue longer than the process has descriptors, people are asked to
    come again, and monitors are answered.
    """
    for half in HALVES:
        send(half)
    alone = send(LOGIN).makefile("rb").read()
    for half in HALVES:
        send(half)
    first, *monitors = [send(LOGIN), *(send(LIVE) for _client in range(1100))]

    assert alone.startswith(b"HTTP/1.1 200 ")
    told = first.makefile("rb").read()
    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in told
    for client in monitors:
        assert client.recv(12) == b"HTTP/1.1 200"
        client.close()  # gunicorn waits for it
