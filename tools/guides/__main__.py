"""`python -m tools.guides [html [FOLDER]]`: build docs/en and docs/zh-cn into docs/_build/html, warnings as errors.

`python -m tools.guides linkcheck`: check all external links, which needs the internet.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

import django
from sphinx.cmd.build import build_main

from tests.services import ENVIRON

_SCRIPT = re.compile(r"<script(?: [^>]*)?>([^<]+)</script>")
_STYLE = re.compile(r"<style>([^<]+)</style>")
_HIDDEN, _STYLE_ATTRIBUTE = ' style="display: none;"', re.compile(r' style="[^"]*"')


def move_into_files(pages: Path) -> None:
    """Move inline scripts and styles into files. `pages`: the folder of a built language."""
    for page in pages.rglob("*.html"):
        html = page.read_text()
        for text in _SCRIPT.findall(html):
            html = html.replace(f">{text}</script>", f' src="{_write_file(page, pages, text, "js")}"></script>')
        for text in _STYLE.findall(html):
            link = f'<link rel="stylesheet" href="{_write_file(page, pages, text, "css")}">'
            html = html.replace(f"<style>{text}</style>", link)
        page.write_text(_STYLE_ATTRIBUTE.sub("", html.replace(_HIDDEN, " hidden")))


def _write_file(page: Path, pages: Path, text: str, kind: str) -> str:
    """Write the text to a file, and return the file's address relative to `page`."""
    name = f"_static/page-{hashlib.sha256(text.encode()).hexdigest()[:12]}.{kind}"
    (pages / name).write_text(text)
    return "../" * (len(page.relative_to(pages).parts) - 1) + name


DOCS = Path(__file__).resolve().parents[2] / "docs"
LANGUAGES = {"en": "en", "zh-cn": "zh_CN"}


def main() -> int:
    builder = sys.argv[1] if len(sys.argv) > 1 else "html"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DOCS / "_build" / builder
    os.environ.update(ENVIRON, DJANGO_SETTINGS_MODULE="tools.static_settings")
    django.setup()
    return max([run_sphinx(builder, folder, tree) for tree in LANGUAGES])


def run_sphinx(builder: str, folder: Path, tree: str) -> int:
    """Run Sphinx and return its exit code."""
    arguments = ["-q", "-E", "-W", "--keep-going", "-b", builder, "-c", DOCS, "-d", f"{folder}-read/{tree}"]
    arguments += ["-D", f"language={LANGUAGES[tree]}", DOCS / tree, folder / tree]
    failed = build_main([*map(str, arguments)])
    if builder == "html" and not failed:
        move_into_files(folder / tree)
    return failed


if __name__ == "__main__":
    sys.exit(main())
