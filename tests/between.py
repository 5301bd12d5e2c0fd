"""Changes made between two statements of ours, as another process would make them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def just_before(pattern: str, change: Callable[[], object]) -> Iterator[list[object]]:
    """Call `change` once, right before the first statement that matches the regular expression `pattern`.

    The same connection is used. Yield a list that will hold the returned value.
    """
    begun: list[bool] = []
    done: list[object] = []

    def execute_after(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not begun and re.search(pattern, sql):
            begun.append(True)
            done.append(change())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute_after):
        yield done
