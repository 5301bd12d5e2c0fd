"""The offline bundle, installed and upgraded on a Debian without a network, under its own systemd."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import NEEDED, Machine, booted
from tests.e2e.waiting import eventually
from tests.nightly import nightly

pytestmark = [
    nightly,
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]
SITE = ("--site", "https://bi.example.com")
SERVICES = ("web@1", "web@2", "worker-urgent", "worker", "worker-data", "worker-charts", "beat")
# Asks through nginx until the file /run/over is there, and prints how often each answer came.
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
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "tools.bundle", "--output", str(folder)], cwd=project_root, check=True)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(tmp_path_factory.mktemp("machine")) as machine:
        for name in ("postgresql", "valkey-server", "nginx"):
            eventually(lambda name=name: not machine.run("systemctl", "is-active", name, check=False).returncode)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        yield machine


def engine(machine: Machine) -> str:
    """What /healthz/engine says through nginx."""
    settings = (machine.root / "etc/guanwecom/.env").read_text()
    (token,) = re.findall(r"^METRICS_TOKEN=(.+)$", settings, re.MULTILINE)
    headers = ["-H", "Host: bi.example.com", "-H", f"Authorization: Bearer {token}"]
    return machine.run("curl", "-sk", *headers, "https://127.0.0.1/healthz/engine", check=False).stdout


def states(machine: Machine) -> set[str]:
    names = [f"guanwecom-{name}" for name in SERVICES]
    return set(machine.run("systemctl", "is-active", *names, check=False).stdout.split())


def test_the_bundle_installs_without_a_network_and_upgrades_under_traffic(machine: Machine, archive: Path) -> None:
    shutil.copy(archive, machine.root / "root/bundle.tar.gz")
    machine.run("tar", "-xzf", "/root/bundle.tar.gz", "-C", "/root")
    (script,) = machine.run("sh", "-c", "echo /root/guanwecom-*/deploy/install.sh").stdout.split()
    assert machine.run("ip", "route").stdout == ""

    machine.run(script, *SITE)

    eventually(lambda: '"problems": []' in engine(machine))
    assert states(machine) == {"active"}
    assert machine.run("stat", "-c", "%a %U:%G", "/etc/guanwecom/.env").stdout == "640 root:guanwecom\n"
    settings = (machine.root / "etc/guanwecom/.env").read_text()
    first = (machine.root / "opt/guanwecom/current").readlink()

    # Another version: one comment more.
    machine.run("sh", "-c", f"cd {Path(script).parent.parent} && echo '# newer' >> manage.py && {RENEWED}")
    traffic = machine.start("python3", "-c", TRAFFIC)
    again = machine.run(script).stdout
    (machine.root / "opt/guanwecom/current").readlink()
    machine.run("touch", "/run/over")
    seen = ast.literal_eval(traffic.communicate()[0])

    assert seen.keys() == {("GET", 200), ("POST", 403)}  # a form without its token is refused
    assert "are there already, and stay" in again
    assert (machine.root / "etc/guanwecom/.env").read_text() == settings
    assert (machine.root / "opt/guanwecom/current").readlink() != first
    eventually(lambda: '"problems": []' in engine(machine))
    assert states(machine) == {"active"}


RENEWED = r"find . -type f ! -name SHA256SUMS | sed 's|^\./||' | sort | xargs -d '\n' sha256sum > SHA256SUMS"
