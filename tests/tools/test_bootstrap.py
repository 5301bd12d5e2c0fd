"""Set-up on machines whose Pythons are broken in ways seen on real ones. No package is downloaded here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import run_program

MINOR = sys.version_info.minor
# A distribution in the sandbox's place that builds without another package.
PYPROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """import zipfile
NAME, FOLDER = "stand_in-1-py3-none-any.whl", "stand_in-1.dist-info"
FILES = {"METADATA": "Metadata-Version: 2.1\\nName: stand-in\\nVersion: 1\\n",
         "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n", "RECORD": ""}
def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/{NAME}", "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(f"{FOLDER}/{name}", text)
    return NAME
"""
NO_ENSUREPIP = f'case "$*" in "-m venv"*) exit 1;; esac; exec "{sys._base_executable}" "$@"'  # type: ignore[attr-defined]  # CPython's own name
NEWER = [minor for minor in (14, 13, 12, 11) if minor > MINOR]


class Machine:
    """A clone of the project with empty requirement files, a PATH of its own, and the set-up command."""

    def __init__(self, folder: Path, project_root: Path) -> None:
        self.clone, self.bin, self.home = folder / "clone", folder / "bin", folder / "home"
        sets = ("requirements", "requirements/snapshots", "requirements/demo", "requirements/dev")
        for name, text in {
            "tools/catalogues.py": "import sys; print('catalogues', *sys.argv[1:])",
            "sandbox/pyproject.toml": PYPROJECT,
            "sandbox/backend.py": BACKEND,
            **{f"{one}.txt": "" for one in sets},
        }.items():
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / name).write_text(text)
        self.home.mkdir()
        self.bin.mkdir()
        shutil.copy(project_root / "tools" / "bootstrap.sh", self.clone / "tools")
        for program in ("sh", "cat", "cksum", "dirname", "grep", "mktemp", "rm"):
            found = shutil.which(program)
            assert found is not None
            (self.bin / program).symlink_to(found)

    def add_program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def set_up(self, what: str = "demo") -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.bin), "HOME": str(self.home), "PIP_NO_INDEX": "1"}
        return run_program([self.clone / "tools" / "bootstrap.sh", what], env=environ)


@pytest.fixture
def machine(tmp_path: Path, project_root: Path) -> Machine:
    return Machine(tmp_path, project_root)


INSTALLS = "Installing requirements/demo.txt into .venv"


def test_sets_up_once_and_again_when_what_it_installs_has_changed(machine: Machine) -> None:
    """Pass over Pythons that do not run, and one without ensurepip."""
    for minor in NEWER:
        machine.add_program(f"python3.{minor}", f"echo 'pyenv: python3.{minor}: command not found' >&2; exit 127")
    machine.add_program(f"python3.{MINOR}", NO_ENSUREPIP)
    # The Python that runs this test, outside its virtual environment.
    machine.add_program("python3", f'exec "{sys._base_executable}" "$@"')  # type: ignore[attr-defined]  # CPython's own name
    demo = machine.clone / "requirements/demo.txt"

    first, second = machine.set_up(), machine.set_up()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout.startswith(f"Python: {machine.bin}/python3 (3.{MINOR}.")
    assert INSTALLS in first.stdout
    assert second.stdout == "catalogues compile\n"

    demo.write_text("no-such-package==1\n")
    assert machine.set_up().returncode != 0
    assert INSTALLS in machine.set_up().stdout, "what has failed is tried again"

    demo.write_text("# changed\n")
    assert "Installing requirements/dev.txt" in machine.set_up("dev").stdout
    assert machine.set_up("demo").stdout == "catalogues compile\n", "the set of the tests contains that of the demo"


def test_a_machine_without_ensurepip_is_told_the_package(machine: Machine) -> None:
    machine.add_program("python3", NO_ENSUREPIP)

    refused = machine.set_up()

    assert refused.returncode == 1
    assert refused.stderr == (
        "No usable Python found: guanwecom needs Python 3.11, 3.12, 3.13 or 3.14 with venv and pip.\n"
        f"  {machine.bin}/python3 cannot make a virtual environment with pip; "
        f"on Debian and Ubuntu the package python3.{MINOR}-venv is missing:\n"
        f"    apt install python3.{MINOR}-venv\n"
    )
    assert not (machine.clone / ".venv").exists()
    assert machine.set_up("production").stderr == "usage: tools/bootstrap.sh demo|dev\n"
