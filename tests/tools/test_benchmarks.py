"""The table at the end of all benchmarks, of stand-in programs that measure nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import goals, runner
from benchmarks.__main__ import main, run
from benchmarks.goals import Goal

PROGRAM = """
import sys
from benchmarks.goals import Goal, report
sys.exit(0 if report([{goals}]) else 1)
"""
MEDIAN = "Goal.of('quick: median', {median}, '≤', 10, 'ms', digits=1)"
RATE = "Goal.of('quick: of the peer\\'s rate', 0.44, '≥', 0.5, digits=2)"
ROWS = "Goal.of('late: rows', 50000, '=', 50000)"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a program `quick`."""
    monkeypatch.delenv(goals.VARIABLE, raising=False)
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    shutil.copy(goals.__file__, folder)
    (folder / "__init__.py").touch()
    write(tmp_path, "quick", MEDIAN.format(median=7))
    return tmp_path


def write(repository: Path, name: str, *wanted: str) -> None:
    (repository / "benchmarks" / f"{name}.py").write_text(PROGRAM.format(goals=", ".join(wanted)))


def last_lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The table."""
    return capfd.readouterr().out.split("\n\n")[-1].splitlines()


def test_all_goals_stand_in_one_table(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(repository, "late", ROWS)

    assert run(["quick", "late"], root=repository) == 0
    assert last_lines(capfd) == [
        "work          | measured | wanted   | goal",
        "quick: median | 7.0 ms   | ≤ 10 ms  | met",
        "late: rows    | 50,000   | = 50,000 | met",
    ]


def test_a_program_that_breaks_off_has_missed_a_goal(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (repository / "benchmarks" / "late.py").write_text("raise SystemExit(3)")

    assert run(["late", "quick"], root=repository) == 3
    assert last_lines(capfd)[1:] == [
        "late: exit status | 3        | = 0     | MISSED",
        "quick: median     | 7.0 ms   | ≤ 10 ms | met",
    ]


def test_a_part_that_breaks_off_has_missed_a_goal(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a program that measures each part in a process of its own; the other parts have theirs."""
    write(repository, "parts", RATE)
    path = repository / "benchmarks" / "parts.py"
    path.write_text("import sys\nif 'broken' in sys.argv: raise SystemExit(3)\n" + path.read_text())
    monkeypatch.chdir(repository)
    monkeypatch.setenv(goals.VARIABLE, str(tmp_path / "goals.jsonl"))

    assert runner.each("parts", ["broken", "slow"]) == 3
    assert goals.reported(tmp_path / "goals.jsonl") == [
        Goal("parts broken: exit status", "3", "= 0", is_met=False),
        Goal("quick: of the peer's rate", "0.44", "≥ 0.5", is_met=False),
    ]


@pytest.mark.parametrize(
    ("measured", "sign", "is_met"),
    [
        *((10.0, "≤", True), (10.01, "≤", False), (float("nan"), "≤", False)),
        *((10.0, "<", False), (9.99, "<", True)),
        *((10.0, "≥", True), (9.99, "≥", False)),
        *((10.0, "=", True), (10.01, "=", False), (9.99, "=", False)),
    ],
)
def test_a_figure_is_compared_before_it_is_rounded(measured: float, sign: str, is_met: bool) -> None:
    assert Goal.of("work", measured, sign, 10).is_met is is_met


def test_what_is_not_there_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["no_such_program"])

    assert ended.value.code == 2
    assert "---" not in capfd.readouterr().out
