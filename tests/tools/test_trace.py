"""How hard the code is to follow, measured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tools.trace import PACKAGES, Trace, room_of


def test_no_way_enters_more_files_and_rooms_than_it_may(project_root: Path) -> None:
    """Another pytest, with a database of its own on the server of this run."""
    ours = {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"}
    environ = {name: value for name, value in os.environ.items() if name not in ours}

    done = subprocess.run(
        [sys.executable, "-m", "tools.trace"],
        cwd=project_root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    sys.stdout.write(done.stdout)


@pytest.mark.parametrize(
    ("file", "room"),
    [
        ("accounts/views/wecom.py", "accounts/views"),
        ("notifications/delivery/runs/scheduler.py", "notifications/delivery"),
        ("notifications/tasks.py", "notifications/tasks.py"),
    ],
)
def test_a_room_is_an_entry_of_an_apps_root(file: str, room: str) -> None:
    assert room_of(file) == room


def test_only_what_runs_below_the_start_is_counted(project_root: Path) -> None:
    other, start, below = (
        _function_in(project_root / PACKAGES[0] / f"{name}.py") for name in ("other", "start", "below")
    )
    files: set[str] = set()

    sys.setprofile(Trace.recorder(files, f"{PACKAGES[0]}/start.py:run"))
    try:
        other(len)
        start(below)
        other(len)
    finally:
        sys.setprofile(None)

    assert files == {f"{PACKAGES[0]}/start.py", f"{PACKAGES[0]}/below.py"}


def _function_in(file: Path) -> Callable[[object], object]:
    names: dict[str, Any] = {}
    text = "def run(function):\n    return function(()) if function is len else function(len)\n"
    exec(compile(text, str(file), "exec"), names)  # noqa: S102  # the line above: a function that seems to stand in a file of ours
    return cast("Callable[[object], object]", names["run"])
