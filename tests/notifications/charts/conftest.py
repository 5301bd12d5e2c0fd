"""Fixtures that draw charts in a separate process: a process that draws must not be forked, and some tests fork."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from notifications.charts import renderer

Draw = Callable[[dict[str, Any]], renderer.Drawing]


@pytest.fixture(scope="session")
def _painter() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as painter:
        yield painter


@pytest.fixture(scope="session")
def draw(_painter: ProcessPoolExecutor) -> Draw:
    return lambda spec: _painter.submit(renderer.draw, spec, scale=1).result(timeout=60)
