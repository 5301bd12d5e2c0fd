"""Fixtures for tests of programs that talk to WeCom. pytest finds them where wecom-sandbox is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wecom_sandbox.testing import Sandbox, example, running


@pytest.fixture(scope="session")
def wecom_sandbox_arguments() -> tuple[str, ...]:
    """Arguments of the command. Give a fixture of this name others, for example `("--tls-port", "0")`."""
    return ()


@pytest.fixture(scope="session")
def wecom_sandbox_process(wecom_sandbox_arguments: tuple[str, ...]) -> Iterator[Sandbox]:
    """One process for the whole run (with pytest-xdist for each worker), with whatever tests left in it."""
    with running(arguments=wecom_sandbox_arguments) as sandbox:
        yield sandbox


@pytest.fixture
def wecom_sandbox_seed() -> object:
    """What each test starts from: the example company. Give a fixture of this name another seed."""
    return example()


@pytest.fixture
def wecom_sandbox(wecom_sandbox_process: Sandbox, wecom_sandbox_seed: object) -> Sandbox:
    """A sandbox in which nothing has happened yet."""
    wecom_sandbox_process.load(wecom_sandbox_seed)
    return wecom_sandbox_process
