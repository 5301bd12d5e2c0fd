"""Addresses of static files are those of Django and WhiteNoise, and are made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.contrib.staticfiles.storage import StaticFilesStorage

from guanwecom.static_files import CollectedFiles, SourceFiles


@pytest.fixture
def collected(tmp_path: Path) -> CollectedFiles:
    manifest = {"version": "1.1", "paths": {"guanwecom/menu.js": "guanwecom/menu.0123456789ab.js"}, "hash": ""}
    (tmp_path / "staticfiles.json").write_text(json.dumps(manifest))
    return CollectedFiles(location=tmp_path)


@pytest.mark.parametrize("name", ["guanwecom/menu.js", "a b/ü.css", "../up.svg"])
def test_a_file_of_the_source_has_the_address_that_django_gives(name: str) -> None:
    files = SourceFiles()

    assert [files.url(name), files.url(name)] == [StaticFilesStorage().url(name)] * 2


def test_a_collected_file_has_its_hashed_name(collected: CollectedFiles) -> None:
    assert collected.url("guanwecom/menu.js") == "/static/guanwecom/menu.0123456789ab.js"


def test_an_address_is_made_once(collected: CollectedFiles) -> None:
    address = collected.url("guanwecom/menu.js")
    collected.hashed_files.clear()

    assert collected.url("guanwecom/menu.js") == address


def test_a_file_that_was_not_collected_has_no_address(collected: CollectedFiles) -> None:
    for _try in range(2):
        with pytest.raises(ValueError, match="Missing staticfiles manifest entry"):
            collected.url("guanwecom/none.js")
