"""wecom-sandbox: where it starts, what it loads, what it keeps."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from wecom_sandbox import __version__
from wecom_sandbox.limits.limits import KINDS
from wecom_sandbox.settings import Settings

from tests.sandbox_process import CORPID, ROOT, company, start_sandbox


def run(*arguments: str, environment: str | None = "test", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command, when it is expected to end by itself. `environment`: the variable ENVIRONMENT; None: without it."""
    others = {name: value for name, value in os.environ.items() if name != "ENVIRONMENT"}
    return subprocess.run(
        [sys.executable, "-m", "wecom_sandbox", "--port", "0", *arguments],
        cwd=folder,
        env=others | ({} if environment is None else {"ENVIRONMENT": environment}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_production_refuses_it() -> None:
    result = run(environment="production")

    assert result.returncode == 1
    assert "does not start in production" in result.stderr


def test_it_says_what_is_where_and_has_an_example(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "wecom_sandbox", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(6)]
    url = lines[0].split()[-1].rstrip("/")
    pages = {page: requests.get(f"{url}/{page}", timeout=60) for page in ("phone", "console", "console/wwsandbox")}
    process.terminate()
    _, complaints = process.communicate(timeout=60)

    assert [line.split() for line in lines] == [
        ["WeCom", "sandbox", "on", f"{url}/"],
        ["phone", f"{url}/phone"],
        ["console", f"{url}/console"],
        ["API", f"{url}/cgi-bin/"],
        ["control", f"{url}/sandbox/api/"],
        ["try", "corpid=wwsandbox", "corpsecret=app-secret", "agentid=1000002"],
    ]
    assert [page.status_code for page in pages.values()] == [200, 200, 200]
    assert [("李雷" in pages["phone"].text), ("示例公司" in pages["console"].text)] == [True, True]
    assert "示例应用" in pages["console/wwsandbox"].text
    assert complaints == ""


def test_it_says_which_version_it_is() -> None:
    assert run("--version").stdout == f"wecom-sandbox {__version__}\n"


@pytest.mark.parametrize("line", ["ENVIRONMENT=production", 'export ENVIRONMENT = "production"  # the site'])
def test_a_folder_of_a_site_in_production_refuses_it(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY=x\n{line}\nDEBUG=\n", encoding="utf-8")

    result = run(environment=None, folder=tmp_path)

    assert result.returncode == 1
    assert "does not start in production" in result.stderr


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ENVIRONMENT=production\n", encoding="utf-8")

    with start_sandbox(folder=tmp_path) as handle:
        assert handle.control("GET", "health")["sandbox"] is True


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::"])  # noqa: S104  # these are refused
def test_addresses_beyond_this_machine_are_refused(host: str) -> None:
    result = run("--host", host)

    assert result.returncode == 1
    assert f"{host} is not a loopback address" in result.stderr


def test_it_needs_no_database() -> None:
    with start_sandbox(
        seed={"companies": [company()]}, env={"DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    ) as handle:
        assert handle.control("GET", "companies")["companies"][0]["members"] == 3


def test_a_bad_seed_is_told(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text('{"companies": [{"corpid": "ww1"}]}', encoding="utf-8")

    result = run("--seed", str(seed))

    assert result.returncode == 1
    assert "company:" in result.stderr


def test_a_snapshot_is_written_at_the_end_and_read_at_the_start(tmp_path: Path) -> None:
    snapshot = tmp_path / "state.json"
    with start_sandbox(seed={"companies": [company()]}, arguments=("--snapshot", str(snapshot))) as handle:
        handle.control("DELETE", f"companies/{CORPID}/members/jim")

    with start_sandbox(arguments=("--snapshot", str(snapshot))) as handle:
        assert [one["userid"] for one in handle.control("GET", f"companies/{CORPID}")["members"]] == [
            "LiLei",
            "hanmeimei",
        ]


def test_a_snapshot_is_for_its_owner_and_replaced_whole(tmp_path: Path) -> None:
    """Another name for the old file shows that nothing was written into it."""
    snapshot, old = tmp_path / "state.json", tmp_path / "old.json"
    snapshot.write_text('{"companies": []}', encoding="utf-8")
    snapshot.chmod(0o644)
    os.link(snapshot, old)

    with start_sandbox(arguments=("--snapshot", str(snapshot))) as handle:
        handle.load({"companies": [company()]})

    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600
    assert json.loads(snapshot.read_text(encoding="utf-8").splitlines()[0])["companies"][0]["corpid"] == CORPID
    assert old.read_text(encoding="utf-8") == '{"companies": []}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.json", "state.json"]


def test_a_snapshot_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """As on a full disk: the process may write no more than a hundred bytes to a file."""
    snapshot = tmp_path / "state.json"
    snapshot.write_text('{"companies": []}', encoding="utf-8")

    with start_sandbox(arguments=("--snapshot", str(snapshot))) as handle:
        handle.load({"companies": [company()]})
        resource.prlimit(handle.pid, resource.RLIMIT_FSIZE, (100, 100))

    assert snapshot.read_text(encoding="utf-8") == '{"companies": []}'
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_snapshot_behind_a_link_is_replaced_there(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    link = tmp_path / "state.json"
    link.symlink_to(folder / "state.json")

    with start_sandbox(seed={"companies": [company()]}, arguments=("--snapshot", str(link))):
        pass

    assert link.is_symlink()
    assert (folder / "state.json").is_file()


def test_a_seed_with_unchecked_addresses_is_told(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    apps = [
        {"agentid": 1, "name": "一", "secret": "s1"},
        {"agentid": 2, "name": "二", "secret": "s2", "trusted_ips": []},
        {"agentid": 3, "name": "三", "secret": "s3", "trusted_ips": None},
    ]
    seed.write_text(json.dumps({"companies": [company(apps=apps)]}), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "wecom_sandbox", "--port", "0", "--seed", str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("WeCom sandbox on http://127.0.0.1:")
    process.terminate()
    _, complaints = process.communicate(timeout=60)

    assert complaints == (
        f"{CORPID}: no trusted_ips for app 1, 3, so callers' addresses are not checked; "
        "WeCom answers 60020 to every address that is not listed (setting trusted_ips_required)\n"
    )


def test_a_snapshot_is_not_lost_when_the_start_fails(tmp_path: Path) -> None:
    snapshot = tmp_path / "state.json"
    snapshot.write_text("{broken", encoding="utf-8")

    assert run("--snapshot", str(snapshot)).returncode == 1
    assert snapshot.read_text(encoding="utf-8") == "{broken"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "wecom_sandbox", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("WeCom sandbox on http://127.0.0.1:")

    process.send_signal(number)
    _, complaints = process.communicate(timeout=60)

    assert (process.returncode, complaints) == (0, "")


def test_the_seed_of_the_documentation_loads() -> None:
    text = (ROOT / "docs" / "en" / "sandbox.md").read_text(encoding="utf-8")
    seed = json.loads(text.split("```json\n", 1)[1].split("```", 1)[0])

    with start_sandbox(seed=seed) as handle:
        assert [one["name"] for one in handle.control("GET", "companies")["companies"]] == ["北山制造"]


def test_the_documentation_names_every_setting_and_fault() -> None:
    text = (ROOT / "docs" / "en" / "sandbox.md").read_text(encoding="utf-8")
    names = [*Settings.__slots__, *KINDS]

    assert [name for name in names if f"`{name}`" not in text] == []
