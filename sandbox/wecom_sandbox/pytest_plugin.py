"""Fixtures for tests of programs that talk to WeCom. pytest finds them where wecom-sandbox is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wecom_sandbox.testing import Sandbox, read_example_seed, run_sandbox


@pytest.fixture(scope="session")
def wecom_sandbox_arguments() -> tuple[str, ...]:
    """Arguments of the command. Override this fixture to give others, for example `("--tls-port", "0")`."""
    return ()


@pytest.fixture(scope="session")
def wecom_sandbox_process(wecom_sandbox_arguments: tuple[str, ...]) -> Iterator[Sandbox]:
    """Process for the whole run (one per pytest-xdist worker). Tests share its state."""
    with run_sandbox(arguments=wecom_sandbox_arguments) as sandbox:
        yield sandbox


@pytest.fixture
def wecom_sandbox_seed() -> object:
    """Seed that each test starts from: the example company. Override this fixture to give another."""
    return read_example_seed()


@pytest.fixture
def wecom_sandbox(wecom_sandbox_process: Sandbox, wecom_sandbox_seed: object) -> Sandbox:
    """Sandbox in which nothing has happened yet."""
    wecom_sandbox_process.load(wecom_sandbox_seed)
    return wecom_sandbox_process
