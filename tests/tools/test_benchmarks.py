"""The summary table of all benchmarks, with stand-in programs that measure nothing."""

import shutil
import tomllib
from pathlib import Path

import pytest
from django.apps import apps

from benchmarks import goals
from benchmarks.__main__ import run_benchmarks
from benchmarks.goals import Goal
from benchmarks.page_world import TABLES

PROGRAM = """
import sys
from benchmarks.goals import Goal, report_goals
sys.exit(0 if report_goals([{goals}]) else 1)
"""
MEDIAN = "Goal.of('quick: median', 7, '≤', 10, 'ms', digits=1)"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a program `quick`, and one that breaks off."""
    monkeypatch.delenv(goals.FILE_VARIABLE, raising=False)
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    shutil.copy(goals.__file__, folder)
    (folder / "__init__.py").touch()
    (folder / "quick.py").write_text(PROGRAM.format(goals=MEDIAN))
    (folder / "late.py").write_text("raise SystemExit(3)")
    return tmp_path


def test_goals_stand_in_one_table_and_a_program_that_breaks_off_has_missed_one(
    repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_benchmarks(["late", "quick"], root=repository) == 3

    assert capfd.readouterr().out.split("\n\n")[-1].splitlines() == [
        "work              | measured | wanted  | goal",
        "late: exit status | 3        | = 0     | MISSED",
        "quick: median     | 7.0 ms   | ≤ 10 ms | met",
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


def test_the_rows_of_the_pages_name_models_and_columns_that_exist() -> None:
    for table in tomllib.loads(TABLES.read_text(encoding="utf-8"))["table"]:
        columns = {field.column for field in apps.get_model(table["model"])._meta.concrete_fields}

        assert table["columns"].keys() <= columns, table["model"]
