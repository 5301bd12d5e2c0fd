"""The message of a test run without Chromium."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chromium import find_chromium


def run(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run another pytest with servers of its own, even inside a worker of pytest-xdist."""
    ours = {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "TEST_DATABASE_URL", "TEST_RUN_FOLDER"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=root,
        env={name: value for name, value in os.environ.items() if name not in ours} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_chromium_continuous_integration_fails(project_root: Path) -> None:
    done = run(project_root, CI="true", CHROMIUM="/nonexistent")

    assert (done.returncode, done.stdout) == (4, "")
    assert "No Chromium found: the browser tests cannot run, and CI=true asks for them." in done.stderr


@pytest.mark.parametrize(("named", "found"), [("sh", True), ("no-such-browser", False)])
def test_a_named_chromium_counts_and_no_other(monkeypatch: pytest.MonkeyPatch, named: str, found: bool) -> None:
    monkeypatch.setenv("CHROMIUM", named)

    assert (find_chromium() is not None) is found
