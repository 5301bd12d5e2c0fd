"""The texts of pages: written in English, translated by the catalogue in locale/."""

from __future__ import annotations

import gettext
from collections.abc import Callable
from functools import cache
from pathlib import Path

CATALOGUES = Path(__file__).resolve().parent.parent / "locale"
DOMAIN = "messages"
Translate = Callable[[str], str]
# The catalogue of each language that a page may be read in; English is what stands in the code.
_CATALOGUE = {"zh-hans": "zh_Hans"}


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The translations of a language: "zh-hans" or "en"."""
    wanted = _CATALOGUE.get(language)
    if wanted is None:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, CATALOGUES, [wanted], fallback=True)


def gettext_noop(text: str) -> str:
    """Marks a text for the catalogue where it stands before its reader's language is known."""
    return text
