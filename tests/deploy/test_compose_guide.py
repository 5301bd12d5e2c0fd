"""Docker Compose by the guides' own lines, in a clone, with Docker's daemon or Podman.

DOCKER_HOST names it. Its store must have the images debian:trixie-slim, postgres:17, valkey/valkey:8 and
nginx:stable, or reach a registry. The ports 80 and 443 of this machine must be free.

Podman leaves health checks to systemd's timers. Without systemd, repeat `podman healthcheck run` for each container.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.guides import blocks, inline_commands
from tests.deploy.terminal import answer
from tests.e2e.waiting import eventually
from tests.nightly import IS_NIGHTLY, nightly
from tests.programs import run_program

PASSWORD = "invented-for-this-test"
PREFIX = "docker compose run --rm backup "
HAS_DOCKER = (
    IS_NIGHTLY
    and shutil.which("docker") is not None
    and subprocess.run(["docker", "compose", "ls"], capture_output=True, check=False).returncode == 0
)
pytestmark = [
    nightly,
    pytest.mark.processes,
    pytest.mark.skipif(not HAS_DOCKER, reason="neither Docker nor Podman answers"),
]


def type_lines(folder: Path, block: str) -> str:
    said = ""
    for line in block.splitlines():
        done = run_program(["sh", "-c", line], cwd=folder, timeout=None)
        assert done.returncode == 0, f"{line}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{read_logs(folder)}"
        said += done.stdout
    return said


def read_logs(folder: Path) -> str:
    """Return each container's last output: `docker compose up` names only the one that ended."""
    return run_program(["docker", "compose", "logs", "--no-color", "--tail", "20"], cwd=folder).stdout


def clone(root: Path, folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(root), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def shell() -> Iterator[None]:
    """An environment without the addresses of this run's own services, which Compose would prefer to those in .env."""
    with pytest.MonkeyPatch.context() as environ:
        environ.delenv("DATABASE_URL", raising=False)
        environ.delenv("VALKEY_URL", raising=False)
        yield


@pytest.fixture(scope="module")
def folder(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone in which the guide was followed to its end, with a first administrator."""
    folder = clone(project_root, tmp_path_factory.mktemp("compose") / "clone")
    first, *_upgrade = blocks(project_root, "install", "With Docker Compose", compose=True)
    *lines, administrator = first.splitlines()
    before, after = lines[: lines.index("docker compose build")], lines[lines.index("docker compose build") :]
    assert before[-1].startswith("mkdir tls ")
    try:
        type_lines(folder, "\n".join(before))
        certify = (
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=bi.example.com -keyout tls/site.key -out tls/site.pem"
        )
        type_lines(folder, "\n".join([certify, *after]))
        asked = [("用户名", "chief"), ("电子邮件", ""), ("Password", PASSWORD), ("again", PASSWORD)]
        answer(administrator.split(), asked, folder=folder)
        yield folder
    finally:
        subprocess.run(["docker", "compose", "down", "--volumes"], cwd=folder, check=False)


def problems(folder: Path) -> str:
    """Return the problems that /healthz/engine reports through nginx."""
    (token,) = re.findall(r"^METRICS_TOKEN=(.+)$", (folder / ".env").read_text(), re.MULTILINE)
    headers = ["-H", "Host: bi.example.com", "-H", f"Authorization: Bearer {token}"]
    ask = ["curl", "-sk", *headers, "https://127.0.0.1/healthz/engine"]
    return "".join(re.findall(r'"problems": (\[.*?\])', run_program(ask).stdout))


def prefixed(block: str) -> str:
    """Put the prefix before each line for systemd, as the guide says."""
    return "\n".join(f"{PREFIX}{line}" for line in block.splitlines() if line.startswith("guanwecom "))


def test_it_runs(folder: Path) -> None:
    eventually(lambda: problems(folder) == "[]")


def test_it_backs_up_and_restores(folder: Path, project_root: Path) -> None:
    (upgrade,) = blocks(project_root, "backup", "Upgrade")
    (backup,) = blocks(project_root, "backup", "Back up")
    (carry,) = blocks(project_root, "backup", "Back up", compose=True)
    (restore,) = blocks(project_root, "backup", "Restore", compose=True)
    (copy,) = blocks(project_root, "backup", "A restored copy does not send")
    (support,) = blocks(project_root, "backup", "A file for support")
    assert "没有待执行的迁移。" in type_lines(folder, prefixed(upgrade))

    type_lines(folder, prefixed(backup))
    type_lines(folder, carry)
    assert (folder / "monday.backup").stat().st_size > 10_000
    assert "这是副本：不会从这里发送任何内容。" in type_lines(folder, restore)
    eventually(lambda: problems(folder) == "[]")

    type_lines(folder, prefixed(copy))
    type_lines(folder, prefixed(support))


def test_it_upgrades(folder: Path, project_root: Path) -> None:
    _first, upgrade = blocks(project_root, "install", "With Docker Compose", compose=True)
    type_lines(folder, upgrade)
    eventually(lambda: problems(folder) == "[]")


def test_every_command_that_a_guide_names_runs(folder: Path, project_root: Path) -> None:
    elsewhere = ("backup", "restore", "installation", "support_bundle", "upgrade", "createsuperuser", "init_env")
    asking = ("changepassword", "reset_second_factor")
    commands = [line for line in inline_commands(project_root) if line.split()[1] not in (*elsewhere, *asking)]

    type_lines(folder, prefixed("\n".join(sorted(commands)).replace("USERNAME", "chief")))


def test_it_moves_to_another_machine(folder: Path, project_root: Path, tmp_path: Path) -> None:
    """Delete the volumes, so that the same Docker engine serves as the other machine."""
    pack, unpack = blocks(project_root, "backup", "Move to another machine", compose=True)
    type_lines(folder, pack)
    subprocess.run(["docker", "compose", "down", "--volumes"], cwd=folder, check=True)
    new = clone(project_root, tmp_path / "clone")
    for name in (".env", "move.backup"):
        shutil.copy(folder / name, new)
    shutil.copytree(folder / "tls", new / "tls")
    *restore, confirm = unpack.splitlines()

    type_lines(new, "\n".join(restore))
    eventually(lambda: problems(new) == '["copy"]')
    type_lines(new, confirm)

    eventually(lambda: problems(new) == "[]")
    users = "SELECT username FROM accounts_user WHERE is_superuser"
    assert type_lines(new, f"docker compose exec -T postgres psql -U guanwecom -tAc '{users}'") == "chief\n"
