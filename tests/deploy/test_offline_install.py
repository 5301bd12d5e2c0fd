"""The offline bundle, installed and upgraded on a Debian without a network, under its own systemd."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.guides import blocks, inline_commands
from tests.deploy.machine import NEEDED, PACKAGES, Machine, booted, make_debian
from tests.e2e.waiting import eventually
from tests.nightly import nightly

pytestmark = [
    nightly,
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]
PASSWORD = "invented-for-this-test"
SERVICES = ("web@1", "web@2", "worker-urgent", "worker", "worker-data", "worker-charts", "beat")
# Requests through nginx until the file /run/over exists; prints how often each answer came.
TRAFFIC = """
import collections, http.client, os, ssl
seen, trusting = collections.Counter(), ssl._create_unverified_context()
while not os.path.exists("/run/over"):
    for method in "GET", "POST":
        connection = http.client.HTTPSConnection("127.0.0.1", context=trusting, timeout=60)
        try:
            connection.request(method, "/login/", headers={"Host": "bi.example.com"})
            seen[method, connection.getresponse().status] += 1
        except (OSError, http.client.HTTPException) as error:
            seen[method, type(error).__name__] += 1
        connection.close()
print(dict(seen))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """The bundle; BUNDLE names an existing one."""
    if "BUNDLE" in os.environ:
        return Path(os.environ["BUNDLE"])
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "tools.bundle", "--output", str(folder)], cwd=project_root, check=True)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_debian(tmp_path_factory.mktemp("debian"))


@contextmanager
def started(debian: Path, folder: Path, archive: Path) -> Iterator[Machine]:
    """Start a machine with the packages of the guide, and the bundle in root's folder."""
    with booted(debian, folder) as machine:
        for name in ("postgresql", "valkey-server", "nginx"):
            eventually(lambda name=name: not machine.run("systemctl", "is-active", name, check=False).returncode)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        shutil.copy(archive, machine.root / "root")
        yield machine


