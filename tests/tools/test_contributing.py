"""The guides name files and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# What a clone does not hold, but a command makes.
MADE = {".venv/bin/pre-commit", ".venv/bin/python", ".venv/bin/pytest", ".venv", "dist/guanwecom-….tar.gz"}
FOLDERS = {"accounts", "benchmarks", "docs", "guanwecom", "integrations", "notifications", "sandbox", "tests", "tools"}


@pytest.mark.parametrize("guide", ["CONTRIBUTING.md"])
def test_every_file_that_a_guide_names_exists(project_root: Path, guide: str) -> None:
    spans = re.findall(r"`([^`\n]+)`", (project_root / guide).read_text())
    paths = {span.split()[0] for span in spans if "/" in span.split()[0] and "*" not in span} - MADE

    assert len(paths) > 20
    assert sorted(path for path in paths if not (project_root / path).exists()) == []


def test_every_file_of_ours_that_the_documents_name_exists(project_root: Path) -> None:
    """In spans of code, and as targets of links."""
    missing = []
    for document in [*project_root.glob("*.md"), *(project_root / "docs").rglob("*.md")]:
        text = document.read_text()
        spans = {span for span in re.findall(r"`([\w./-]+)`", text) if span.split("/")[0] in FOLDERS and "/" in span}
        links = {link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link}
        missing += [f"{document.name}: {span}" for span in spans if not (project_root / span).exists()]
        missing += [f"{document.name}: {link}" for link in links if not (document.parent / link).exists()]

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
