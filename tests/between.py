"""Changes made between two statements of ours, as another process would make them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, connection


@contextmanager
def refuse_once(beginning: str, then: Callable[[], object]) -> Iterator[None]:
    """Refuse the first statement that begins with `beginning`, as a unique constraint does. Call `then` once it is
    rolled back: from then on the row that somebody else saved is visible.
    """
    refused: list[bool] = []

    def first_refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not refused and sql.startswith(beginning):
            refused.append(True)
            raise IntegrityError("a unique constraint")
        answer = execute(sql, params, many, context)
        if refused == [True] and sql.startswith("ROLLBACK TO SAVEPOINT"):
            refused.append(True)
            then()
        return answer

    with connection.execute_wrapper(first_refuse):
        yield


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
