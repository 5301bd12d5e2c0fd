"""One sandbox process for the whole folder; every test finds it freshly seeded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations.against_sandbox.place import Place, seed
from tests.sandbox_process import SandboxHandle, start_sandbox


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxHandle]:
    with start_sandbox() as handle:
        yield handle


@pytest.fixture
def place(sandbox_process: SandboxHandle) -> Place:
    sandbox_process.load(seed())
    return Place(sandbox_process)
