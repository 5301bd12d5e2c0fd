"""The Jinja2 environment of report templates: attributes, arithmetic, formats. Pure.

Everything that a template does to a value comes through the environment here, and only what is allowed by name passes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from django.utils.translation import gettext as _
from jinja2 import pass_context
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from integrations.core.sentences import Sentence
from integrations.data.figures import ARITHMETIC
from integrations.data.table import DASH, LARGEST
from notifications.reports.templates import dates, numbers
from notifications.reports.templates.escaping import escaped
from notifications.reports.templates.values import NOTHING, Exposed, ExpressionError, Function, Nothing, to_number

OUTPUT_CHARACTERS = 20_000
# Under this name a template's context holds the work that it is part of; no template can name it.
RENDERING = "_rendering"
# A brace right before an opening is text: Jinja2 would take the two for an opening. Within a tag all stays as it is.
_BRACE = re.compile(r"\{(?=\{[{%#])|(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)
_OF_LOOPS = frozenset({"index", "index0", "first", "last", "length", "revindex"})
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": ARITHMETIC.add,
    "-": ARITHMETIC.subtract,
    "*": ARITHMETIC.multiply,
    "/": ARITHMETIC.divide,
    "%": ARITHMETIC.remainder,
}


class Work(Protocol):
    """One rendering: the message form it is for, and how much it may still do."""

    form: str

    def charge(self, steps: int) -> None:
        """Count work done. Raises ExpressionError when it is too much."""


def too_long() -> Sentence:
    return Sentence("The text would be longer than %(most)d characters.") % {"most": OUTPUT_CHARACTERS}


class _Environment(ImmutableSandboxedEnvironment):
    """Everything that a template does to a value comes through here, and only what is allowed by name passes."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def preprocess(self, source: str, name: str | None = None, filename: str | None = None) -> str:
        return _BRACE.sub(lambda found: found[1] or "{{ '{' }}", source)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Exposed):
            return obj.exposed(attribute)
        if isinstance(obj, LoopContext) and attribute in _OF_LOOPS:
            return getattr(obj, attribute)
        if isinstance(obj, Nothing):
            return NOTHING
        raise ExpressionError(Sentence("There is nothing called “%(name)s” here.") % {"name": attribute[:64]})

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Exposed):
            return obj.item(argument)
        if isinstance(obj, tuple) and type(argument) is int:
            return obj[argument] if -len(obj) <= argument < len(obj) else NOTHING
        if isinstance(obj, Nothing):
            return NOTHING
        raise ExpressionError(Sentence("This has no parts in square brackets."))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # as Jinja2 has it
        if not isinstance(__obj, Function):
            raise ExpressionError(Sentence("This cannot be called."))
        __context[RENDERING].charge(1)
        # Within loops Jinja2 hands its own variables on; functions of templates have no use for them.
        given = {name: value for name, value in kwargs.items() if name not in {"_loop_vars", "_block_vars"}}
        return __obj(*args, **given)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        context[RENDERING].charge(1)
        if isinstance(left, date) and operator in {"+", "-"} and type(right) is int:
            return dates.moved(left, right if operator == "+" else -right)
        return _computed(operator, left, right)

    def call_unop(self, context: Context, sign: str, value: Any) -> Any:
        number = to_number(value) if not isinstance(value, str) else None
        if number is None:
            return NOTHING
        return -number if sign == "-" else number


def _computed(sign: str, left: Any, right: Any) -> Any:
    if isinstance(left, Nothing) or isinstance(right, Nothing):
        return NOTHING
    if not isinstance(left, int | float | Decimal) or not isinstance(right, int | float | Decimal):
        raise ExpressionError(Sentence("Only numbers can be computed with; texts are joined by ~."))
    if all(type(each) is int and abs(each) < LARGEST for each in (left, right)) and sign in {"+", "-"}:
        return {"+": operator.add, "-": operator.sub}[sign](left, right)
    first, second = to_number(left), to_number(right)
    if first is None or second is None or max(abs(first), abs(second)) >= LARGEST:
        raise ExpressionError(Sentence("This number is too large."))
    if second == 0 and sign in {"/", "%"}:
        return NOTHING
    result = _OPERATORS[sign](first, second)
    if abs(result) >= LARGEST:
        raise ExpressionError(Sentence("This number is too large."))
    return result


