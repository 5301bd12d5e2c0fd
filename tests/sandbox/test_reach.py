"""Under which names and with which certificate the sandbox answers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from wecom_sandbox.http.hosts import WECOM_HOSTS, Authority, checked

from tests.sandbox_process import ROOT, SandboxHandle, start_sandbox
from tools.services import free_port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, when it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "wecom_sandbox", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def shake_hands(server: ssl.SSLContext, trusted: str, host: str) -> None:
    """A client that trusts the CA asks the server for `host`. Raises ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=trusted)
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        side = sides.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            sides.append(side)


def status(url: str, host: str, **options: object) -> int:
    """The status of the health call, asked for with this Host header."""
    headers = {"Host": host}
    return requests.get(f"{url}/sandbox/api/health", headers=headers, timeout=60, **options).status_code  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [*WECOM_HOSTS, "localhost", "127.0.0.1", "::1", "my-box"])
def test_the_certificate_is_for_every_name(host: str) -> None:
    authority = Authority.new(["my-box"])

    shake_hands(authority.server_context(), authority.pem, host)


def test_who_trusts_the_authority_trusts_it_for_no_other_name() -> None:
    """Its key may be lost: nobody can stand in for another site with it."""
    authority = Authority.new()
    stolen = replace(authority, names=("bank.example.com",))

    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(stolen.server_context(), authority.pem, "bank.example.com")


def test_another_sandbox_s_authority_is_not_trusted() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Authority.new().server_context(), Authority.new().pem, "localhost")


def test_a_kept_authority_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ca"
    first = Authority.kept(folder)

    assert Authority.kept(folder).pem == first.pem
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shake_hands(Authority.kept(folder).server_context(), first.pem, "qyapi.weixin.qq.com")


def test_a_kept_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Authority.kept(tmp_path)
    (tmp_path / "ca-key.pem").chmod(0o640)

    with pytest.raises(ValueError, match=r"ca-key\.pem can be read by others than its owner"):
        Authority.kept(tmp_path)


def test_a_kept_authority_that_does_not_know_a_name_is_told(tmp_path: Path) -> None:
    Authority.kept(tmp_path)

    with pytest.raises(ValueError, match=r"ca\.pem is not for my-box; delete it and ca-key\.pem"):
        Authority.kept(tmp_path, ["my-box"])


@pytest.mark.parametrize("broken", ["ca.pem", "ca-key.pem"])
def test_a_broken_kept_authority_is_told(tmp_path: Path, broken: str) -> None:
    Authority.kept(tmp_path)
    (tmp_path / broken).write_text("-----BEGIN NOTHING-----\n", encoding="utf-8")

    with pytest.raises(ValueError, match="cannot be read; delete both to get new ones"):
        Authority.kept(tmp_path)


def test_a_certificate_of_another_key_is_told(tmp_path: Path) -> None:
    Authority.kept(tmp_path)
    (tmp_path / "ca.pem").write_text(Authority.new().pem, encoding="utf-8")

    with pytest.raises(ValueError, match="do not belong together"):
        Authority.kept(tmp_path)


