"""Compile the translations into the package while it is built. All other metadata is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from setuptools import setup
from setuptools.command.build_py import build_py

LOCALE = Path(__file__).resolve().parent / "wecom_sandbox" / "locale"


class BuildWithCatalogues(build_py):
    """Build step that writes an .mo file beside each .po file."""

    def run(self) -> None:
        for source in LOCALE.rglob("*.po"):
            with source.open("rb") as texts, source.with_suffix(".mo").open("wb") as compiled:
                write_mo(compiled, read_po(texts, locale=source.parts[-3]))
        super().run()


setup(cmdclass={"build_py": BuildWithCatalogues})
