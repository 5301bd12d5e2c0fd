"""Renders titles and texts of reports in a sandbox of primitive values. Pure.

Only a small part of Jinja2's language is allowed; the rest is refused when a report is saved. Limits bound the
characters of the template and of the output, the steps, and the seconds. Everything that a template does to a value
passes through the environment here, which allows known names only.
"""

from __future__ import annotations

import operator
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, DecimalException
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from jinja2 import TemplateSyntaxError, nodes, pass_context
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from integrations.core.sentences import Sentence
from integrations.data.figures import ARITHMETIC, LAST_WORKDAY, Change, Period, Workday, find_last_workday
from integrations.data.table import DASH, DOWN, LARGEST, SAME, UP, Table
from notifications.charts.drawing import describe_change
from notifications.reports.templates import values
from notifications.reports.templates.tables import TableView, UnknownView
from notifications.reports.templates.values import (
    NOTHING,
    Exposed,
    ExpressionError,
    Nothing,
    TemplateError,
    escape_markup,
    find_exposed,
    to_number,
)

OUTPUT_CHARACTERS = 20_000
# The name in a template's context for its _Rendering; no template can name it.
RENDERING = "_rendering"
# A brace right before an opening is text, though Jinja2 would read both as an opening. Tags stay as they are.
_BRACE = re.compile(r"\{(?=\{[{%#])|(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)
_LOOP_ATTRIBUTES = frozenset({"index", "index0", "first", "last", "length", "revindex"})
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": ARITHMETIC.add,
    "-": ARITHMETIC.subtract,
    "*": ARITHMETIC.multiply,
    "/": ARITHMETIC.divide,
    "%": ARITHMETIC.remainder,
}
TOO_LONG = Sentence("The text would be longer than %(most)d characters.") % {"most": OUTPUT_CHARACTERS}


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox: everything that a template does to a value passes through it. It allows known names only."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def preprocess(self, source: str, name: str | None = None, filename: str | None = None) -> str:
        return _BRACE.sub(lambda found: found[1] or "{{ '{' }}", source)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Exposed):
            return obj.get_attribute(attribute)
        if isinstance(obj, Change):
            difference = obj.difference
            arrow = DASH if difference is None else SAME if difference == 0 else UP if difference > 0 else DOWN
            parts = {"difference": difference, "percent": obj.ratio, "now": obj.new, "before": obj.old}
            found = find_exposed({"arrow": arrow, **parts}, attribute)
            return NOTHING if found is None else found
        if isinstance(obj, Period):
            return find_exposed({"start": obj.start, "end": obj.end, "days": len(obj.days)}, attribute)
        if isinstance(obj, LoopContext) and attribute in _LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        if isinstance(obj, Nothing):
            return NOTHING
        raise ExpressionError(Sentence("There is nothing called “%(name)s” here.") % {"name": attribute[:64]})

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Exposed):
            return obj.get_item(argument)
        if isinstance(obj, tuple) and type(argument) is int:
            return obj[argument] if -len(obj) <= argument < len(obj) else NOTHING
        if isinstance(obj, Nothing):
            return NOTHING
        raise ExpressionError(Sentence("This has no parts in square brackets."))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(__obj, partial):  # templates are given no other function
            raise ExpressionError(Sentence("This cannot be called."))
        __context[RENDERING].charge(1)
        # Within loops Jinja2 passes its own variables; functions of templates do not take them.
        given = {name: value for name, value in kwargs.items() if name not in {"_loop_vars", "_block_vars"}}
        return __obj(*args, **given)

    def call_binop(self, context: Context, sign: str, left: Any, right: Any) -> Any:
        context[RENDERING].charge(1)
        if isinstance(left, date) and sign in {"+", "-"} and type(right) is int:
            return values.add_days(left, right if sign == "+" else -right)
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

    def call_unop(self, context: Context, sign: str, value: Any) -> Any:
        number = to_number(value) if not isinstance(value, str) else None
        if number is None:
            return NOTHING
        return -number if sign == "-" else number


@pass_context
def _write_output(context: Context, value: Any) -> str:
    """Write any output of a template, escaped for the form."""
    rendering: _Rendering = context[RENDERING]
    return escape_markup(_write_value(value), rendering.form)


def _write_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Nothing):
        return DASH
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int | float | Decimal):
        return values.format_plain(value)
    if isinstance(value, date | Period):
        return values.format_time(value)
    if isinstance(value, Change):
        return describe_change(value)
    if isinstance(value, Exposed):
        return value.as_text()
    raise ExpressionError(Sentence("This is not a value that can be shown: name a part of it."))


