"""A measure of how hard the code is to follow."""

import os
import sys
from pathlib import Path

from tests.programs import run_program


def test_no_flow_enters_more_files_and_packages_than_it_may(project_root: Path) -> None:
    """Run another pytest, with a database of its own on the server of this run."""
    ours = {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"}
    environ = {name: value for name, value in os.environ.items() if name not in ours}

    done = run_program([sys.executable, "-m", "tools.trace"], cwd=project_root, env=environ)

    assert done.returncode == 0, done.stdout + done.stderr
    sys.stdout.write(done.stdout)
