"""Programs that tests take from the machine: those that a Debian with git, make and Python 3 need not have."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(name: str, *, package: str = "") -> pytest.MarkDecorator:
    """Skip a test without this program and name it, and Debian's package if that is called otherwise.

    Where continuous integration runs the test goes on, and fails.
    """
    there = shutil.which(name) is not None or os.environ.get("CI") == "true"
    reason = f"{name} is not installed" + (f" (Debian: {package})" if package else "")
    return pytest.mark.skipif(not there, reason=reason)
