"""Programs of others to test the sandbox with: npm packages."""

import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.sandbox_process import ROOT

NPM_PACKAGES = ("@wecom/jssdk@2.4.4", "axe-core@4.14.1")
_NPM_FOLDER = ROOT / ".cache" / "npm"


def missing(reason: str) -> None:
    """Skip the test and say why; in continuous integration, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def npm_modules() -> Path:
    """Return the folder node_modules with NPM_PACKAGES, installed once into .cache/."""
    failure = _install_npm_packages()
    if failure:
        missing(failure)
    return _NPM_FOLDER / "node_modules"


@cache
def _install_npm_packages() -> str:
    """Return why the packages are missing, or "". Pytest's workers try in turn, once a run."""
    wanted = " ".join(NPM_PACKAGES)
    mark = _NPM_FOLDER / "installed"
    if shutil.which("npm") is None:
        return "npm is not installed: WeCom's own packages were not tried"
    _NPM_FOLDER.mkdir(parents=True, exist_ok=True)
    with (_NPM_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
            return ""
        command = ["npm", "install", "--prefix", str(_NPM_FOLDER), "--no-audit", "--no-fund", "--ignore-scripts"]
        command += ["--fetch-retries", "1", "--fetch-timeout", "30000"]
        try:
            subprocess.run([*command, *NPM_PACKAGES], capture_output=True, text=True, timeout=120, check=True)
        except subprocess.TimeoutExpired:
            return "npm could not install WeCom's own packages within two minutes"
        except subprocess.CalledProcessError as error:
            return f"npm could not install WeCom's own packages: {error.stderr[-500:]}"
        mark.write_text(wanted, encoding="utf-8")
    return ""
