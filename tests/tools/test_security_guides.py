"""The threat model and the ASVS table: they name existing tests, and list every requirement in both languages."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = ("en", "zh-cn")
# Number of requirements of levels 1 and 2 in each chapter of OWASP ASVS 5.0.0.
CHAPTERS = dict(enumerate((27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7), start=1))


def named(tree: str, guide: str) -> list[str]:
    return re.findall(r"`(tests/[\w/.]+::\w+)`", (ROOT / "docs" / tree / guide).read_text())


def rows(tree: str, guide: str) -> list[list[str]]:
    """Return the rows of all tables of a guide, without their heads."""
    lines = [line for line in (ROOT / "docs" / tree / guide).read_text().splitlines() if line.startswith("| ")]
    return [
        cells for line in lines if (cells := line.strip("| ").split(" | "))[0] not in {"STRIDE", "requirement", "编号"}
    ]


@cache
def functions(path: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("guide", ["threat-model.md", "asvs.md"])
def test_every_test_that_is_named_exists(guide: str) -> None:
    tests = named("en", guide)

    assert [one for one in tests if one.split("::")[1] not in functions(one.split("::")[0])] == []
    assert len(tests) > 50
    assert named("zh-cn", guide) == tests


@pytest.mark.parametrize("tree", TREES)
def test_every_threat_has_a_test(tree: str) -> None:
    assert [row for row in rows(tree, "threat-model.md") if "::test_" not in row[3]] == []


@pytest.mark.parametrize("tree", TREES)
def test_every_requirement_has_one_row_and_a_reason(tree: str) -> None:
    table = rows(tree, "asvs.md")
    chapters = [int(row[0].split(".")[0]) for row in table]

    assert {chapter: chapters.count(chapter) for chapter in sorted(set(chapters))} == CHAPTERS
    assert len({row[0] for row in table}) == sum(CHAPTERS.values())
    assert [row for row in table if not row[2].strip()] == []


@pytest.mark.parametrize("tree", TREES)
def test_what_is_met_names_a_test_a_file_or_a_guide_that_there_is(tree: str) -> None:
    met = [row for row in rows(tree, "asvs.md") if row[1] in {"met", "partly", "符合", "部分符合"}]
    files = re.findall(r"`([\w./-]+/[\w./-]+|Makefile)(?:::\w+)?`", "".join(row[3] for row in met if len(row) > 3))

    assert len(met) > 150
    assert [row[0] for row in met if len(row) < 4 and "](" not in row[2]] == []
    assert [name for name in files if not (ROOT / name).is_file()] == []
