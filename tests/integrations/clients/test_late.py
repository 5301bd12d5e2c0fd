"""Modules that are loaded when they are first used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from integrations.clients.late import Late


def test_a_module_is_loaded_when_it_is_used_and_again_where_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heavy_module.py").write_text("import os\nWORDS = os.environ['HEAVY_WORDS']\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = Late("heavy_module")

    with pytest.raises(KeyError):
        _ = module.WORDS
    monkeypatch.setenv("HEAVY_WORDS", "there")

    assert module.WORDS == "there"
    monkeypatch.delitem(sys.modules, "heavy_module")
