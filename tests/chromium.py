"""The Chromium of this machine: playwright's own browsers cannot be downloaded everywhere."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str | None:
    """CHROMIUM from the environment, else the first Chromium on the path."""
    candidates = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]
    return next((path for path in candidates if path), None)


def required_chromium() -> str:
    """Without one the test is skipped with its reason; in CI it fails."""
    path = chromium_path()
    if path is None:
        reason = "no Chromium found (set CHROMIUM to its path): browser tests did not run"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
