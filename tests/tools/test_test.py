"""`make test`: which runs it makes, and what it says where there is no Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
    monkeypatch.setattr(tools.test, "run_pytest", lambda database, _: {"sqlite": 1, "postgresql": 0}[database])

    assert tools.test.main(["sqlite", "postgresql"]) == 1


@pytest.mark.parametrize(("status", "expected"), [(-15, 15), (2, 2)])
def test_a_run_that_was_stopped_is_the_last(monkeypatch: pytest.MonkeyPatch, status: int, expected: int) -> None:
    runs: list[str] = []

    def run_pytest(database: str, _: list[str]) -> int:
        runs.append(database)
        return status

    monkeypatch.setattr(tools.test, "run_pytest", run_pytest)

    assert tools.test.main(["sqlite", "postgresql"]) == expected
    assert runs == ["sqlite"]


@pytest.mark.parametrize("arguments", [(), ("mysql",), ("--", "sqlite")])
def test_other_databases_are_refused(project_root: Path, arguments: tuple[str, ...]) -> None:
    done = run(project_root, *arguments)

    assert (done.returncode, done.stderr.split(":")[0]) == (2, "usage")


@pytest.mark.parametrize(("named", "found"), [("sh", True), ("no-such-browser", False)])
def test_a_named_chromium_counts_and_no_other(monkeypatch: pytest.MonkeyPatch, named: str, found: bool) -> None:
    monkeypatch.setenv("CHROMIUM", named)

    assert (find_chromium() is not None) is found
