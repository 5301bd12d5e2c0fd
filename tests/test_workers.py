"""In which order the workers of pytest-xdist get the files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.workers import DIVIDED, UNDIVIDED

SMALL = "def test_small(): pass"
MIXED = f"""
import pytest
{SMALL}
@pytest.mark.processes
def test_heavy(): pass
"""
LONG = f"""
import pytest
@pytest.mark.long
{SMALL}
"""
MANY = """
import pytest
@pytest.mark.parametrize("number", range(100))
def test_one(number): pass
"""


def run(root: Path, tests: Path, workers: int) -> list[tuple[str, ...]]:
    """The worker, the file and the rest of each test's name, in the order of their ends."""
    (tests / "pytest.ini").write_text("[pytest]\nmarkers =\n  processes: starts processes\n  long: takes long\n")
    options = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder", "-v", "--rootdir", str(tests)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "tests.workers", *options, str(tests)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return re.findall(r"\[(gw\d)\].* PASSED (\S+)\.py::(\S+)", done.stdout)


def test_files_with_heavy_tests_begin_and_stay_together_and_long_ones_are_next(
    tmp_path: Path, project_root: Path
) -> None:
    for name, text in {"a": SMALL, "b": MIXED, "c": SMALL, "d": MIXED, "e": LONG}.items():
        (tmp_path / f"test_{name}.py").write_text(text)

    ran = [(path[-1], name.removeprefix("test_")) for _, path, name in run(project_root, tmp_path, workers=1)]

    assert ran == [
        *(("b", "small"), ("b", "heavy"), ("d", "small"), ("d", "heavy")),
        *(("e", "small"), ("a", "small"), ("c", "small")),
    ]


def test_workers_share_a_divided_file_and_no_other(tmp_path: Path, project_root: Path) -> None:
    divided = next(iter(DIVIDED))
    (tmp_path / divided).parent.mkdir()
    for path in (divided, "tests/test_other.py"):
        (tmp_path / path).write_text(MANY)

    ran = run(project_root, tmp_path, workers=2)

    assert len(ran) == len(set(ran)) == 200
    by_file = {path.rpartition("/")[2]: set[str]() for _, path, _ in ran}
    for worker, path, _ in ran:
        by_file[path.rpartition("/")[2]].add(worker)
    assert {name: len(workers) for name, workers in by_file.items()} == {Path(divided).stem: 2, "test_other": 1}


def test_an_undivided_folder_stays_with_one_worker(tmp_path: Path, project_root: Path) -> None:
    folder = tmp_path / UNDIVIDED[0]
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"test_{name}.py").write_text(MANY)
    (tmp_path / "test_c.py").write_text(MANY)

    ran = run(project_root, tmp_path, workers=2)

    assert len(ran) == 300
    assert len({worker for worker, path, _ in ran if UNDIVIDED[0] in path}) == 1


def test_the_files_and_folders_are_there(project_root: Path) -> None:
    assert [path for path in (*DIVIDED, *UNDIVIDED) if not (project_root / path).exists()] == []
