"""Clients that never end their requests, or come in great numbers, do not keep others from being answered."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.e2e.stack import BIN, running, wait_for_log
from tools.services import free_port

pytestmark = pytest.mark.processes
THREADS = 2


@pytest.mark.parametrize(
    "half", [b"GET / HTTP/1.1\r\nHost: 127", b"POST /login/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nu="]
)
def test_a_whole_request_is_answered_though_each_thread_has_half_a_one(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path, half: bytes
) -> None:
    port = free_port()
    command = [str(BIN / "gunicorn"), "guanwecom.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", str(THREADS)]
    command += ["--no-control-socket", "--worker-tmp-dir", str(tmp_path)]

    with ExitStack() as exits:
        web = exits.enter_context(running("web", command, env=process_environ, folder=tmp_path, cwd=project_root))
        wait_for_log("Booting worker", web)
        for _thread in range(THREADS):
            client = exits.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(half)

        answer = requests.get(f"http://127.0.0.1:{port}/healthz/live", timeout=120)

    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.usefixtures("_many_descriptors")
def test_more_connections_than_a_process_has_descriptors_are_answered(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    port = free_port()
    gunicorn = [str(BIN / "gunicorn"), "guanwecom.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", str(THREADS)]
    # 1,024, less what threads under load have open to PostgreSQL and Valkey.
    command = ["sh", "-c", 'ulimit -n 1000; exec "$@"', "sh", *gunicorn]
    command += ["--no-control-socket", "--worker-tmp-dir", str(tmp_path)]
    with ExitStack() as exits:

        def send(request: bytes) -> socket.socket:
            client = exits.enter_context(socket.create_connection(("127.0.0.1", port), timeout=120))
            client.sendall(request)
            return client

        web = exits.enter_context(running("web", command, env=process_environ, folder=tmp_path, cwd=project_root))
        wait_for_log("Booting worker", web)
        for _thread in range(THREADS):
            send(b"GET / HTTP/1.1\r\nHost: 127")
        waiting = [send(b"GET /healthz/live HTTP/1.1\r\nConnection: close\r\n\r\n") for _ in range(1100)]

        for client in waiting:
            assert client.recv(12) == b"HTTP/1.1 200"
            client.close()  # gunicorn waits for it
