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
# What the product writes: ```{product} NAME
TABLES = {
    "diagnosis-checks": additions.write_diagnosis_checks,
    "wecom-codes": additions.write_wecom_codes,
    "sign-in-pages": additions.write_sign_in_pages,
}
_PRODUCT = re.compile(r"^```\{product\} ([a-z-]+)\n```$", re.M)
# The line that leads from a guide to its twin: each page of the site has a switch in its place.
_TWIN = re.compile(r"^\[(?:English|简体中文)\]\(\S+\)$\n", re.M)
# What is in the repository, but not in the site, is named and not linked.
# A line of Chinese goes on in the next one without a space between them.
_BROKEN = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")
_CODE = re.compile(r"^```.*?^```$", re.M | re.S)
_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\((?:\.\./)+([^)#\s]+)(?:#[^)\s]*)?\)")


def _tree(app: Sphinx) -> str:
    return Path(app.srcdir).name


def fill_in(app: Sphinx, name: str, source: list[str]) -> None:
    text = _TWIN.sub("", source[0], count=1)
    text = _OUTSIDE.sub(lambda link: link[1] if link[2] in link[1] else f"{link[1]} (`{link[2]}`)", text)
    _title, language = LANGUAGES[_tree(app)]
    if language != "en":
        text = _without_breaks(text)
    source[0] = _PRODUCT.sub(lambda block: TABLES[block[1]](language), text)


def _without_breaks(text: str) -> str:
    """Text between blocks of code on one line, where a line of it ends within Chinese."""
    parts, at = [], 0
    for block in _CODE.finditer(text):
        parts += [_BROKEN.sub("", text[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, _BROKEN.sub("", text[at:])])


def offer_languages(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the language switch each language, the address of this page in it, and whether it is shown now."""
    docs = Path(app.confdir)
    context["languages"] = [
        (title, f"../{tree}/{name if _is_there(docs / tree, name) else 'index'}.html", tree == _tree(app))
        for tree, (title, _language) in LANGUAGES.items()
    ]


def _is_there(folder: Path, name: str) -> bool:
    """Guides for maintainers are in English only; Sphinx's own pages have no file."""
    return (folder / f"{name}.md").exists() or name in {"search", "genindex"}


def setup(app: Sphinx) -> None:
    app.add_search_language(ChineseSearch)
    app.connect("source-read", fill_in)
    app.connect("html-page-context", offer_languages)
