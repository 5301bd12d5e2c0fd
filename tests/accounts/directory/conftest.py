"""A sandbox with an invented company, the corp connected with it, and the policy of that corp."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.accounts.directory.people_of import People
from tests.integrations.directory.place import Directory, seed
from tests.sandbox import SandboxHandle, start_sandbox


@pytest.fixture(scope="session")
def people_sandbox() -> Iterator[SandboxHandle]:
    with start_sandbox() as handle:
        yield handle


@pytest.fixture
def place(db: None, people_sandbox: SandboxHandle) -> Directory:
    people_sandbox.control("DELETE", "faults")
    values = seed()
    # An app of the old kind, which is still told mobile numbers and e-mail addresses.
    values["companies"][0]["apps"][0]["created_after_2022_06_20"] = False
    people_sandbox.load(values)
    people_sandbox.control("DELETE", "calls")
    place = Directory.connected(people_sandbox)
    place.corp.is_enabled = True
    place.corp.save()
    return place


@pytest.fixture
def people(place: Directory) -> People:
    """The policy is to link by username; tests change that."""
    return People(place)
