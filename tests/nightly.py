"""The mark of tests that take too long for each change and run with `make nightly`."""

import os

import pytest

# The same variable makes Hypothesis try more examples.
IS_NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"

nightly = pytest.mark.skipif(not IS_NIGHTLY, reason="runs with `make nightly`")
