"""The Chromium of this machine. Playwright's own browsers cannot be downloaded everywhere."""

import os
import shutil
from pathlib import Path

import pytest

from tests.nightly import IS_NIGHTLY

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# This Chromium draws no window, so a page takes a quarter of the processor time. It supports no proxy script (PAC).
HEADLESS_SHELL = "chromium-headless-shell"


def find_chromium() -> str | None:
    """Return the program that the variable CHROMIUM names, else the first on the PATH."""
    named = os.environ.get("CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


def require_chromium() -> str:
    """Return the path of Chromium. Without one, skip the test with the reason; in CI, fail it."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium found (set CHROMIUM to its path): browser tests did not run"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def make_path_with_chromium(folder: Path) -> str:
    """Return a PATH on which a worker finds the tests' Chromium."""
    link = folder / "bin" / "chromium"
    link.parent.mkdir()
    link.symlink_to(find_picture_browser())
    return f"{link.parent}:{os.environ['PATH']}"


def find_page_browser() -> str:
    """Return the quickest browser for tests of pages; the variable CHROMIUM overrides it."""
    shell = None if os.environ.get("CHROMIUM") else shutil.which(HEADLESS_SHELL)
    return shell or require_chromium()


def find_picture_browser() -> str:
    """Return the browser for tests in which pictures are taken: the quickest, and Chromium itself in `make nightly`.

    Tests of what a page can reach always take Chromium itself.
    """
    return require_chromium() if IS_NIGHTLY else find_page_browser()
