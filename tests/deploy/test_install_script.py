"""deploy/install.sh: its dry run and its refusals. tests/deploy/test_offline_install.py runs it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import run_program

SITE = ("--site", "https://bi.example.com")


def install(root: Path, *options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": path or os.environ["PATH"], "PYTHON": str(root / ".venv/bin/python")}
    return run_program([root / "deploy/install.sh", *options], env=environ, cwd="/")


def test_dry_run_prints_each_step_and_touches_nothing(project_root: Path) -> None:
    done = install(project_root, "--dry-run", *SITE)

    assert (done.returncode, done.stderr) == (0, "")
    steps = re.findall(r"^== (\S+)", done.stdout, re.MULTILINE)
    assert " ".join(steps) == "user version settings certificate database command units site start done"
    assert "manage.py init_env --file /etc/guanwecom/.env --site https://bi.example.com --database" in done.stdout
    # It runs under its lock and after its checks; static files exist already, and only root may write them.
    assert re.search(
        r"^\+ setpriv .* manage.py upgrade --no-static$", done.stdout.replace("/manage", " manage"), re.MULTILINE
    )
    # A server without a locale would make a database that cannot hold Chinese.
    assert "createdb --owner guanwecom --encoding UTF8 --template template0 guanwecom\n" in done.stdout
    assert not Path("/opt/guanwecom").exists()
    assert not Path("/etc/guanwecom").exists()


def test_it_installs_every_unit_and_enables_what_every_installation_needs(project_root: Path) -> None:
    printed = install(project_root, "--dry-run", *SITE).stdout

    units = {path.name for path in (project_root / "deploy/systemd").iterdir() if path.is_file()}
    copied = re.search(r"^\+ install -m 644 (deploy/systemd/.*) /etc/systemd/system/$", printed, re.MULTILINE)
    assert copied is not None
    assert {Path(word).name for word in copied[1].split()} == units
    enabled = " ".join(re.findall(r"^\+ systemctl enable --quiet (.*)$", printed, re.MULTILINE))
    optional = {"guanwecom-worker-snapshots.service", "guanwecom-mail-door.service", "guanwecom-web@.service"}
    optional |= {"guanwecom-backup.service"}  # its timer starts it
    wanted = {name.removesuffix(".service") for name in units - optional} | {"guanwecom-web@1", "guanwecom-web@2"}
    assert set(enabled.split()) == wanted


def test_parts_can_be_left_out_or_added(project_root: Path) -> None:
    for option, absent in (("--no-nginx", ["nginx"]), ("--no-start", ["systemctl start", "restart"])):
        printed = install(project_root, "--dry-run", *SITE, option).stdout.splitlines()
        commands = [line for line in printed if line[:1] == "+"]
        assert [line for line in commands if any(word in line for word in absent)] == []

    printed = install(project_root, "--dry-run", *SITE, "--snapshots").stdout.splitlines()
    assert any(line.endswith("--require-hashes -r requirements/snapshots.txt") for line in printed)
    assert "+ systemctl enable --quiet guanwecom-worker-snapshots" in printed
    assert "+ systemctl start guanwecom-worker-snapshots" in printed


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (("--dry-run",), "--site is needed for the first installation"),
        (("--site",), "--site needs a value"),
        (("--sight", "x"), "--sight: no such option; --help lists them"),
    ],
)
def test_what_cannot_work_is_refused(project_root: Path, options: tuple[str, ...], refusal: str) -> None:
    done = install(project_root, *options)

    # The refusal comes first, before a machine without pg_dump is told what backups need.
    assert (done.returncode, done.stderr) == (2, f"install.sh: {refusal}\n")


def test_it_refuses_a_machine_without_systemd(project_root: Path, tmp_path: Path) -> None:
    for program in ("dirname", "sh"):
        found = shutil.which(program)
        assert found is not None
        (tmp_path / program).symlink_to(found)
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")  # root for every user who runs this test
    (tmp_path / "id").chmod(0o755)

    done = install(project_root, *SITE, path=str(tmp_path))

    assert (done.returncode, done.stderr) == (2, "install.sh: this machine has no systemd\n")


def test_a_damaged_bundle_is_refused(project_root: Path, tmp_path: Path) -> None:
    for name in ("deploy", "requirements"):
        (tmp_path / name).mkdir()
    shutil.copy(project_root / "deploy/install.sh", tmp_path / "deploy")
    for name in ("manage.py", "requirements/charts.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  manage.py\n")

    done = run_program([tmp_path / "deploy/install.sh", "--dry-run", *SITE])

    assert done.returncode == 2
    assert done.stderr.endswith("install.sh: the bundle is damaged: its checksums do not match\n")
    assert "== " not in done.stdout
