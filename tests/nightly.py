"""What is too long for each change and runs with `make nightly`."""

from __future__ import annotations

import os

import pytest

# The variable makes Hypothesis look further, too.
IS_NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"

nightly = pytest.mark.skipif(not IS_NIGHTLY, reason="runs with `make nightly`")
