"""The number of database statements of some work."""

from collections.abc import Callable
from typing import ParamSpec

from django.db import connection
from django.test.utils import CaptureQueriesContext

P = ParamSpec("P")


def count_statements(work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> int:
    """Do the work. Return how many statements it took."""
    with CaptureQueriesContext(connection) as statements:
        work(*args, **kwargs)
    return len(statements)