@pytest.mark.parametrize("name", ["", "http://my-box", "my-box:80", "my box", "a..b", "-a", "a" * 64])
def test_what_is_no_name_of_a_host(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a host"):
        checked(name)


def test_by_tls_all_names_of_wecom_answer(sandbox: SandboxHandle, tls_port: int, ca_file: Path) -> None:
    url = f"https://localhost:{tls_port}"

    hosts = ["localhost", "127.0.0.1", f"[::1]:{tls_port}", "QYAPI.weixin.qq.com", *WECOM_HOSTS, "evil.example.com"]
    assert [status(url, host, verify=str(ca_file)) for host in hosts] == [200] * (len(hosts) - 1) + [421]


def test_without_tls_only_loopback_names_answer(sandbox: SandboxHandle) -> None:
    hosts = ["localhost", "127.0.0.1:3002", "[::1]", "[::1]:3002", WECOM_HOSTS[0], "evil.example.com", "my-box"]

    assert [status(sandbox.base_url, host) for host in hosts] == [200] * 4 + [421] * 3


def test_other_names_are_let_in_on_request(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--allow-host", "My-Box", "--allow-host", "192.0.2.7", "--tls-port", str(port))
    with start_sandbox(arguments=arguments) as handle:
        hosts = ["my-box", "192.0.2.7:3002", "localhost", "other-box"]
        assert [status(handle.base_url, host) for host in hosts] == [200, 200, 200, 421]
        authority = handle.control("GET", "ca")

    assert authority["hosts"] == [*WECOM_HOSTS, "localhost", "127.0.0.1", "::1", "my-box", "192.0.2.7"]


def test_a_wrong_name_is_told() -> None:
    ended = run("--port", "0", "--allow-host", "http://my-box/")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "http://my-box/ is not the name of a host (without scheme and port)\n"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("--port", "0", "--tls-port", str(taken.getsockname()[1]))

    assert ended.returncode == 1
    assert "address already in use" in ended.stderr


def test_the_running_sandbox_s_authority_is_printed(sandbox: SandboxHandle, ca_file: Path) -> None:
    ended = run("ca", "--port", sandbox.base_url.rpartition(":")[2])

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == ca_file.read_text(encoding="utf-8")


@pytest.mark.parametrize("host", ["0.0.0.0", "::1"])  # noqa: S104  # what is asked for
def test_the_authority_is_printed_of_one_that_listens_elsewhere(host: str) -> None:
    arguments = ("--host", host, "--allow-host", "my-box", "--tls-port", str(free_port()))
    with start_sandbox(arguments=arguments) as handle:
        ended = run("ca", "--host", host, "--port", handle.base_url.rpartition(":")[2])

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("-----BEGIN CERTIFICATE-----\n")


def test_the_kept_authority_is_printed_and_made_where_it_is_missing(tmp_path: Path) -> None:
    first = run("ca", "--ca-folder", str(tmp_path))

    assert first.stdout == (tmp_path / "ca.pem").read_text(encoding="utf-8")
    assert run("ca", "--ca-folder", str(tmp_path)).stdout == first.stdout
    with start_sandbox(arguments=("--ca-folder", str(tmp_path), "--tls-port", str(free_port()))) as handle:
        assert handle.control("GET", "ca")["certificate"] == first.stdout


def test_without_tls_there_is_no_authority_to_print() -> None:
    with start_sandbox() as handle:
        ended = run("ca", "--port", handle.base_url.rpartition(":")[2])

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"{handle.base_url}/sandbox/api/ca: HTTP Error 404: Not Found. Is the sandbox running there, with --tls-port?\n"
    )


def test_in_a_container_it_listens_everywhere_and_answers_to_its_names() -> None:
    """As its image starts it: the arguments of sandbox/Dockerfile."""
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "sandbox" / "Dockerfile").read_text(encoding="utf-8"), re.M)
    name, *arguments = json.loads(entry)

    with start_sandbox(arguments=tuple(arguments)) as handle:
        statuses = [
            handle.session.get(f"{handle.base_url}/phone/choose", headers={"Host": host}, timeout=60).status_code
            for host in ("wecom:3002", "127.0.0.1:3002", "localhost", "evil.example")
        ]

    assert (name, handle.url.rpartition(":")[0]) == ("wecom-sandbox", "http://127.0.0.1")
    assert statuses == [200, 200, 200, 421]


def test_many_connect_while_it_is_at_something_else() -> None:
    """The system takes their connections; of those that it cannot keep it resets some. Here it stands still."""
    with start_sandbox() as handle, ExitStack() as clients:
        address = ("127.0.0.1", int(handle.url.rpartition(":")[2]))
        os.kill(handle.pid, signal.SIGSTOP)
        clients.callback(os.kill, handle.pid, signal.SIGCONT)
        for _ in range(1000):
            clients.enter_context(socket.create_connection(address, timeout=20))

        os.kill(handle.pid, signal.SIGCONT)
        assert handle.control("GET", "health")["sandbox"] is True
