"""Files and commands that the guides name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDERS = {"accounts", "benchmarks", "docs", "guanwecom", "integrations", "notifications", "sandbox", "tests", "tools"}


def test_every_file_of_ours_that_the_documents_name_exists(project_root: Path) -> None:
    """Check spans of code; tests.tools.test_guides follows the links."""
    missing = []
    for document in [*project_root.glob("*.md"), *(project_root / "docs").rglob("*.md")]:
        spans = set(re.findall(r"`([\w./-]+)`", document.read_text()))
        ours = {span for span in spans if span.split("/")[0] in FOLDERS and "/" in span}
        missing += [f"{document.name}: {span}" for span in ours if not (project_root / span).exists()]

    assert sorted(missing) == []


@pytest.mark.parametrize("guide", ["CONTRIBUTING.md", "README.md", "README.zh-CN.md"])
def test_every_target_of_make_that_a_guide_names_exists(project_root: Path, guide: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (project_root / "Makefile").read_text(), re.M))
    named = {
        target
        for words in re.findall(r"`(?:make|\.ci/run: make) ([a-z -]+)", (project_root / guide).read_text())
        for target in words.split()
    }

    assert named
    assert named - targets == set()
