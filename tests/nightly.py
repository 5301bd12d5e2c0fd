"""The mark of tests that are too long for each change."""

from __future__ import annotations

import os

import pytest

# The variable makes Hypothesis look further, too.
nightly = pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="runs with `make nightly`")
