"""Checks without tests: `python -m tools.lint` runs all of them and then names those that failed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.services import ENVIRON

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DJANGO_APPS = ("guanwecom", "integrations", "accounts", "notifications")
APPS = (*DJANGO_APPS, "sandbox/wecom_sandbox")
CODE = (*APPS, "tools", "tests", "benchmarks")
SCRIPTS = ("install.sh", "guanwecom", "backup.sh", "compose/restart-web.sh")
CHECKS: dict[str, tuple[str, ...]] = {
    "format": ("ruff", "format", "--check", "--quiet", "."),
    "rules": ("ruff", "check", "--quiet", "."),
    "sizes": ("tools.sizes",),
    "names": ("tools.names",),
    "types": ("mypy", *(folder for folder in CODE if any((ROOT / folder).glob("*.py")))),
    "import contracts": ("importlinter.cli", "lint"),
    "security": ("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", "-ll", *APPS),
    "templates": ("djlint", "--lint", "--quiet", *DJANGO_APPS),
    "sandbox templates": ("djlint", "--lint", "--quiet", "sandbox/wecom_sandbox"),
    "migrations": ("django", "makemigrations", "--check", "--dry-run", "--settings", "tools.static_settings"),
    "system checks": ("django", "check", "--fail-level", "WARNING", "--settings", "tools.static_settings"),
    "translations": ("tools.catalogues", "check"),
    "pins": ("tools.pins",),
    "shell": ("shellcheck", *(f"deploy/{name}" for name in SCRIPTS), ".ci/run"),
    "Dockerfiles": ("hadolint", "Dockerfile", "sandbox/Dockerfile"),
    "licences": ("tools.licences",),
}
# Programs of .venv that cannot be run by `python -m`.
PROGRAMS = {"shellcheck", "hadolint"}


def main() -> int:
    failed = [name for name, command in CHECKS.items() if not run_check(name, command)]
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


def run_check(name: str, command: tuple[str, ...]) -> bool:
    """Run one check with the test suite's environment. Its output is shown only if it fails."""
    started = time.monotonic()
    name_of_program, *words = command
    program = [str(BIN / name_of_program)] if name_of_program in PROGRAMS else [sys.executable, "-m", name_of_program]
    done = subprocess.run(
        [*program, *words],
        cwd=ROOT,
        env=os.environ | ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"{name}: {'ok' if done.returncode == 0 else 'FAILED'} ({time.monotonic() - started:.1f} s)", flush=True)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
