"""The site's search in Chinese: every two neighbouring letters are a term, in the index and in what is typed."""

from __future__ import annotations

import re

from sphinx.search.zh import SearchChinese as LibrarysSearch

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
