"""Make the bundle that installs guanwecom without internet: `python -m tools.bundle`.

dist/guanwecom-VERSION+gCOMMIT-linux-ARCH-pyXY.tar.gz holds the code of HEAD with compiled catalogues and static files,
every dependency as a wheel with its hash, their licences, a bill of materials, checksums, and deploy/install.sh.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from cryptography.fernet import Fernet

from tools import catalogues

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = "requirements/charts.txt"
CODE = (
    *("accounts", "guanwecom", "integrations", "notifications", "deploy", "docs", "manage.py", "gunicorn.conf.py"),
    *(".env.example", "pyproject.toml", REQUIREMENTS, "README.md", "README.zh-CN.md", "CHANGELOG.md", "LICENSE"),
)
# Includes the packages of REQUIREMENTS.
SNAPSHOTS = "requirements/snapshots.txt"
BUILT_GUIDES = "docs/_build/html"
# Beginnings of the names of licence files in wheels.
LICENCE_FILES = ("licen", "copying", "notice", "authors")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the bundle that installs without internet.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the folder to write to")
    parser.add_argument("--snapshots", action="store_true", help="with packages that take pictures of the BI's pages")
    options = parser.parse_args()
    output, requirements = options.output, SNAPSHOTS if options.snapshots else REQUIREMENTS
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    commit = head.stdout[:7]
    number = f"{project['version']}+g{commit}"
    name = f"guanwecom-{number}-linux-{platform.machine()}-py{python.replace('.', '')}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        folder.mkdir()
        archive_code = ["git", "archive", "HEAD", *CODE]  # only committed code
        code = subprocess.run(archive_code, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=code, check=True)
        (folder / "guanwecom/COMMIT").write_text(f"{commit}\n")
        # deploy/install.sh compares it with the machine's Python.
        (folder / "PYTHON").write_text(f"{python}\n")
        shutil.copy(ROOT / requirements, folder / "requirements")
        # Wheels for this platform and Python, each with a hash in the requirements.
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        download += ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / requirements)]
        subprocess.run([*download, "-d", str(folder / "wheels")], check=True)
        for app in catalogues.APPS:
            catalogues.compile_app(app, folder)
        # Invented values, which the settings require. They are not stored.
        environ = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": "invented for collectstatic, and not kept",
            "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "DATABASE_URL": "postgresql://build@/build",
            "VALKEY_URL": "redis://build/0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
        subprocess.run(collect, cwd=folder, env=environ, check=True)
        subprocess.run([sys.executable, "-m", "tools.guides"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        for tree in ("en", "zh-cn"):
            shutil.copytree(ROOT / BUILT_GUIDES / tree, folder / BUILT_GUIDES / tree)
        write_licences(folder)
        bill = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--short-PURLs"]
        bill += ["--pyproject", "pyproject.toml", "-o", str(folder / "sbom.cdx.json"), requirements]
        subprocess.run(bill, cwd=ROOT, check=True)
        write_checksums(folder)
        output.mkdir(parents=True, exist_ok=True)
        archive = output / f"{name}.tar.gz"
        pack(folder, archive)
    print(f"{archive} ({archive.stat().st_size // 1_000_000} MB)")
    return 0


def write_licences(folder: Path) -> None:
    """Write licences/INDEX.md with each dependency's licence, and the licence texts in the wheels."""
    target = folder / "licences"
    target.mkdir()
    lines = ["# Licences of the packages that guanwecom is installed with\n"]
    lines += ["| package | version | licence | texts |", "|---|---|---|---|"]
    for wheel in sorted((folder / "wheels").iterdir()):
        with zipfile.ZipFile(wheel) as archive:
            name, number, licence = describe_wheel(archive)
            within = [name for name in archive.namelist() if ".dist-info/" in name and not name.endswith("/")]
            texts = [name for name in within if Path(name).name.lower().startswith(LICENCE_FILES)]
            for member in texts:
                path = target / name / Path(member).name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(archive.read(member))
        shown = ", ".join(sorted({Path(member).name for member in texts})) or "none in the wheel"
        lines.append(f"| {name} | {number} | {licence} | {shown} |")
    (target / "INDEX.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def describe_wheel(wheel: zipfile.ZipFile) -> tuple[str, str, str]:
    """Return name, version and licence from a wheel's METADATA."""
    (path,) = (name for name in wheel.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA"))
    metadata = HeaderParser().parsestr(wheel.read(path).decode())
    classified = [value.rpartition(" :: ")[2] for value in metadata.get_all("Classifier", []) if value[:7] == "License"]
    first_line = (metadata["License"] or "unknown").partition("\n")[0]
    licence = metadata["License-Expression"] or "; ".join(classified) or first_line
    return metadata["Name"], metadata["Version"], licence


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS for `sha256sum --check` and deploy/install.sh."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in paths]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def pack(folder: Path, archive: Path) -> None:
    """Pack the folder; all files belong to root."""

    def give_to_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    part = archive.with_suffix(".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as packed:
        packed.add(folder, folder.name, filter=give_to_root)
    shutil.move(part, archive)


if __name__ == "__main__":
    sys.exit(main())
