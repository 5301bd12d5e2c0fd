"""Pytest plugin: which tests belong to which pass of `make test`, so that none runs twice without a reason.

`--passes sqlite,postgresql` names the databases of all passes in order; `--database` says which one this is. Then

- a test without a database runs in the first pass only: pytest-django refuses it one, so a second run proves nothing;
- a test that drives a browser or starts processes runs in the last pass only, on the database of production, unless
  it is marked `each_database`: such tests take minutes, and most are about pages and programs, not about rows;
- a test that is marked `postgresql` runs in that pass;
- every other test runs in each pass.

At the end a pass says how many tests it has left to the others, and where these stand. Without the option, as when a
developer names a file, everything runs that was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest

from tests.workers import is_heavy

LEFT_OUT = "left_out"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--passes", default="", help="databases of all passes, in order; this pass leaves the rest to them"
    )


def passes_of(item: pytest.Item, passes: list[str]) -> list[str]:
    """The passes that run the test, in order."""
    if item.get_closest_marker("postgresql") is not None:
        return [name for name in passes if name == "postgresql"]
    if not uses_database(item):
        return passes[:1]
    if is_heavy(item) and item.get_closest_marker("each_database") is None:
        return passes[-1:]
    return passes


def uses_database(item: pytest.Item) -> bool:
    """By its marker, or by a fixture that leads to the test database."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return item.get_closest_marker("django_db") is not None or "django_db_setup" in fixtures


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    passes = [name for name in str(config.getoption("passes")).split(",") if name]
    if not passes:
        return
    database = str(config.getoption("database"))
    ours: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        (ours if database in passes_of(item, passes) else left_out).append(item)
    items[:] = ours
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    _keep(config, Counter(_place_of(item) for item in left_out))


def _place_of(item: pytest.Item) -> str:
    """The folder, or the file of a browser or process test."""
    path = PurePath(item.nodeid.partition("::")[0])
    return str(path if is_heavy(item) else path.parent)


# --- What is said at the end: pytest-xdist's workers collect, the process that started them prints -------------------

COUNTS = pytest.StashKey[dict[str, int]]()


def _keep(config: pytest.Config, counts: dict[str, int]) -> None:
    config.stash[COUNTS] = counts
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output[LEFT_OUT] = dict(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A hook of pytest-xdist. All workers collect the same."""
    if counts := getattr(node, "workeroutput", {}).get(LEFT_OUT):
        node.config.stash[COUNTS] = counts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in _told(config.stash.get(COUNTS, {})):
        terminalreporter.write_line(line)


def _told(counts: dict[str, int]) -> Iterator[str]:
    if counts:
        yield f"{sum(counts.values())} tests are left to the other pass:"
        yield from (f"  {count:5} {place}" for place, count in sorted(counts.items()))
