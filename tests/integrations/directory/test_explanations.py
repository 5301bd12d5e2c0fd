"""Every word that a run may store has its sentences, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.utils import translation

from integrations.directory.sync import _PROBLEMS, _WARNINGS, explain_run, word_question, word_warnings
from integrations.models import SyncRun

LANGUAGES = ("en", "zh-hans")
HAN = re.compile(r"[\u4e00-\u9fff]")


def is_of(language: str, text: str) -> bool:
    return bool(HAN.search(text)) == (language == "zh-hans")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("problem", [*_PROBLEMS, "broken"])
def test_each_problem_says_what_who_and_where(language: str, problem: str) -> None:
    with translation.override(language):
        said = explain_run(SyncRun(problem=problem, detail="77"))

    assert all(is_of(language, text) for text in (said.what, said.who, said.where)), said
    assert ("77" in said.what) == (problem == "root")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", [48009, 60020, 45033, -1])
def test_wecoms_refusal_is_explained_by_its_code(language: str, code: int) -> None:
    with translation.override(language):
        said = explain_run(SyncRun(problem="wecom", errcode=code))

    assert is_of(language, said.what), said


def test_a_run_without_a_problem_has_nothing_to_say() -> None:
    assert explain_run(SyncRun()).what == ""
    assert word_question(SyncRun()) == []
    assert word_warnings(SyncRun()) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("count", [1, 12])
def test_each_warning_names_its_examples(language: str, count: int) -> None:
    rows = [{"code": code, "count": count, "examples": ["7", "9"]} for code in _WARNINGS]

    with translation.override(language):
        said = word_warnings(SyncRun(warnings=rows))

    assert len(set(said)) == len(rows)
    assert all(is_of(language, text) for text in said), said
    assert sum("7" in text and "9" in text for text in said) == len(rows) - 1  # all but "nobody"


def test_every_word_in_the_source_has_a_sentence(project_root: Path) -> None:
    source = "".join(path.read_text() for path in sorted((project_root / "integrations" / "directory").glob("*.py")))

    added = set(re.findall(r'warnings\.add\(\s*"(\w+)"', source))
    stopped = set(re.findall(r'(?:Stop\(|problem=|problem = )"(\w+)"', source))

    assert added == set(_WARNINGS)
    assert stopped - set(_PROBLEMS) == {"broken"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_question_tells_the_numbers(language: str) -> None:
    asked = {"reason": "share", "leaving": 12, "of": 100, "percent": 5, "roots": ["2", "4"]}

    with translation.override(language):
        share, limit, roots, _unchanged = word_question(SyncRun(question=asked))
        of_a_root = word_question(SyncRun(question={**asked, "reason": "root"}))

    assert "12" in share
    assert "100" in share
    assert "5 %" in limit or "5%" in limit
    assert "2" in roots
    assert "4" in roots
    assert len(of_a_root) == 3
    assert all(is_of(language, text) for text in (share, limit, roots))
