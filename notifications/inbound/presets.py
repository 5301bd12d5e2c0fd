"""Ready-made mappings of the usual senders: how each proves itself, what becomes a message, what to enter there.

Each is a file in `senders/`, with its words in English and Chinese. Payloads as documented by Grafana (webhook
notifier), Alertmanager (webhook_config), Jenkins (Notification plugin), GitLab (webhook events) and Metabase
(webhooks), and as the code of Superset (reports/notifications/webhook.py), DolphinScheduler (alert-http) and
Nightingale (models/alert_cur_event.go) sends them; all read 2026-11-28, Nightingale's 2026-12-01. Guandata's custom
push channel is not documented: its fields are picked from the first payload.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from django.utils.translation import get_language

from notifications.inbound.mapping import Mapping, mapping_from

OTHER = "other"
FOLDER = Path(__file__).parent / "senders"
# A text in English ("en") and Chinese ("zh").
Words = ReadOnly[str, str]


@dataclass(frozen=True)
class Preset:
    """A ready-made sender. `position`: among the others on the page. `is_alert`: a new channel opens incidents."""

    position: int
    words: Words
    scheme: str
    words_of_steps: tuple[Words, ...]
    mapping: Mapping
    is_alert: bool

    @property
    def label(self) -> str:
        return _in_language(self.words)

    @property
    def steps(self) -> list[str]:
        """What to do at the sender, a sentence each."""
        return [_in_language(words) for words in self.words_of_steps]


def _in_language(words: Words) -> str:
    return words["zh" if (get_language() or "").startswith("zh") else "en"]


def _read(path: Path) -> Preset:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return Preset(
        document["position"],
        document["label"],
        document["scheme"],
        tuple(document["steps"]),
        mapping_from(document.get("mapping")),
        document.get("is_alert", False),
    )


PRESETS: ReadOnly[str, Preset] = MappingProxyType(
    dict(sorted(((path.stem, _read(path)) for path in FOLDER.glob("*.toml")), key=lambda one: one[1].position))
)