@pass_context
def join_texts(context: Context, parts: list[Any]) -> str:
    """Join texts: the function of ~."""
    context[RENDERING].charge(len(parts))
    return _join_list(parts, "")


@pass_context
def charge_rounds(context: Context, items: Any) -> Iterator[Any]:
    """Yield the items of a loop, and charge a step for each round."""
    if isinstance(items, Nothing):
        return
    if not isinstance(items, tuple | list):
        raise ExpressionError(Sentence("A loop goes through the rows of data only: for row in card.rows."))
    for item in items:
        context[RENDERING].charge(1)
        yield item


def _length(value: Any) -> int:
    if isinstance(value, str | tuple | list):
        return len(value)
    raise ExpressionError(Sentence("This has no length."))


def _clip(value: Any, length: int = 20) -> str:
    text = _write_value(value)
    if type(length) is not int or length < 1:
        raise ExpressionError(Sentence("A length is 1 or more."))
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _join_list(items: Any, by: str = ", ") -> str:
    if not isinstance(items, tuple | list) or not isinstance(by, str):
        raise ExpressionError(Sentence("Only a list can be joined."))
    texts, size = [], 0
    for item in items:
        texts.append(_write_value(item))
        size += len(texts[-1]) + len(by)
        if size > OUTPUT_CHARACTERS:
            raise ExpressionError(TOO_LONG)
    return by.join(texts)


@dataclass(frozen=True)
class Format:
    """A filter, written `value | name`. `chinese`: its other name; `example`: the value in the help's example."""

    name: str
    chinese: str
    call: Callable[..., Any]
    example: str = ""


_TESTS: dict[str, Callable[..., bool]] = {
    "empty": lambda value: value is None or isinstance(value, Nothing) or value == "",
    "number": lambda value: isinstance(value, int | Decimal) and not isinstance(value, bool),
}

FORMATS = (
    Format("thousands", "千分位", partial(values.format_plain, grouped=True), "1234567.8"),
    # Numbers below 10,000 stay as they are.
    Format(
        "wan", "万", lambda value, decimals=1: values.format_in_unit(value, values.WAN, decimals, "万"), "1234567.8"
    ),
    Format("yi", "亿", lambda value, decimals=2: values.format_in_unit(value, values.YI, decimals, "亿"), "1234567890"),
    Format("short", "自动", values.format_short, "1234567.8"),
    Format("percent", "百分比", values.format_percent, "0.1234"),
    Format("round", "四舍五入", values.format_rounded, "12.56"),
    Format(
        "signed", "带符号", lambda value, decimals=1: values.format_rounded(value, decimals, is_signed=True), "12.56"
    ),
    Format("abs", "绝对值", lambda value: NOTHING if (number := to_number(value)) is None else abs(number), "12.56"),
    Format(
        "date",
        "日期",
        lambda at, pattern="": values.format_time(at, pattern) if isinstance(at, date | Period) else DASH,
    ),
    Format("days", "加天数", values.add_days),
    Format("default", "默认", lambda value, other: other if _TESTS["empty"](value) else value),
    Format(
        "prefix",
        "前缀",
        lambda value, words="": "" if (text := _write_value(value)) in ("", DASH) else f"{_write_value(words)}{text}",
    ),
    Format("clip", "截取", _clip),
    Format("join", "连接", _join_list),
    Format("length", "长度", _length),
)


ENVIRONMENT = _Environment(
    autoescape=False,  # _write_output escapes, for WeCom's forms
    finalize=_write_output,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    cache_size=0,
    extensions=(),
)
ENVIRONMENT.globals.clear()
ENVIRONMENT.filters.clear()
ENVIRONMENT.tests.clear()
ENVIRONMENT.filters.update({name: one.call for one in FORMATS for name in (one.name, one.chinese)})
ENVIRONMENT.filters["万亿"] = values.format_short  # a former name in stored templates
# Filters of _add_guards. No template can name them, because they begin with "_".
_JOIN_TEXTS, _CHARGE_ROUNDS = "_join_texts", "_charge_rounds"
ENVIRONMENT.filters.update({_JOIN_TEXTS: join_texts, _CHARGE_ROUNDS: charge_rounds})
ENVIRONMENT.tests.update(_TESTS)
TEMPLATE_CHARACTERS = 10_000
DEPTH_AT_MOST = 30
_LINE_END = re.compile(r"\r\n?")
_ALLOWED_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem),
    *(nodes.Call, nodes.Keyword, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or),
    *(nodes.Not, nodes.CondExpr, nodes.If, nodes.For, nodes.Assign, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div),
    *(nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat, nodes.List, nodes.Tuple),
)


