"""The sandbox, freshly seeded for each test."""

from __future__ import annotations

import pytest

from tests.integrations.against_sandbox.place import Place, seed
from tests.sandbox_process import SandboxHandle


@pytest.fixture
def place(running_sandbox: SandboxHandle) -> Place:
    running_sandbox.load(seed())
    return Place(running_sandbox)
