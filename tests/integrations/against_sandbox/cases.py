"""The register of cases: one for each public method, named as the method, with the endpoint that it must reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.integrations.against_sandbox.place import Place


@dataclass(frozen=True, slots=True)
class Case:
    """`endpoint`: without /cgi-bin/."""

    method: str
    endpoint: str
    run: Callable[[Place], None]


CASES: dict[str, Case] = {}


def case(endpoint: str) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """Register a function as the case of the method whose name it bears. It asserts the exact result."""

    def register(run: Callable[[Place], None]) -> Callable[[Place], None]:
        CASES[run.__name__] = Case(run.__name__, endpoint, run)
        return run

    return register
