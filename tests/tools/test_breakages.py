"""Mutations that tools/breakages.py finds in a function; they apply as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.breakages import Breakage, Stale, apply, edits_of, first_failed

SOURCE = """\
LIMIT = 3


def chosen(rows):
    if rows and len(rows) >= 2:
        rows.sort(key=len, reverse=True)
    return not rows
"""
BREAKAGE = Breakage("sandbox/rows.py", "call dropped", "    rows.sort()", 1, "    pass")


def test_what_a_function_allows() -> None:
    lines = SOURCE.splitlines()
    found = {
        (edit.kind, lines[edit.number][: edit.start] + edit.text + lines[edit.number][edit.end :])
        for edit in edits_of(SOURCE)
    }

    assert found == {
        ("condition negated", "    if (not (rows and len(rows) >= 2)):"),
        ("and/or swapped", "    if rows or len(rows) >= 2:"),
        ("comparison flipped", "    if rows and len(rows) > 2:"),
        ("number off by one", "    if rows and len(rows) >= (2 + 1):"),
        ("argument dropped", "    if rows and len() >= 2:"),
        ("call dropped", "        pass"),
        ("argument dropped", "        rows.sort(key=len)"),
        ("truth flipped", "        rows.sort(key=len, reverse=False)"),
        ("result dropped", "    return None"),
        ("not dropped", "    return rows"),
    }


def test_a_line_is_found_in_the_module_it_has_moved_to(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    module = tmp_path / "sandbox/order.py"
    module.write_text("if True:\n  rows.sort()\n")

    apply(BREAKAGE, tmp_path)
    assert module.read_text() == "if True:\n  pass\n"

    module.write_text("rows.sort()\nrows.sort()\n")
    with pytest.raises(Stale, match="rows.sort"):
        apply(BREAKAGE, tmp_path)


@pytest.mark.parametrize(
    ("said", "test"),
    [
        ("1 passed", ""),
        ("=== summary\nFAILED tests/test_a.py::test_b[x y] - assert 1 == 2\n1 failed", "tests/test_a.py::test_b[x y]"),
        ("ERROR tests/test_c.py::test_d - OSError", "tests/test_c.py::test_d"),
    ],
)
def test_the_test_that_failed_is_read_from_the_summary(said: str, test: str) -> None:
    assert first_failed(said) == test
