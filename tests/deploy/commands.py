"""Commands and environments of compose.yaml and of systemd's units, as a test can start them here."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# The unit of each compose.yaml service that runs the same program.
UNITS = {
    "web-1": "guanwecom-web@.service",
    "worker-urgent": "guanwecom-worker-urgent.service",
    "worker": "guanwecom-worker.service",
    "worker-data": "guanwecom-worker-data.service",
    "worker-charts": "guanwecom-worker-charts.service",
    "worker-snapshots": "guanwecom-worker-snapshots.service",
    "beat": "guanwecom-beat.service",
    "mail-door": "guanwecom-mail-door.service",
}
BIN = "/opt/guanwecom/current/.venv/bin/"


@dataclass(frozen=True)
class Command:
    words: list[str]
    environment: dict[str, str]


def compose(root: Path) -> dict[str, Any]:
    """Read compose.yaml without Docker. Anchors are resolved; $$ and variables stay as written."""
    return dict(yaml.safe_load((root / "compose.yaml").read_text(encoding="utf-8")))


def composed(root: Path) -> dict[str, Command]:
    services = compose(root)["services"]
    return {name: Command(services[name]["command"], services[name]["environment"]) for name in UNITS}


def of_units(root: Path) -> dict[str, Command]:
    """Return the command of each unit with the common part, by the name of compose.yaml's service."""
    folder = root / "deploy" / "systemd"
    common = (folder / "guanwecom-.service.d" / "10-common.conf").read_text(encoding="utf-8")
    return {name: _of_unit(common + (folder / unit).read_text(encoding="utf-8")) for name, unit in UNITS.items()}


def _of_unit(text: str) -> Command:
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    words = [word.replace("%%", "%") for word in shlex.split(line.removeprefix(BIN))]
    set_here = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    return Command(words, dict(word.split("=", 1) for line in set_here for word in shlex.split(line)))
