"""Takes scripts and styles out of the built pages, whose theme writes some: our policy allows none within a page."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_SCRIPT = re.compile(r"<script(?: [^>]*)?>([^<]+)</script>")
_STYLE = re.compile(r"<style>([^<]+)</style>")
_HIDDEN, _ATTRIBUTE = ' style="display: none;"', re.compile(r' style="[^"]*"')


def move_into_files(pages: Path) -> None:
    """`pages`: the folder of a built language."""
    for page in pages.rglob("*.html"):
        html = page.read_text()
        for text in _SCRIPT.findall(html):
            html = html.replace(f">{text}</script>", f' src="{_file(page, pages, text, "js")}"></script>')
        for text in _STYLE.findall(html):
            link = f'<link rel="stylesheet" href="{_file(page, pages, text, "css")}">'
            html = html.replace(f"<style>{text}</style>", link)
        page.write_text(_ATTRIBUTE.sub("", html.replace(_HIDDEN, " hidden")))


def _file(page: Path, pages: Path, text: str, kind: str) -> str:
    """The address, from `page`, of a file with this text."""
    name = f"_static/page-{hashlib.sha256(text.encode()).hexdigest()[:12]}.{kind}"
    (pages / name).write_text(text)
    return "../" * (len(page.relative_to(pages).parts) - 1) + name
