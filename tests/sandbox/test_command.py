"""wecom-sandbox: where it starts, what it loads and keeps, and the names it answers to."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from wecom_sandbox import __version__
from wecom_sandbox.http.hosts import WECOM_HOSTS, checked, is_loopback
from wecom_sandbox.limits.limits import KINDS
from wecom_sandbox.settings import Settings

from tests.sandbox_process import CORPID, ROOT, SandboxHandle, company, start_sandbox
from tools.services import free_port

COMMAND = [sys.executable, "-m", "wecom_sandbox"]


def run(*arguments: str, environment: str | None = "test", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end. `environment` is the variable ENVIRONMENT; None leaves it out."""
    others = {name: value for name, value in os.environ.items() if name != "ENVIRONMENT"}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=others | ({} if environment is None else {"ENVIRONMENT": environment}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def talking(folder: Path, number: signal.Signals, *arguments: str) -> Iterator[list[str]]:
    """Run the command. Yield its first lines; after the block its complaints at the end are appended."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    # Without a seed, one more line names the example.
    said = [process.stdout.readline().strip() for _ in range(5 if "--seed" in arguments else 6)]
    yield said
    process.send_signal(number)
    said.append(process.communicate(timeout=60)[1])
    assert process.returncode == 0


def status(url: str, host: str, **options: object) -> int:
    """Return the status of the health call with this Host header."""
    headers = {"Host": host}
    return requests.get(f"{url}/sandbox/api/health", headers=headers, timeout=60, **options).status_code  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("environment", "line"),
    [("production", ""), (None, "ENVIRONMENT=production"), (None, 'export ENVIRONMENT = "production"  # the site')],
)
def test_production_refuses_it(tmp_path: Path, environment: str | None, line: str) -> None:
    """Read the environment, else the folder's .env."""
    (tmp_path / ".env").write_text(f"SECRET_KEY=x\n{line}\nDEBUG=\n", encoding="utf-8")

    result = run("--port", "0", environment=environment, folder=tmp_path)

    assert (result.returncode, "does not start in production" in result.stderr) == (1, True)
    if line:
        with start_sandbox(folder=tmp_path) as handle:  # with ENVIRONMENT=test
            assert handle.control("GET", "health")["sandbox"] is True


def test_it_says_what_is_where_and_has_an_example(tmp_path: Path) -> None:
    with talking(tmp_path, signal.SIGTERM) as said:
        url = said[0].split()[-1].rstrip("/")
        pages = {page: requests.get(f"{url}/{page}", timeout=60) for page in ("phone", "console", "console/wwsandbox")}

    assert [line.split() for line in said[:-1]] == [
        ["WeCom", "sandbox", "on", f"{url}/"],
        ["phone", f"{url}/phone"],
        ["console", f"{url}/console"],
        ["API", f"{url}/cgi-bin/"],
        ["control", f"{url}/sandbox/api/"],
        ["try", "corpid=wwsandbox", "corpsecret=app-secret", "agentid=1000002"],
    ]
    assert said[-1] == ""
    assert [page.status_code for page in pages.values()] == [200, 200, 200]
    assert [("李雷" in pages["phone"].text), ("示例公司" in pages["console"].text)] == [True, True]
    assert "示例应用" in pages["console/wwsandbox"].text
    assert run("--version").stdout == f"wecom-sandbox {__version__}\n"


def test_a_seed_with_unchecked_addresses_is_told(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    apps = [
        {"agentid": 1, "name": "一", "secret": "s1"},
        {"agentid": 2, "name": "二", "secret": "s2", "trusted_ips": []},
        {"agentid": 3, "name": "三", "secret": "s3", "trusted_ips": None},
    ]
    seed.write_text(json.dumps({"companies": [company(apps=apps)]}), encoding="utf-8")

    with talking(ROOT, signal.SIGINT, "--seed", str(seed)) as said:
        pass

    assert said[-1] == (
        f"{CORPID}: no trusted_ips for app 1, 3, so callers' addresses are not checked; "
        "WeCom answers 60020 to every address that is not listed (setting trusted_ips_required)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--host", "example.com"), "example.com is not a loopback address"),
        (("--seed", "FILE"), "company:"),
        (("--snapshot", "FILE"), "company:"),
        (("--allow-host", "http://my-box/"), "http://my-box/ is not the name of a host (without scheme and port)\n"),
        (("--tls-port", "TAKEN"), "address already in use"),
    ],
)
def test_why_it_does_not_start_is_told(tmp_path: Path, arguments: tuple[str, str], complaint: str) -> None:
    file = tmp_path / "seed.json"
    file.write_text('{"companies": [{"corpid": "ww1"}]}', encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {"FILE": str(file), "TAKEN": str(taken.getsockname()[1])}
        result = run("--port", "0", arguments[0], given.get(arguments[1], arguments[1]))

    assert (result.returncode, result.stdout, complaint in result.stderr) == (1, "", True), result.stderr
    assert file.read_text(encoding="utf-8") == '{"companies": [{"corpid": "ww1"}]}'


@pytest.mark.parametrize("name", ["", "http://my-box", "my-box:80", "my box", "a..b", "-a", "a" * 64])
def test_it_listens_on_this_machine_only_and_lets_in_names_of_hosts(name: str) -> None:
    assert not any(is_loopback(host) for host in ("0.0.0.0", "192.0.2.1", "example.com", "::"))  # noqa: S104  # no
    with pytest.raises(ValueError, match="is not the name of a host"):
        checked(name)


def test_a_snapshot_is_for_its_owner_replaced_whole_and_read_at_the_start(tmp_path: Path) -> None:
    """Write through a link to its target. A second name of the old file shows that it was replaced, not overwritten."""
    folder, link = tmp_path / "data", tmp_path / "link.json"
    folder.mkdir()
    snapshot = folder / "state.json"
    snapshot.write_text('{"companies": []}', encoding="utf-8")
    snapshot.chmod(0o644)
    os.link(snapshot, folder / "old.json")
    link.symlink_to(snapshot)

    with start_sandbox(arguments=("--snapshot", str(link))) as handle:
        handle.load({"companies": [company()]})
        handle.control("DELETE", f"companies/{CORPID}/members/jim")

    assert (link.is_symlink(), stat.S_IMODE(snapshot.stat().st_mode)) == (True, 0o600)
    assert (folder / "old.json").read_text(encoding="utf-8") == '{"companies": []}'
    assert sorted(path.name for path in folder.iterdir()) == ["old.json", "state.json"]
    with start_sandbox(arguments=("--snapshot", str(link))) as handle:
        members = handle.control("GET", f"companies/{CORPID}")["members"]
        assert [one["userid"] for one in members] == ["LiLei", "hanmeimei"]


def test_a_snapshot_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """Simulate a full disk: the process may write only a hundred bytes to a file."""
    snapshot = tmp_path / "state.json"
    snapshot.write_text('{"companies": []}', encoding="utf-8")

    with start_sandbox(arguments=("--snapshot", str(snapshot))) as handle:
        handle.load({"companies": [company()]})
        resource.prlimit(handle.pid, resource.RLIMIT_FSIZE, (100, 100))

    assert snapshot.read_text(encoding="utf-8") == '{"companies": []}'
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_the_documentation_names_every_setting_and_fault_and_its_seed_loads() -> None:
    text = (ROOT / "docs" / "en" / "sandbox.md").read_text(encoding="utf-8")
    seed = json.loads(text.split("```json\n", 1)[1].split("```", 1)[0])

    assert [name for name in (*Settings.__slots__, *KINDS) if f"`{name}`" not in text] == []
    with start_sandbox(seed=seed) as handle:
        assert [one["name"] for one in handle.control("GET", "companies")["companies"]] == ["北山制造"]


def test_only_loopback_names_answer_and_by_tls_those_of_wecom(
    sandbox: SandboxHandle, tls_port: int, ca_file: Path
) -> None:
    plain = ["localhost", "127.0.0.1:3002", "[::1]", "[::1]:3002", WECOM_HOSTS[0], "127.0.0.1.example.com", "my-box"]
    assert [status(sandbox.base_url, host) for host in plain] == [200] * 4 + [421] * 3

    hosts = ["localhost", "127.0.0.1", f"[::1]:{tls_port}", "QYAPI.weixin.qq.com", *WECOM_HOSTS, "evil.example.com"]
    found = [status(f"https://localhost:{tls_port}", host, verify=str(ca_file)) for host in hosts]
    assert found == [200] * (len(hosts) - 1) + [421]
    printed = run("ca", "--port", sandbox.base_url.rpartition(":")[2])
    assert (printed.returncode, printed.stdout) == (0, ca_file.read_text(encoding="utf-8"))


def test_other_names_are_let_in_on_request_and_a_kept_authority_is_used(tmp_path: Path) -> None:
    """Listen everywhere, as in a container. The authority is printed from the folder and from the running sandbox."""
    kept = run("ca", "--ca-folder", str(tmp_path), "--allow-host", "my-box", "--allow-host", "192.0.2.7")
    arguments = ("--host", "0.0.0.0", "--allow-host", "My-Box", "--allow-host", "192.0.2.7")  # noqa: S104  # asked for
    with start_sandbox(arguments=(*arguments, "--tls-port", str(free_port()), "--ca-folder", str(tmp_path))) as handle:
        hosts = ["my-box", "192.0.2.7:3002", "localhost", "other-box"]
        assert [status(handle.base_url, host) for host in hosts] == [200, 200, 200, 421]
        told = handle.control("GET", "ca")
        printed = run("ca", "--host", "0.0.0.0", "--port", handle.base_url.rpartition(":")[2])  # noqa: S104  # as above

    assert kept.stdout == printed.stdout == told["certificate"] == (tmp_path / "ca.pem").read_text(encoding="utf-8")
    assert told["hosts"] == [*WECOM_HOSTS, "localhost", "127.0.0.1", "::1", "my-box", "192.0.2.7"]


def test_its_image_answers_to_its_names_and_has_no_authority_to_print() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "sandbox" / "Dockerfile").read_text(encoding="utf-8"), re.M)
    name, *arguments = json.loads(entry)

    with start_sandbox(arguments=tuple(arguments)) as handle:
        hosts = ("wecom:3002", "127.0.0.1:3002", "localhost", "evil.example")
        assert [status(handle.base_url, host) for host in hosts] == [200, 200, 200, 421]
        refused = run("ca", "--port", handle.base_url.rpartition(":")[2])

    assert (name, handle.url.rpartition(":")[0]) == ("wecom-sandbox", "http://127.0.0.1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "HTTP Error 404: Not Found. Is the sandbox running there, with --tls-port?" in refused.stderr


def test_many_connect_while_it_is_at_something_else() -> None:
    """Stop the process: the system accepts connections, and resets some of those it cannot keep."""
    with start_sandbox() as handle, ExitStack() as clients:
        address = ("127.0.0.1", int(handle.url.rpartition(":")[2]))
        os.kill(handle.pid, signal.SIGSTOP)
        clients.callback(os.kill, handle.pid, signal.SIGCONT)
        for _ in range(1000):
            clients.enter_context(socket.create_connection(address, timeout=20))

        os.kill(handle.pid, signal.SIGCONT)
        assert handle.control("GET", "health")["sandbox"] is True
