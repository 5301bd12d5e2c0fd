"""Extensions of Sphinx for the guides: tables of error codes, Chinese search."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.utils.translation import gettext as _
from django.utils.translation import override
from sphinx.search.zh import SearchChinese as SphinxSearch

from accounts.explanations import GUIDES
from integrations.clients.errors import Explanation
from integrations.clients.wecom.errcodes import ENTRIES, EXPLANATIONS_OF_CALLS, find_guide_anchor
from integrations.companies.diagnosis.checks import CHECKS
from integrations.companies.diagnosis.findings import SHARED_EXPLANATIONS

# Headings of the tables; no page of the product needs them.
_HEADS = {
    "en": {"code": "Code", "page": "Page", "what": "What happened", "who": "Who can fix it", "where": "Where"},
    "zh-hans": {"code": "错误码", "page": "页面", "what": "发生了什么", "who": "谁能解决", "where": "在哪里解决"},
}


def write_diagnosis_checks(language: str) -> str:
    """Describe each check with its findings, then the findings shared by all checks."""
    with override(language):
        parts = []
        for check in CHECKS.values():
            rows = [_explain(one) for one in check.explanations.values()]
            links = "".join(f"- <{url}>\n" for url in check.help_links)
            parts.append(
                f"({check.guide})=\n### {_(check.label)}\n\n{_translate(check.purpose)}\n\n"
                f"{_write_table(language, ('what', 'who', 'where'), rows)}\n{links}"
            )
        rows = [_explain(one) for one in SHARED_EXPLANATIONS.values()]
        return "\n".join([*parts, _write_table(language, ("what", "who", "where"), rows)])


def write_wecom_codes(language: str) -> str:
    with override(language):
        for_calls = [(code, call, explanation) for (call, code), explanation in EXPLANATIONS_OF_CALLS.items()]
        known = [(code, "", entry.explanation) for code, entry in ENTRIES.items()]
        rows = [
            (f"[{code}]{{#{find_guide_anchor(code, operation=call)}}} {call and f'`{call}`'}", *_explain(explanation))
            for code, call, explanation in sorted([*known, *for_calls], key=lambda row: row[:2])
        ]
        return _write_table(language, ("code", "what", "who", "where"), rows)


def write_sign_in_pages(language: str) -> str:
    with override(language):
        rows = [
            (f"[{_translate(guide.title)}]{{#sign-in-{cause}}}", _translate(guide.what), _translate(guide.who))
            for cause, guide in GUIDES.items()
        ]
        return _write_table(language, ("page", "what", "who"), rows)


def _explain(explanation: Explanation) -> tuple[str, str, str]:
    return _translate(explanation.what), _translate(explanation.who), _translate(explanation.where)


def _write_table(language: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = [_HEADS[language][head] for head in heads]
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _translate(english: str) -> str:
    """Translate a text; placeholders are shown as an ellipsis."""
    text = re.sub(r"%\(\w+\)s", "…", _(english)).replace("%%", "%") if english else ""
    return re.sub(r"([|*_<>\[\]])", r"\\\1", text)


_WORD = re.compile(r"[a-zA-Z0-9_]+|[\u3400-\u9fff]+")


class ChineseSearch(SphinxSearch):
    """Search that indexes Chinese text by pairs of neighbouring characters, without a dictionary of words."""

    js_splitter_code = r"""
var splitQuery = (query) => (query.match(/[a-zA-Z0-9_]+|[\u3400-\u9fff]+/g) || []).flatMap((word) =>
  /[\u3400-\u9fff]/.test(word) && word.length > 2
    ? Array.from({ length: word.length - 1 }, (_, start) => word.slice(start, start + 2))
    : [word]);
"""

    def split(self, input: str) -> list[str]:
        words = _WORD.findall(input)
        terms = [word for word in words if word.isascii()]
        self.latin_terms.update(terms)
        chinese = (word for word in words if not word.isascii())
        return [*terms, *(word[start : start + 2] for word in chinese for start in range(max(1, len(word) - 1)))]
