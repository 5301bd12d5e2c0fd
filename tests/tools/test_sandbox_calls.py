"""The guide's tables of the sandbox's calls are those of today, and so is the list of the installed wechatpy."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import wechatpy.enterprise.client.api

from tools import sandbox_calls

PATH = re.compile(r"[a-z]+(/[A-Za-z_]+)+")
WITHOUT_AREA = {"gettoken", "get_jsapi_ticket", "getcallbackip"}


def paths_in(folder: Path) -> set[str]:
    """What looks like a path of the API among the texts of a client's code."""
    trees = [ast.parse(path.read_text()) for path in folder.rglob("*.py")]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    found = {text.partition("/cgi-bin/")[2] or text for text in texts if isinstance(text, str)}
    return {text for text in found if text in WITHOUT_AREA or PATH.fullmatch(text)}


@pytest.mark.parametrize("language", sandbox_calls.GUIDES)
def test_the_tables_of_the_guide_are_those_of_today(language: str) -> None:
    text = sandbox_calls.GUIDES[language].read_text(encoding="utf-8")

    assert sandbox_calls.filled(text, language) == text, "run: python -m tools.sandbox_calls"


def test_wechatpys_list_is_that_of_the_installed_one() -> None:
    folder = Path(wechatpy.enterprise.client.api.__file__).parents[1]

    assert set(sandbox_calls.paths_of("wechatpy")) == paths_in(folder)


@pytest.mark.parametrize("client", sandbox_calls.CLIENTS.values())
def test_a_clients_list_is_paths_alone(client: str) -> None:
    paths = sandbox_calls.paths_of(client)

    assert paths == sorted(set(paths))
    assert [path for path in paths if not re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*", path)] == []


def test_a_guide_without_a_place_for_a_table_is_told() -> None:
    with pytest.raises(ValueError, match="no place for areas"):
        sandbox_calls.filled("", "en")
