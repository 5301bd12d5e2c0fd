"""The message of a test run without Chromium."""

import os
import sys
from pathlib import Path

from tests.programs import run_program


def test_without_chromium_continuous_integration_fails(project_root: Path) -> None:
    """Run another pytest with servers of its own, even inside a worker of pytest-xdist."""
    ours = {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "TEST_DATABASE_URL", "TEST_RUN_FOLDER"}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= {"CI": "true", "CHROMIUM": "/nonexistent"}

    done = run_program([sys.executable, "-m", "pytest"], cwd=project_root, env=env)

    assert (done.returncode, done.stdout) == (4, "")
    assert "No Chromium found: the browser tests cannot run, and CI=true asks for them." in done.stderr
