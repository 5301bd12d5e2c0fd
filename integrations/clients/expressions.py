"""JMESPath evaluation, bounded in steps, size and time. Pure.

An expression can double its result with every few letters, so each value that it builds is counted, and the length of
a text is checked before a function makes it. Incoming calls need a quick answer, so their limits are lower.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

EXPRESSION_CHARACTERS = 1000
# Limits on an incoming call.
STEPS_AT_MOST = 200_000
SECONDS_AT_MOST = 1.0
# Limit on the answer of a source.
SOURCE_STEPS_AT_MOST = 10_000_000
_STEPS_BETWEEN_CLOCK_CHECKS = 1024
_BUILDING_NODES = frozenset({"multi_select_list", "multi_select_dict"})
# Errors that an expression raises on a payload whose form its author did not expect.
_PAYLOAD_ERRORS = (JMESPathError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError)


class InvalidExpressionError(Exception):
    """The expression is not JMESPath. `position`: the index of the character where it fails; -1 if it is unknown."""

    def __init__(self, position: int) -> None:
        super().__init__("not a JMESPath expression")
        self.position = position


class ExpressionTooCostlyError(Exception):
    """The expression takes too long on this payload, or its result grows too large."""


class ExpressionMismatchError(Exception):
    """The expression does not fit this payload."""


def check_expression(expression: str) -> None:
    """Raise InvalidExpressionError, with the position, if `expression` is not JMESPath or names an unknown function."""
    if len(expression) > EXPRESSION_CHARACTERS:
        raise InvalidExpressionError(EXPRESSION_CHARACTERS)
    try:
        waiting = [jmespath.compile(expression).parsed]
    except JMESPathError as error:
        raise InvalidExpressionError(getattr(error, "lex_position", -1)) from None
    except RecursionError:
        raise InvalidExpressionError(-1) from None
    while waiting:
        node = waiting.pop()
        if node["type"] == "function_expression" and node["value"] not in _Functions.FUNCTION_TABLE:
            raise InvalidExpressionError(-1)
        waiting += [child for child in node["children"] if isinstance(child, dict)]


def find_value(expression: str, payload: Any) -> Any:
    """Return what the expression selects in a call's payload; None if it selects nothing or does not fit.

    Raises ExpressionTooCostlyError.
    """
    try:
        if not expression:
            return None
        return evaluate_expression(expression, payload, steps_at_most=STEPS_AT_MOST, seconds=SECONDS_AT_MOST)
    except ExpressionMismatchError:
        return None


def evaluate_expression(
    expression: str, value: Any, *, steps_at_most: int = SOURCE_STEPS_AT_MOST, seconds: float
) -> Any:
    """Return the value of the expression on `value`. Raises ExpressionTooCostlyError and ExpressionMismatchError."""
    try:
        return _BoundedInterpreter(steps_at_most, seconds).visit(jmespath.compile(expression).parsed, value)
    except _PAYLOAD_ERRORS:
        pass
    # Raised outside the block: inside, its __context__ would be the first error, whose text may hold values.
    raise ExpressionMismatchError


class _Functions(functions.Functions):
    """JMESPath's functions. The text of `join` and `to_string` may outgrow the input, so its size is checked first."""

    def __init__(self, characters_at_most: int) -> None:
        self._characters_at_most = characters_at_most

    def call_function(self, function_name: str, resolved_args: Any, *args: Any, **kwargs: Any) -> Any:
        if function_name in {"join", "to_string"}:
            length, separator = 0, resolved_args[0] if function_name == "join" and resolved_args else ""
            for value in _walk_values(resolved_args):
                length += len(str(separator)) + (len(value) if isinstance(value, str) else 1)
                if length > self._characters_at_most:
                    raise ExpressionTooCostlyError
        return super().call_function(function_name, resolved_args, *args, **kwargs)


class _BoundedInterpreter(TreeInterpreter):
    """An interpreter that counts its steps: each visit of a node, the values in its result (or the characters of a text
    that a function makes), and all nested values of a list or object that the expression builds."""

    def __init__(self, steps_at_most: int, seconds: float) -> None:
        super().__init__(jmespath.Options(custom_functions=_Functions(steps_at_most)))
        self._steps, self._steps_at_most = 0, steps_at_most
        self._clock_checked_at = 0
        self._end = time.monotonic() + seconds

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().visit(node, *args, **kwargs)
        is_made_text = isinstance(found, str) and node["type"] == "function_expression"
        self._count(1 + (len(found) if is_made_text or isinstance(found, list | dict) else 0))
        if node["type"] in _BUILDING_NODES:
            for _value in _walk_values(found):
                self._count(1)
        return found

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > self._steps_at_most:
            raise ExpressionTooCostlyError
        if self._steps - self._clock_checked_at > _STEPS_BETWEEN_CLOCK_CHECKS:
            self._clock_checked_at = self._steps
            if time.monotonic() > self._end:
                raise ExpressionTooCostlyError


def _walk_values(value: Any) -> Iterator[Any]:
    """Yield the value and all keys and values nested in it; a value that occurs twice is yielded twice."""
    waiting = [value]
    while waiting:
        yield (one := waiting.pop())
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