@pytest.fixture(scope="module")
def machine(debian: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with started(debian, tmp_path_factory.mktemp("machine"), archive) as machine:
        yield machine


def engine(machine: Machine) -> str:
    settings = (machine.root / "etc/guanwecom/.env").read_text()
    (token,) = re.findall(r"^METRICS_TOKEN=(.+)$", settings, re.MULTILINE)
    headers = ["-H", "Host: bi.example.com", "-H", f"Authorization: Bearer {token}"]
    return machine.run("curl", "-sk", *headers, "https://127.0.0.1/healthz/engine", check=False).stdout


def states(machine: Machine) -> set[str]:
    names = [f"guanwecom-{name}" for name in SERVICES]
    return set(machine.run("systemctl", "is-active", *names, check=False).stdout.split())


def test_the_guide_installs_the_bundle_without_a_network(machine: Machine, project_root: Path, archive: Path) -> None:
    """Type the section without internet line by line, then the rest of the section with systemd."""
    _made, unpacked = blocks(project_root, "install", "Without internet")
    (with_systemd,) = blocks(project_root, "install", "On a Linux machine with systemd")
    packages, dry_run, install, first_administrator = with_systemd.splitlines()
    assert set(packages.split()[2:]) <= {*PACKAGES, "nginx"}  # nginx-light contains nginx
    assert unpacked.splitlines()[-1] == install
    assert machine.run("ip", "route").stdout == ""

    last_words = machine.type(f"tar -xzf guanwecom-*.tar.gz && cd guanwecom-*/\n{dry_run}\n")
    assert "+ useradd" in last_words
    assert not (machine.root / "opt/guanwecom").exists()
    last_words = machine.type(f"rm -rf guanwecom-*/\n{unpacked}")

    assert last_words.splitlines()[-1].endswith(f": {first_administrator}")
    # The guide's sentence below the packages; without this, each command warns (notifications.W002).
    machine.type("echo 'save \"\"' >> /etc/valkey/valkey.conf && systemctl restart valkey-server")
    said = machine.answer(
        first_administrator, [("Username", "chief"), ("Email", ""), ("Password", PASSWORD), ("again", PASSWORD)]
    )
    assert "Superuser created successfully." in said
    eventually(lambda: '"problems": []' in engine(machine))
    assert states(machine) == {"active"}
    assert machine.run("stat", "-c", "%a %U:%G", "/etc/guanwecom/.env").stdout == "640 root:guanwecom\n"
    commit = archive.name.partition("+g")[2][:7]
    assert f"to 1.1.0+g{commit}." in machine.run("guanwecom", "upgrade", "--check").stdout
    assert f"guanwecom-1.1.0+g{commit}-linux-" in archive.name


def test_the_script_upgrades_under_traffic(machine: Machine) -> None:
    settings = (machine.root / "etc/guanwecom/.env").read_text()
    first = (machine.root / "opt/guanwecom/current").readlink()

    # One more comment makes another version.
    machine.type(f"cd guanwecom-*/ && echo '# newer' >> manage.py && {RENEWED}")
    traffic = machine.start("python3", "-c", TRAFFIC)
    again = machine.type("cd guanwecom-*/ && deploy/install.sh")
    (machine.root / "opt/guanwecom/current").readlink()
    machine.run("touch", "/run/over")
    seen = ast.literal_eval(traffic.communicate()[0])

    assert seen.keys() == {("GET", 200), ("POST", 403)}  # a form without its token is refused
    assert "are there already, and stay" in again
    assert (machine.root / "etc/guanwecom/.env").read_text() == settings
    assert (machine.root / "opt/guanwecom/current").readlink() != first
    eventually(lambda: '"problems": []' in engine(machine))
    assert states(machine) == {"active"}


def test_the_guide_backs_up_and_restores(machine: Machine, project_root: Path) -> None:
    """Type each block of the guide in order, whatever root has exported."""
    (upgrade,) = blocks(project_root, "backup", "Upgrade")
    (backup,) = blocks(project_root, "backup", "Back up")
    (restore,) = blocks(project_root, "backup", "Restore")
    (copy,) = blocks(project_root, "backup", "A restored copy does not send")
    (support,) = blocks(project_root, "backup", "A file for support")
    assert "No migration is pending." in machine.type(f"export LOG_LEVEL=nonsense\n{upgrade}")

    machine.run("systemctl", "start", "guanwecom-backup.service")
    assert "guanwecom-backup.timer" in machine.run("systemctl", "list-timers").stdout
    assert len(list((machine.root / "var/backups/guanwecom").glob("nightly-*.backup"))) == 1
    machine.type(backup)
    assert "It is a copy: nothing is sent from it." in machine.type(restore)
    eventually(lambda: '"problems": []' in engine(machine))
    assert states(machine) == {"active"}

    assert machine.type(copy).splitlines()[0].startswith("This database is the real installation")
    machine.type(support)
    assert (machine.root / "var/backups/guanwecom/support.zip").stat().st_size > 1000


def test_every_command_that_a_guide_names_runs_as_printed(machine: Machine, project_root: Path) -> None:
    # Other tests type these in blocks, or the sentence leaves an argument out.
    elsewhere = ("backup", "restore", "installation", "support_bundle", "upgrade", "createsuperuser", "init_env")
    commands = sorted(line for line in inline_commands(project_root) if line.split()[1] not in elsewhere)
    assert len(commands) > 10

    for command in commands:
        line = command.replace("USERNAME", "chief")
        if line.startswith("guanwecom changepassword"):
            assert "successfully" in machine.answer(line, [("Password", f"{PASSWORD}2"), ("again", f"{PASSWORD}2")])
        elif line.startswith("guanwecom reset_second_factor"):  # this person has no authenticator app
            done = machine.run(*line.split(), check=False)
            assert (done.returncode, done.stderr) == (1, "CommandError: chief has no authenticator app.\n")
        else:
            machine.type(line)


def test_the_command_is_for_root_and_for_its_own_user(machine: Machine) -> None:
    refused = machine.run("setpriv", "--reuid", "nobody", "--clear-groups", "guanwecom", "check", check=False)
    assert (refused.returncode, refused.stderr) == (2, "guanwecom: run it as root / 请以 root 身份运行\n")
    machine.run("setpriv", "--reuid", "guanwecom", "--regid", "guanwecom", "--init-groups", "guanwecom", "check")


def test_the_guide_moves_the_product_to_another_machine(
    machine: Machine, debian: Path, archive: Path, project_root: Path, tmp_path: Path
) -> None:
    pack, unpack, confirm = blocks(project_root, "backup", "Move to another machine")
    machine.type(pack)
    with started(debian, tmp_path, archive) as new:
        shutil.copy(machine.root / "root/move.tar.gz", new.root / "root")
        new.type("tar -xzf guanwecom-*.tar.gz")
        (folder,) = new.type("echo /root/guanwecom-*/").split()

        new.type(unpack, folder=folder)

        assert new.run("guanwecom", "installation", check=False).returncode == 3
        eventually(lambda: '"problems": ["copy"]' in engine(new))
        new.type(confirm)
        eventually(lambda: '"problems": []' in engine(new))
        assert states(new) == {"active"}
        chief = "SELECT username FROM accounts_user WHERE is_superuser"
        found = new.run("setpriv", "--reuid", "postgres", "--clear-groups", "psql", "-tAc", chief, "guanwecom")
        assert found.stdout == "chief\n"


RENEWED = r"find . -type f ! -name SHA256SUMS | sed 's|^\./||' | sort | xargs -d '\n' sha256sum > SHA256SUMS"
