"""Programs that tests take from the machine, and that a Debian with git, make and Python 3 may lack."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest


def needs(name: str, *, package: str = "") -> pytest.MarkDecorator:
    """Skip a test without this program, and name the program (and Debian's `package`, if that has another name).

    In continuous integration the test runs anyway and fails.
    """
    runs = shutil.which(name) is not None or os.environ.get("CI") == "true"
    reason = f"{name} is not installed" + (f" (Debian: {package})" if package else "")
    return pytest.mark.skipif(not runs, reason=reason)


def run_program(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, five minutes at most. Return its exit code and what it wrote."""
    return subprocess.run(command, text=True, check=False, **{"capture_output": True, "timeout": 300, **options})
