"""Tells whoever made a client of each of its calls: to count and to log them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from integrations.clients.errors import IntegrationError

# Given the call's operation, its outcome and its seconds. The outcome is "0" or the number of the other side's error;
# where it gave none, the class of our error: "transient", "outcome_unknown".
Observe: TypeAlias = Callable[[str, str, float], None]


def ignored(_operation: str, _outcome: str, _seconds: float) -> None:
    """For clients whose calls nobody counts."""


@contextmanager
def observed(observe: Observe, operation: str) -> Iterator[None]:
    """Tell `observe` of the call that the block makes, whatever becomes of it."""
    started, outcome = time.perf_counter(), "crashed"
    try:
        yield
        outcome = "0"
    except IntegrationError as error:
        outcome = _kind(error) if error.code is None else str(error.code)
        raise
    finally:
        observe(operation, outcome, time.perf_counter() - started)


def _kind(error: IntegrationError) -> str:
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
