"""Pytest plugin: in which order pytest-xdist's workers, who take one file after the other, get them.

Files with tests that start processes or drive a browser begin: they take longest, and wait most of that time, beside
many small ones that need the processor.
"""

from __future__ import annotations

import pytest

# The markers of such tests.
HEAVY = ("processes", "e2e")


def is_heavy(item: pytest.Item) -> bool:
    return any(map(item.get_closest_marker, HEAVY))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker. pytest-django's own sorting comes before this one: it registers later."""
    if hasattr(config, "workerinput"):
        heavy = {item.path for item in items if is_heavy(item)}
        items.sort(key=lambda item: item.path not in heavy)
