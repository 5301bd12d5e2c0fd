"""Diagrams in Mermaid, which GitHub draws by a script, as tables for the site, which loads no script of others."""

from __future__ import annotations

import re
from itertools import pairwise

BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.M | re.S)
# Each language's heads of a table of messages, and of a table of ways; and how it says a frame.
HEADS = {
    "en": ("| from → to | what |", "| step | then |"),
    "zh-hans": ("| 从 → 到 | 内容 |", "| 步骤 | 下一步 |"),
}
FRAMES = {
    "en": {"opt": "only if {}", "loop": "again and again, {}"},
    "zh-hans": {"opt": "仅当{}", "loop": "反复进行：{}"},
}
_PARTICIPANT = re.compile(r"(?:actor|participant) (\w+) as (.+)")
_MESSAGE = re.compile(r"(\w+)-?->>(\w+): (.+)")
_NOTE = re.compile(r"Note over (\w+): (.+)")
_FRAME = re.compile(r"(opt|loop) (.+)")
_NODE = re.compile(r"(\w+)(?:\[(.+?)\]|\{(.+?)\})?$")
_ARROW = re.compile(r'\s*(?:-- "?(.+?)"? )?-->\s*')


class NotUnderstoodError(Exception):
    """A line of a diagram that no table can say."""


def as_table(source: str, language: str) -> str:
    """Raises NotUnderstoodError."""
    kind, *lines = (line.strip() for line in source.strip().splitlines())
    messages, ways = HEADS[language]
    if kind == "sequenceDiagram":
        return "\n".join([messages, "|---|---|", *_messages(lines, FRAMES[language])])
    return "\n".join([ways, "|---|---|", *_ways(lines)])


def _messages(lines: list[str], frames: dict[str, str]) -> list[str]:
    """One row for each message; a frame is a row before those in it."""
    names: dict[str, str] = {}
    rows: list[str] = []
    depth = 0
    for line in lines:
        if found := _PARTICIPANT.fullmatch(line):
            names[found[1]] = found[2]
        elif found := _MESSAGE.fullmatch(line):
            rows.append(f"| {'· ' * depth}{names[found[1]]} → {names[found[2]]} | {_cell(found[3])} |")
        elif found := _NOTE.fullmatch(line):
            rows.append(f"| {'· ' * depth}{names[found[1]]} | {_cell(found[2])} |")
        elif found := _FRAME.fullmatch(line):
            depth += 1
            rows.append(f"| | *{_cell(frames[found[1]].format(found[2]))}* |")
        elif line == "end":
            depth -= 1
        else:
            raise NotUnderstoodError(line)
    return rows


def _ways(lines: list[str]) -> list[str]:
    """One row for each step from which a way leads on."""
    labels: dict[str, str] = {}
    ways: dict[str, list[str]] = {}
    for line in lines:
        first, *rest = _ARROW.split(line)
        keys = [_key(node, labels) for node in (first, *rest[1::2])]
        for (before, after), label in zip(pairwise(keys), rest[::2], strict=True):
            ways.setdefault(before, []).append(f"{label}: {{{after}}}" if label else f"{{{after}}}")
    return [f"| {_cell(labels[key])} | {_cell('<br/>'.join(found)).format(**labels)} |" for key, found in ways.items()]


def _key(node: str, labels: dict[str, str]) -> str:
    found = _NODE.fullmatch(node)
    if found is None:
        raise NotUnderstoodError(node)
    labels.setdefault(found[1], found[2] or found[3] or found[1])
    return found[1]


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
