"""`make test`: which runs it makes, and what it says where there is no Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tools.test
from tests.services import find_chromium


def run(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.test", *arguments],
        cwd=root,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_chromium_a_notice_is_printed_and_browser_tests_are_skipped(project_root: Path) -> None:
    done = run(
        project_root, "sqlite", "--", "-n0", "tests/e2e", "-m", "e2e", CI="", CHROMIUM="/nonexistent", PYTEST_ADDOPTS=""
    )

    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("No Chromium found: the browser tests are skipped. Install one")
    last = done.stdout.rstrip().splitlines()[-1]
    assert re.search(r"\d+ skipped, \d+ deselected in ", last)
    assert "passed" not in last


def test_without_chromium_continuous_integration_fails(project_root: Path) -> None:
    done = run(project_root, "sqlite", CI="true", CHROMIUM="/nonexistent")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No Chromium found: the browser tests cannot run, and CI=true asks for them.")


def test_each_database_gets_a_run_and_no_test_two_without_a_reason(project_root: Path) -> None:
    chosen = "database_is_the_one or this_machine_is_loopback"
    done = run(project_root, "sqlite", "postgresql", "--", "-n0", "tests/test_conftest.py", "-k", chosen)

    lines = done.stdout.splitlines()
    told = [line for line in lines if re.search(r"^database: |\d passed|are left to|^ +\d+ tests$", line)]
    assert done.returncode == 0, done.stdout
    assert [re.sub(r"^=+ |,.*", "", line) for line in told] == [
        *("database: sqlite", "7 passed"),
        *("database: postgresql", "6 tests are left to the other pass:", "      6 tests", "1 passed"),
    ]
    assert told[-1] == lines[-1]


def test_a_failed_run_is_not_hidden_by_one_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = {"sqlite": 1, "postgresql": 0}
    monkeypatch.setattr(
        tools.test, "command_of", lambda database, *_: python(f"raise SystemExit({statuses[database]})")
    )

    assert tools.test.main(["sqlite", "postgresql"]) == 1


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


HELPERS = """
import os, sys, time
from pathlib import Path

def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)

def work_until_interrupted(name, seconds=0):
    try:
        Path(name).touch()
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(seconds)
        sys.exit(2)
"""


@pytest.fixture
def at_once(project_root: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Small programs where pytest would be, in a process group of their own; the last line has their statuses."""

    def begin(*codes: str) -> subprocess.Popen[str]:
        commands = [python(f"{HELPERS}os.chdir({str(tmp_path)!r})\n{code}") for code in codes]
        code = f"from tools.test import run_at_once; print(run_at_once({commands!r}))"
        deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # as a shell begins what it puts into the background
        return subprocess.Popen(
            [*deaf, *python(code)], cwd=project_root, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    return begin


def test_runs_are_made_at_once_and_speak_one_after_the_other(at_once: Callable[..., subprocess.Popen[str]]) -> None:
    first = "wait_for('second'); Path('first').touch(); wait_for('third'); print('the first one')"
    second = "print('the second one', flush=True); Path('second').touch(); wait_for('first'); sys.exit('with an error')"
    third = "print('the third one', flush=True); Path('third').touch()"

    said, _ = at_once(first, second, third).communicate(timeout=120)

    assert said.splitlines() == ["the first one", "the second one", "with an error", "the third one", "[0, 1, 0]"]


@pytest.mark.parametrize(("end", "status"), [("sys.exit(2)", 2), ("os.kill(os.getpid(), 15)", -15)])
def test_a_run_that_is_stopped_stops_the_next(
    at_once: Callable[..., subprocess.Popen[str]], end: str, status: int
) -> None:
    said, _ = at_once(f"wait_for('begun'); {end}", "work_until_interrupted('begun')").communicate(timeout=120)

    assert said.splitlines() == [f"[{status}, 2]"]


def test_after_ctrl_c_all_runs_end_in_their_own_time(
    at_once: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    begun = at_once("work_until_interrupted('first', 0.5)", "work_until_interrupted('second', 0.5)")
    while not ((tmp_path / "first").exists() and (tmp_path / "second").exists()):
        time.sleep(0.01)

    os.killpg(begun.pid, signal.SIGINT)

    said, _ = begun.communicate(timeout=120)
    assert said.splitlines() == ["[2, 2]"]


@pytest.mark.parametrize("arguments", [(), ("mysql",), ("--", "sqlite")])
def test_other_databases_are_refused(project_root: Path, arguments: tuple[str, ...]) -> None:
    done = run(project_root, *arguments)

    assert (done.returncode, done.stderr.split(":")[0]) == (2, "usage")


@pytest.mark.parametrize(("named", "found"), [("sh", True), ("no-such-browser", False)])
def test_a_named_chromium_counts_and_no_other(monkeypatch: pytest.MonkeyPatch, named: str, found: bool) -> None:
    monkeypatch.setenv("CHROMIUM", named)

    assert (find_chromium() is not None) is found
