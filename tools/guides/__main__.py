"""`python -m tools.guides [html [FOLDER]]`: builds docs/en and docs/zh-cn into docs/_build/html, warnings as errors.

`python -m tools.guides linkcheck` asks every address on other machines, which needs the internet.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from sphinx.cmd.build import build_main

from tests.services import ENVIRON
from tools.guides import inline

DOCS = Path(__file__).resolve().parents[2] / "docs"
LANGUAGES = {"en": "en", "zh-cn": "zh_CN"}


def main() -> int:
    builder = sys.argv[1] if len(sys.argv) > 1 else "html"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DOCS / "_build" / builder
    os.environ.update(ENVIRON, DJANGO_SETTINGS_MODULE="tools.static_settings")
    django.setup()
    return max([build(builder, folder, tree) for tree in LANGUAGES])


def build(builder: str, folder: Path, tree: str) -> int:
    """Sphinx's exit code."""
    arguments = ["-q", "-E", "-W", "--keep-going", "-b", builder, "-c", DOCS, "-d", f"{folder}-read/{tree}"]
    failed = build_main(
        [*map(str, arguments), "-D", f"language={LANGUAGES[tree]}", f"{DOCS / tree}", f"{folder / tree}"]
    )
    if builder == "html" and not failed:
        inline.move_into_files(folder / tree)
    return failed


if __name__ == "__main__":
    sys.exit(main())
