"""The Chromium of this machine: playwright's own browsers cannot be downloaded everywhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It has no window to draw: a page takes a quarter of the processor's time. It knows no proxy script, which the browser
# that takes pictures of the BI's pages needs.
HEADLESS_SHELL = "chromium-headless-shell"


def find_chromium() -> str | None:
    """The program of the variable CHROMIUM, else the first one on the PATH."""
    named = os.environ.get("CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


def required_chromium() -> str:
    """Without one the test is skipped with its reason; in CI it fails."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium found (set CHROMIUM to its path): browser tests did not run"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def path_with_chromium(folder: Path) -> str:
    """Return a PATH on which the tests' Chromium is the one that a worker finds."""
    link = folder / "bin" / "chromium"
    link.parent.mkdir()
    link.symlink_to(required_chromium())
    return f"{link.parent}:{os.environ['PATH']}"


def page_browser() -> str:
    """For tests that look at pages: the quickest one, but for CHROMIUM, which names one for all."""
    shell = None if os.environ.get("CHROMIUM") else shutil.which(HEADLESS_SHELL)
    return shell or required_chromium()
