"""Evaluates JMESPath on a payload, bounded in steps, size and time. Pure.

A path that was picked by a click is JMESPath, too. What can double its result with every few letters is left out of the
language: an expression selects, it does not build. So it needs no process of its own, and a call waits for none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from integrations.clients.sources.http_json import ExpressionRefused, check_expression

STEPS_AT_MOST = 200_000
SECONDS_AT_MOST = 1.0
# Values in lists that an expression builds, all of its lists together.
BUILT_AT_MOST = 8
_STEPS_BETWEEN_LOOKS = 1024
_FUNCTIONS = frozenset(
    {
        *("abs", "avg", "ceil", "contains", "ends_with", "floor", "join", "keys", "length", "max", "max_by", "min"),
        *("min_by", "not_null", "reverse", "sort", "sort_by", "starts_with", "sum", "to_array", "to_number", "type"),
        "values",
    }
)
# What an expression may run into on a payload that is not as its author thought.
_MISFITS = (JMESPathError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError)


class TooMuchWork(Exception):
    """The expression takes too long on this payload."""


def check(expression: str) -> None:
    """Raises ExpressionRefused; `position` is -1 for what is JMESPath, but not of the language here."""
    check_expression(expression)
    nodes = list(_nodes(jmespath.compile(expression).parsed))
    built = [node for node in nodes if node["type"] in {"multi_select_list", "multi_select_dict"}]
    called = {node["value"] for node in nodes if node["type"] == "function_expression"}
    if sum(len(node["children"]) for node in built) > BUILT_AT_MOST or not called <= _FUNCTIONS:
        raise ExpressionRefused(-1)


def find(expression: str, payload: Any) -> Any:
    """What the expression selects; None where there is nothing of the kind, or the expression is not allowed. Raises
    TooMuchWork."""
    try:
        return _Bounded().visit(_compiled(expression), payload) if expression else None
    except (ExpressionRefused, *_MISFITS):
        return None


@lru_cache(maxsize=256)
def _compiled(expression: str) -> Any:
    check(expression)
    return jmespath.compile(expression).parsed


def _nodes(tree: Any) -> Iterator[Any]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(child for child in node["children"] if isinstance(child, dict))


class _Functions(functions.Functions):
    """Those of JMESPath. Only `join` writes more than it gets, so its result is measured before it is written."""

    def call_function(self, function_name: str, resolved_args: Any, *args: Any, **kwargs: Any) -> Any:
        if function_name == "join" and len(resolved_args) == 2 and isinstance(resolved_args[1], list):
            separator, texts = resolved_args
            length = sum(len(text) for text in (separator, *texts) if isinstance(text, str))
            if length + len(str(separator)) * len(texts) > STEPS_AT_MOST:
                raise TooMuchWork
        return super().call_function(function_name, resolved_args, *args, **kwargs)


class _Bounded(TreeInterpreter):
    """Counts each visit, the values that it gave, and the characters that a function wrote."""

    def __init__(self) -> None:
        super().__init__(jmespath.Options(custom_functions=_Functions()))
        self._steps = 0
        self._looked_at = 0
        self._end = time.monotonic() + SECONDS_AT_MOST

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().visit(node, *args, **kwargs)
        is_written = isinstance(found, str) and node["type"] == "function_expression"
        self._steps += 1 + (len(found) if is_written or isinstance(found, list | dict) else 0)
        if self._steps > STEPS_AT_MOST:
            raise TooMuchWork
        if self._steps - self._looked_at > _STEPS_BETWEEN_LOOKS:
            self._looked_at = self._steps
            if time.monotonic() > self._end:
                raise TooMuchWork
        return found
