"""In which order the workers of pytest-xdist get the files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SMALL = "def test_small(): pass"
MIXED = f"""
import pytest
{SMALL}
@pytest.mark.processes
def test_heavy(): pass
"""


def test_files_with_heavy_tests_begin_and_stay_together(tmp_path: Path, project_root: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  processes: starts processes\n")
    for name, text in {"a": SMALL, "b": MIXED, "c": SMALL, "d": MIXED}.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    options = ["-n", "1", "--dist", "loadfile", "--no-loadscope-reorder", "-v", "--rootdir", str(tmp_path)]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "tests.workers", *options, str(tmp_path)],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )

    ran = re.findall(r"PASSED \S*test_(\w)\.py::test_([a-z]+)", done.stdout)
    assert ran == [("b", "small"), ("b", "heavy"), ("d", "small"), ("d", "heavy"), ("a", "small"), ("c", "small")]
