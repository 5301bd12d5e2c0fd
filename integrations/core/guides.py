"""Addresses of the guides, which `make docs` builds and web processes serve to who may enter the administration."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse
from django.utils.translation import get_language


def address(page: str, anchor: str = "") -> str:
    """The address of a guide, or of a place in it, in the active language; empty where the guides were not built."""
    tree = "zh-cn" if (get_language() or settings.LANGUAGE_CODE).startswith("zh") else "en"
    path = f"{tree}/{page}.html"
    if not (settings.GUIDES_FOLDER / path).is_file():
        return ""
    return reverse("guides", args=[path]) + (f"#{anchor}" if anchor else "")
