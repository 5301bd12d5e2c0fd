"""What another process does between two statements of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def just_before(pattern: str, change: Callable[[], object]) -> Iterator[list[object]]:
    """Call `change` once, right before the first statement in which `pattern` (a regular expression) is found, in the
    same connection. Yields a list that holds what it returned."""
    begun: list[bool] = []
    done: list[object] = []

    def execute_after(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not begun and re.search(pattern, sql):
            begun.append(True)
            done.append(change())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute_after):
        yield done
