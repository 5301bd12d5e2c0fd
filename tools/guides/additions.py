"""What the guides' site adds to Sphinx: diagrams in Mermaid as tables, tables of error codes, Chinese search.

GitHub draws diagrams by a script; the site loads no script of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from django.utils.translation import gettext as _
from django.utils.translation import override
from sphinx.search.zh import SearchChinese as LibrarysSearch

from accounts.explanations import GUIDES
from integrations.clients.errors import Explanation
from integrations.clients.wecom.errcodes import ENTRIES, OF_OPERATIONS, guide_of
from integrations.companies.diagnosis.findings import SHARED_EXPLANATIONS
from integrations.companies.diagnosis.results import CHECKS

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


# The heads of the tables, which no page of the product needs.
_HEADS = {
    "en": {"code": "Code", "page": "Page", "what": "What happened", "who": "Who can fix it", "where": "Where"},
    "zh-hans": {"code": "错误码", "page": "页面", "what": "发生了什么", "who": "谁能解决", "where": "在哪里解决"},
}


def diagnosis_checks(language: str) -> str:
    """Each check with what it may find, then what every check may find."""
    with override(language):
        parts = []
        for check in CHECKS.values():
            rows = [_cells(one) for one in check.explanations.values()]
            links = "".join(f"- <{url}>\n" for url in check.help_links)
            parts.append(
                f"({check.guide})=\n### {_(check.label)}\n\n{_text(check.purpose)}\n\n"
                f"{_table(language, ('what', 'who', 'where'), rows)}\n{links}"
            )
        rows = [_cells(one) for one in SHARED_EXPLANATIONS.values()]
        return "\n".join([*parts, _table(language, ("what", "who", "where"), rows)])


def wecom_codes(language: str) -> str:
    with override(language):
        of_calls = [(code, call, explanation) for (call, code), explanation in OF_OPERATIONS.items()]
        known = [(code, "", entry.explanation) for code, entry in ENTRIES.items()]
        rows = [
            (f"[{code}]{{#{guide_of(code, operation=call)}}} {call and f'`{call}`'}", *_cells(explanation))
            for code, call, explanation in sorted([*known, *of_calls], key=lambda row: row[:2])
        ]
        return _table(language, ("code", "what", "who", "where"), rows)


def sign_in_pages(language: str) -> str:
    with override(language):
        rows = [
            (f"[{_text(guide.title)}]{{#sign-in-{cause}}}", _text(guide.what), _text(guide.who))
            for cause, guide in GUIDES.items()
        ]
        return _table(language, ("page", "what", "who"), rows)


def _cells(explanation: Explanation) -> tuple[str, str, str]:
    return _text(explanation.what), _text(explanation.who), _text(explanation.where)


def _table(language: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = [_HEADS[language][head] for head in heads]
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(english: str) -> str:
    """In the active language; a place for a fact is shown as an ellipsis."""
    text = re.sub(r"%\(\w+\)s", "…", _(english)).replace("%%", "%") if english else ""
    return re.sub(r"([|*_<>\[\]])", r"\\\1", text)


_WORD = re.compile(r"[a-zA-Z0-9_]+|[\u3400-\u9fff]+")


class ChineseSearch(LibrarysSearch):
    js_splitter_code = r"""
var splitQuery = (query) => (query.match(/[a-zA-Z0-9_]+|[\u3400-\u9fff]+/g) || []).flatMap((word) =>
  /[\u3400-\u9fff]/.test(word) && word.length > 2
    ? Array.from({ length: word.length - 1 }, (_, start) => word.slice(start, start + 2))
    : [word]);
"""

    def split(self, input: str) -> list[str]:
        words = _WORD.findall(input)
        self.latin_terms.update(word for word in words if word.isascii())
        return [term for word in words for term in ([word] if word.isascii() else _pairs(word))]


def _pairs(word: str) -> list[str]:
    return [word[start : start + 2] for start in range(max(1, len(word) - 1))]
