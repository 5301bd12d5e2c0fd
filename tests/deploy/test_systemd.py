"""The units of systemd, checked by systemd itself."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.commands import UNITS
from tests.programs import needs, run_program

pytestmark = needs("systemd-analyze", package="systemd")
# Chromium has a sandbox of its own, which needs wider rights.
EXPOSED_AT_MOST = {
    **dict.fromkeys([*UNITS.values(), "guanwecom-backup.service"], 1.5),
    "guanwecom-worker-snapshots.service": 3.0,
}


@pytest.fixture
def units(project_root: Path, tmp_path: Path) -> Path:
    """A copy of the units whose programs exist."""
    folder = tmp_path / "units"
    shutil.copytree(project_root / "deploy" / "systemd", folder)
    for unit in folder.glob("*.service"):
        unit.write_text(re.sub(r"ExecStart=/opt/guanwecom/current/\S+/", "ExecStart=/usr/bin/env ", unit.read_text()))
    return folder


def analyze(units: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"}
    return run_program(["systemd-analyze", *words], env=env)


def test_systemd_understands_every_line(units: Path) -> None:
    paths = [str(path) for path in sorted(units.iterdir()) if path.is_file()]

    done = analyze(units, "verify", "--man=no", "--generators=no", *paths)

    assert (done.returncode, [line for line in done.stderr.splitlines() if "guanwecom" in line]) == (0, [])
    assert len(paths) == len(UNITS) + 4


@pytest.mark.parametrize("unit", EXPOSED_AT_MOST)
def test_what_a_service_may_do_is_little(units: Path, unit: str) -> None:
    """Read systemd's own number, from 0 (nothing) to 10 (everything)."""
    name = unit.replace("@.", "@1.")
    if name != unit:
        shutil.copy(units / unit, units / name)

    done = analyze(units, "security", "--offline=true", f"--threshold={EXPOSED_AT_MOST[unit] * 10:.0f}", name)

    assert done.returncode == 0, done.stdout.splitlines()[-1:] + done.stderr.splitlines()[-3:]
