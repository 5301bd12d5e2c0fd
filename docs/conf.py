"""Sphinx's configuration of the guides, the same for both languages: `make docs` (tools.guides)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.guides import additions
from tools.guides.additions import ChineseSearch

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

project = "guanwecom"
extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "guanwecom"
html_static_path = ["_static"]
html_css_files = ["guides.css"]
html_show_sphinx = False
html_copy_source = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "languages.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
templates_path = ["_templates"]
linkcheck_timeout = 15

# Each language by its folder: its name, and Django's code.
LANGUAGES = {"en": ("English", "en"), "zh-cn": ("简体中文", "zh-hans")}
# Tables that the product writes where a guide has a block ```{product} NAME.
TABLES = {
    "diagnosis-checks": additions.write_diagnosis_checks,
    "wecom-codes": additions.write_wecom_codes,
    "sign-in-pages": additions.write_sign_in_pages,
}
_PRODUCT_TABLE = re.compile(r"^```\{product\} ([a-z-]+)\n```$", re.M)
# A guide's link to its other language. It is removed, since each page of the site has a language switch.
_LINK_TO_OTHER_LANGUAGE = re.compile(r"^\[(?:English|简体中文)\]\(\S+\)$\n", re.M)
# A line end within Chinese text. It is removed, since a browser would show a space there.
_BREAK_IN_CHINESE = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")
_CODE = re.compile(r"^```.*?^```$", re.M | re.S)
# A link to a file of the repository that is not in the site. Its path is shown instead.
_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\((?:\.\./)+([^)#\s]+)(?:#[^)\s]*)?\)")


def _find_folder(app: Sphinx) -> str:
    return Path(app.srcdir).name


def prepare_source(app: Sphinx, name: str, source: list[str]) -> None:
    """Change a guide's Markdown, `source[0]`, before Sphinx parses it: links, line ends, the product's tables."""
    text = _LINK_TO_OTHER_LANGUAGE.sub("", source[0], count=1)
    text = _OUTSIDE.sub(lambda link: link[1] if link[2] in link[1] else f"{link[1]} (`{link[2]}`)", text)
    _title, language = LANGUAGES[_find_folder(app)]
    if language != "en":
        text = _join_chinese_lines(text)
    source[0] = _PRODUCT_TABLE.sub(lambda block: TABLES[block[1]](language), text)


def _join_chinese_lines(text: str) -> str:
    """Remove line ends within Chinese text, except in blocks of code."""
    parts, at = [], 0
    for block in _CODE.finditer(text):
        parts += [_BREAK_IN_CHINESE.sub("", text[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, _BREAK_IN_CHINESE.sub("", text[at:])])


def offer_languages(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the language switch each language, the address of this page in it, and whether it is shown now."""
    docs = Path(app.confdir)
    context["languages"] = [
        (title, f"../{tree}/{name if _has_page(docs / tree, name) else 'index'}.html", tree == _find_folder(app))
        for tree, (title, _language) in LANGUAGES.items()
    ]


def _has_page(folder: Path, name: str) -> bool:
    """Return whether this language has the page. The pages that Sphinx makes itself have no file."""
    return (folder / f"{name}.md").exists() or name in {"search", "genindex"}


def setup(app: Sphinx) -> None:
    app.add_search_language(ChineseSearch)
    app.connect("source-read", prepare_source)
    app.connect("html-page-context", offer_languages)
