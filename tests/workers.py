"""Pytest plugin: in which order pytest-xdist's workers, who take one file after the other, get them.

Files with tests that start processes or drive a browser begin: they take longest, and wait most of that time, beside
many small ones that need the processor. Those that are marked `long` are next: none is left for the end, where one
worker would be busy with it and the others done. Of a file in DIVIDED workers take parts; a folder in UNDIVIDED stays
with one worker.
"""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# The markers of such tests.
HEAVY = ("processes", "e2e")
LONG = "long"
# In how many parts. Each part sets up for itself what the file's tests share.
DIVIDED = {"tests/test_admin_matrix.py": 6}
# Their files share what takes longest to start.
UNDIVIDED = ("tests/e2e/processes",)


def is_heavy(item: pytest.Item) -> bool:
    return any(map(item.get_closest_marker, HEAVY))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker. pytest-django's own sorting comes before this one: it registers later."""
    if hasattr(config, "workerinput"):
        heavy = {item.path for item in items if is_heavy(item)}
        long = {item.path for item in items if item.get_closest_marker(LONG) is not None}
        items.sort(key=lambda item: (item.path not in heavy, item.path not in long))


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """pytest-xdist's `--dist loadfile`, but for the files in DIVIDED and the folders in UNDIVIDED."""

    def _split_scope(self, nodeid: str) -> str:
        path: str = super()._split_scope(nodeid)
        folder = path.rpartition("/")[0]
        if folder in UNDIVIDED:
            return folder
        parts = DIVIDED.get(path, 1)
        return f"{path} {zlib.crc32(nodeid.encode()) % parts}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