@pass_context
def _shown(context: Context, value: Any) -> str:
    """Anything that goes into the text, as the form takes it."""
    work: Work = context[RENDERING]
    return escaped(_written(value), work.form)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Nothing):
        return DASH
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int | float | Decimal):
        return numbers.plain(value)
    if isinstance(value, date):
        return dates.written(value)
    if isinstance(value, Exposed):
        return value.shown()
    raise ExpressionError(Sentence("This is not a value that can be shown; name what is meant of it."))


def _bounded(text: str) -> str:
    if len(text) > OUTPUT_CHARACTERS:
        raise ExpressionError(too_long())
    return text


@pass_context
def joined(context: Context, parts: list[Any]) -> str:
    """What ~ stands for."""
    context[RENDERING].charge(len(parts))
    return _bounded("".join(_written(part) for part in parts))


@pass_context
def counted(context: Context, items: Any) -> Any:
    """What a loop goes through, a step for each round."""
    if isinstance(items, Nothing):
        return ()
    if not isinstance(items, tuple | list):
        raise ExpressionError(Sentence("One can go through the rows of a card only: for row in card.rows."))
    return _steps(context[RENDERING], items)


class _steps:  # noqa: N801  # an iterable, used as a function
    """Counts as it is gone through; has a length, for loop.last."""

    def __init__(self, work: Work, items: Any) -> None:
        self._work, self._items = work, items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self._work.charge(1)
            yield item


def _default(value: Any, other: Any) -> Any:
    return other if value is None or isinstance(value, Nothing) or value == "" else value


def _length(value: Any) -> int:
    if isinstance(value, str | tuple | list):
        return len(value)
    raise ExpressionError(Sentence("This has no length."))


def _clipped(value: Any, length: int = 20) -> str:
    text = _written(value)
    if type(length) is not int or length < 1:
        raise ExpressionError(Sentence("A length is 1 or more."))
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _list_joined(values: Any, by: str = ", ") -> str:
    if not isinstance(values, tuple | list) or not isinstance(by, str):
        raise ExpressionError(Sentence("Only a list can be joined."))
    text, size = [], 0
    for value in values:
        text.append(_written(value))
        size += len(text[-1]) + len(by)
        if size > OUTPUT_CHARACTERS:
            raise ExpressionError(too_long())
    return by.join(text)


def _absolute(value: Any) -> Any:
    number = to_number(value)
    return NOTHING if number is None else abs(number)


@dataclass(frozen=True)
class Format:
    """A filter, as `value | name`. `chinese`: by which it is known, too. `example`: of what the help shows."""

    name: str
    chinese: str
    call: Callable[..., Any]
    example: str = ""


FORMATS = (
    Format("thousands", "千分位", numbers.thousands, "1234567.8"),
    Format("wan", "万", numbers.in_wan, "1234567.8"),
    Format("yi", "亿", numbers.in_yi, "1234567890"),
    Format("short", "自动", numbers.short, "1234567.8"),
    Format("percent", "百分比", numbers.percent, "0.1234"),
    Format("round", "四舍五入", numbers.rounded, "12.56"),
    Format("signed", "带符号", numbers.signed, "12.56"),
    Format("abs", "绝对值", _absolute, "12.56"),
    Format("date", "日期", dates.written_or_dash),
    Format("days", "加天数", dates.moved),
    Format("default", "默认", _default),
    Format("clip", "截取", _clipped),
    Format("join", "连接", _list_joined),
    Format("length", "长度", _length),
)
_TESTS = {
    "empty": lambda value: value is None or isinstance(value, Nothing) or value == "",
    "number": lambda value: isinstance(value, int | Decimal) and not isinstance(value, bool),
}


def _made_environment() -> _Environment:
    environment = _Environment(
        autoescape=False,  # _shown does it, for WeCom's forms
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=0,
        extensions=(),
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.tests.clear()
    for each in FORMATS:
        environment.filters[each.name] = environment.filters[each.chinese] = each.call
    environment.filters["万亿"] = numbers.short  # its former name, in stored templates
    environment.filters[joined.__name__] = joined
    environment.filters[counted.__name__] = counted
    environment.tests.update(_TESTS)
    return environment


ENVIRONMENT = _made_environment()
