"""Programs that others wrote, to hold against the sandbox: packages of npm, Prometheus Alertmanager."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sandbox import ROOT

NPM_PACKAGES = ("@wecom/crypto@1.0.1", "@wecom/jssdk@2.4.4", "axe-core@4.14.1")
_NPM_FOLDER = ROOT / ".cache" / "npm"


def missing(reason: str) -> None:
    """Skip the test and say why; where continuous integration runs, that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def npm_modules() -> Path:
    """The folder node_modules with NPM_PACKAGES, installed once and kept in .cache/."""
    wanted = " ".join(NPM_PACKAGES)
    mark = _NPM_FOLDER / "installed"
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return _NPM_FOLDER / "node_modules"
    if shutil.which("npm") is None:
        missing("npm is not installed: WeCom's own packages were not tried")
    _NPM_FOLDER.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--prefix", str(_NPM_FOLDER), "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run([*command, *NPM_PACKAGES], capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        missing(f"npm could not install WeCom's own packages: {done.stderr[-500:]}")
    mark.write_text(wanted, encoding="utf-8")
    return _NPM_FOLDER / "node_modules"


def alertmanager() -> str:
    """Alertmanager's program, as Debian names it or as Prometheus does."""
    names = (os.environ.get("ALERTMANAGER"), "prometheus-alertmanager", "alertmanager")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        missing("Alertmanager is not installed (Debian: prometheus-alertmanager): it was not tried")
    return str(found)
