"""A sandbox with an invented company, and the corp that is connected with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations.directory.place import Directory, seed
from tests.sandbox import SandboxHandle, start_sandbox


@pytest.fixture(scope="session")
def directory_sandbox() -> Iterator[SandboxHandle]:
    with start_sandbox() as handle:
        yield handle


@pytest.fixture
def place(db: None, directory_sandbox: SandboxHandle) -> Directory:
    """The app sees the whole company; the contacts secret is not connected."""
    directory_sandbox.control("DELETE", "faults")
    directory_sandbox.load(seed())
    directory_sandbox.control("DELETE", "calls")
    return Directory.connected(directory_sandbox)
