"""The files of the usual senders are whole: nothing in them is left out or fails only when somebody chooses it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from django.utils import translation

from notifications.inbound import mapping
from notifications.inbound.mapping import Mapping
from notifications.inbound.presets import FOLDER, OTHER, PRESETS
from notifications.inbound.signatures import WEBHOOK_SCHEMES

FILES = sorted(FOLDER.glob("*.toml"))
PATHS = ("recipient_path", "only_path", "key_path", "link_path", "severity_path")


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_file_holds_what_is_known_in_both_languages(path: Path) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    preset = PRESETS[path.stem]

    assert set(document) <= {"position", "scheme", "is_alert", "label", "steps", "mapping"}
    assert set(document.get("mapping", {})) <= set(Mapping.__dataclass_fields__)
    assert [set(words) for words in (document["label"], *document["steps"])] == [{"en", "zh"}] * (
        1 + len(document["steps"])
    )
    assert preset.scheme in WEBHOOK_SCHEMES
    for template in (preset.mapping.title, preset.mapping.text):
        mapping.check_template(template)
    for expression in (*(getattr(preset.mapping, name) for name in PATHS), *preset.mapping.file_paths):
        mapping.check_path(expression)


def test_labels_are_in_the_readers_language_and_the_unknown_one_is_last() -> None:
    with translation.override("zh-hans"):
        assert PRESETS["guandata"].label == "观远（自定义推送渠道）"
    with translation.override("en"):
        assert PRESETS["guandata"].label == "Guandata (custom push channel)"
    assert list(PRESETS)[-1] == OTHER