@lru_cache(maxsize=256)
def compile_template(source: str, names: frozenset[str]) -> Any:
    """Compile a template that may use the common names, and `names`: of its tables and values. Raises TemplateError
    with the line."""
    if len(source) > TEMPLATE_CHARACTERS:
        sentence = Sentence("The template is longer than %(most)d characters.")
        raise TemplateError(0, sentence % {"most": TEMPLATE_CHARACTERS})
    try:
        tree = ENVIRONMENT.parse(source)
        _check_tree(tree, names.union(_find_time_names(), _FUNCTIONS))
        return ENVIRONMENT.from_string(_add_guards(tree))
    except TemplateSyntaxError as error:
        sentence = Sentence("This cannot be read as a template (%(detail)s).")
        raise TemplateError(error.lineno, sentence % {"detail": error.message}) from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
        raise TemplateError(
            0, Sentence("The template is nested too deeply, or holds a number that is too long.")
        ) from error


# How templates write nodes whose classes in Jinja2 have other names.
_TAGS = {
    **{"AssignBlock": "set … endset", "FilterBlock": "filter", "CallBlock": "call", "FromImport": "from … import"},
    **{"Slice": "[:]", "Dict": "{}", "NSRef": "namespace"},
}


def _check_tree(tree: nodes.Node, known: frozenset[str]) -> None:
    """Check the depth of the template, its language and its names. Raises TemplateError with the line."""
    level: list[nodes.Node] = [tree]
    for _depth in range(DEPTH_AT_MOST):
        level = [child for node in level for child in node.iter_child_nodes()]
    if level:
        raise TemplateError(level[0].lineno, Sentence("The template is nested too deeply."))
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED_NODES):
            kind = type(node).__name__
            what = getattr(node, "operator", "") or _TAGS.get(kind, kind.lower())
            sentence = Sentence("“%(what)s” is not part of a report's templates.")
            raise TemplateError(node.lineno, sentence % {"what": what})
        problem = _find_problem(node)
        if problem:
            raise TemplateError(node.lineno, problem)
    names = list(tree.find_all(nodes.Name))
    assigned = {node.name for node in names if node.ctx == "store"}
    for node in names:
        if node.ctx == "store" and node.name in known:
            sentence = Sentence("“%(name)s” has a meaning already; choose another name.")
            raise TemplateError(node.lineno, sentence % {"name": node.name})
        if node.ctx == "load" and node.name not in known | assigned | {"loop"}:
            raise TemplateError(node.lineno, Sentence("There is nothing called “%(name)s” here.") % {"name": node.name})


def _find_problem(node: nodes.Node) -> Sentence | None:
    """Return why a node of an allowed kind must not be written like this; None if it may."""
    if isinstance(node, nodes.Name | nodes.Getattr):
        name = node.name if isinstance(node, nodes.Name) else node.attr
        return Sentence("Names do not begin with “_”.") if name.startswith("_") else None
    if isinstance(node, nodes.Const) and isinstance(node.value, int | float) and abs(node.value) >= LARGEST:
        return Sentence("This number is too large.")  # 1e9999 is infinity, which Jinja2 would write as a name
    if isinstance(node, nodes.Filter | nodes.Test):
        known = ENVIRONMENT.filters if isinstance(node, nodes.Filter) else ENVIRONMENT.tests
        if node.name not in known or node.name.startswith("_"):
            names = ", ".join(sorted(name for name in known if not name.startswith("_")))
            return Sentence("There is no format “%(name)s”. There is: %(known)s.") % {"name": node.name, "known": names}
    if isinstance(node, nodes.Call | nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        return Sentence("Arguments are written one by one.")
    if isinstance(node, nodes.Assign | nodes.For) and not isinstance(node.target, nodes.Name):
        return Sentence("Only one name at a time can be set.")
    if isinstance(node, nodes.For) and node.recursive:
        return Sentence("“%(what)s” is not part of a report's templates.") % {"what": "recursive"}
    if isinstance(node, nodes.List | nodes.Tuple) and not all(isinstance(one, nodes.Const) for one in node.items):
        return Sentence("A list holds texts and numbers only.")
    return None


def _add_guards(node: Any) -> Any:
    """Return the tree with loops that charge for their rounds and ~ that limits its length."""
    for name, value in node.iter_fields():
        if isinstance(value, list):
            setattr(node, name, [_add_guards(each) if isinstance(each, nodes.Node) else each for each in value])
        elif isinstance(value, nodes.Node):
            setattr(node, name, _add_guards(value))
    if isinstance(node, nodes.For):
        node.iter = nodes.Filter(node.iter, _CHARGE_ROUNDS, [], [], None, None, lineno=node.lineno)
    if isinstance(node, nodes.Concat):
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, _JOIN_TEXTS, [], [], None, None, lineno=node.lineno)
    node.environment = ENVIRONMENT
    return node


STEPS_AT_MOST = 1_000_000
SECONDS_AT_MOST = 5.0
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "if", "else", "elif", "for", "set"})
_FUNCTIONS = {
    "change": partial(values.compare_values),
    **{name: partial(values.find_period, period) for name, period in values.AROUND.items()},
}


@dataclass(frozen=True)
class RenderContext:
    """The input of templates: the slot, its time zone, and a table for each alias, None if no data is known yet.
    `values`: further values by name, as templates see them. `calendar`: tells which days are workdays."""

    slot_at: datetime
    zone: ZoneInfo
    tables: Mapping[str, Table | None] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    calendar: Callable[[], Workday] = lambda: lambda day: day.weekday() < 5


def render_template(source: str, context: RenderContext, form: str, *, is_cut: bool = False) -> str:
    """Return the text for a message of this form, with values of cells escaped for it. An empty form gives plain text,
    such as a title, which is escaped when a message is made.

    `is_cut`: cut a long text, which then ends in "…". Raises TemplateError with the line and a sentence.
    """
    if "{" not in source and len(source) <= TEMPLATE_CHARACTERS:  # it computes nothing, like most titles
        return _LINE_END.sub("\n", source)
    template = compile_template(source, frozenset({*context.tables, *context.values}))
    rendering = _Rendering(form)
    names = {**values.find_named_times(context.slot_at, context.zone)}
    today = context.slot_at.astimezone(context.zone).date()
    if any(name in source for name in LAST_WORKDAY):
        names |= dict.fromkeys(LAST_WORKDAY, find_last_workday(today, context.calendar()))
    names |= {
        alias: UnknownView(context.zone, rendering.charge)
        if table is None
        else TableView(table, context.zone, rendering.charge, today)
        for alias, table in context.tables.items()
    }
    names |= {**context.values, **_FUNCTIONS, RENDERING: rendering}
    parts, size = [], 0
    try:
        for part in template.generate(names):
            parts.append(part)
            size += len(part)
            if size > OUTPUT_CHARACTERS and is_cut:
                return f"{''.join(parts)[: OUTPUT_CHARACTERS - 1]}…"
            if size > OUTPUT_CHARACTERS:
                raise ExpressionError(TOO_LONG)
    except ExpressionError as error:
        raise TemplateError(_find_line(error), error.sentence) from error
    except (TypeError, ValueError, ArithmeticError, DecimalException, RecursionError) as error:
        sentence = Sentence("These values cannot be used together like this, or an argument is missing.")
        raise TemplateError(_find_line(error), sentence) from error
    return "".join(parts)


def find_reserved_names() -> frozenset[str]:
    """Return the names that no card may have, because they have a meaning already."""
    return _find_time_names() | {*_FUNCTIONS, "loop", "true", "false", "none", "True", "False", "None"} | _KEYWORDS


@lru_cache(maxsize=1)
def _find_time_names() -> frozenset[str]:
    epoch = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))
    return frozenset(values.find_named_times(epoch, ZoneInfo("UTC"))) | {*LAST_WORKDAY}


class _Rendering:
    """The form of one rendering, and its remaining steps and time."""

    def __init__(self, form: str) -> None:
        self.form = form
        self._steps_left = STEPS_AT_MOST
        self._end = time.monotonic() + SECONDS_AT_MOST

    def charge(self, steps: int) -> None:
        """Count work done. Raises ExpressionError when it is too much."""
        self._steps_left -= steps
        if self._steps_left < 0 or time.monotonic() > self._end:
            raise ExpressionError(Sentence("This goes through too many rows, or through rows within rows."))


def _find_line(error: BaseException) -> int:
    """Return the template's line at which the error was raised. Jinja2 puts such lines into the traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return (lines[-1] or 0) if lines else 0
