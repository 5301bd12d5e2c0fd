"""Compiles report templates: refuses other syntax, limits loops and sizes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from integrations.core.sentences import Sentence
from integrations.data.table import LARGEST
from notifications.reports.templates.environment import ENVIRONMENT, counted, joined
from notifications.reports.templates.values import TemplateError

TEMPLATE_CHARACTERS = 10_000
DEPTH_AT_MOST = 30
_LINE_END = re.compile(r"\r\n?")
_LANGUAGE = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem),
    *(nodes.Call, nodes.Keyword, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or),
    *(nodes.Not, nodes.CondExpr, nodes.If, nodes.For, nodes.Assign, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div),
    *(nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat, nodes.List, nodes.Tuple),
)


def plain_text(source: str) -> str | None:
    """What comes out of a template in which nothing is computed, as of most titles; None for any other."""
    if "{" in source or len(source) > TEMPLATE_CHARACTERS:
        return None
    return _LINE_END.sub("\n", source)


@lru_cache(maxsize=256)
def compiled(source: str, known: frozenset[str]) -> Any:
    """A template of Jinja2, in which `known` are the names that it is given. Raises TemplateError with the line."""
    if len(source) > TEMPLATE_CHARACTERS:
        sentence = Sentence("The template is longer than %(most)d characters.")
        raise TemplateError(0, sentence % {"most": TEMPLATE_CHARACTERS})
    try:
        tree = ENVIRONMENT.parse(source)
        _check_depth(tree)
        _check_language(tree)
        _check_names(tree, known)
        return ENVIRONMENT.from_string(_guarded(tree))
    except TemplateSyntaxError as error:
        raise TemplateError(error.lineno, _spelt(error)) from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
        raise TemplateError(
            0, Sentence("The template is nested too deeply, or holds a number that is too long.")
        ) from error


def _check_depth(tree: nodes.Node) -> None:
    level: list[nodes.Node] = [tree]
    for _depth in range(DEPTH_AT_MOST):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise TemplateError(level[0].lineno, Sentence("The template is nested too deeply."))


def _check_language(tree: nodes.Node) -> None:
    for node in _all(tree):
        if not isinstance(node, _LANGUAGE):
            sentence = Sentence("“%(what)s” is not part of a report's templates.")
            raise TemplateError(node.lineno, sentence % {"what": _WORDS.get(type(node), type(node).__name__)})
        problem = _problem(node)
        if problem:
            raise TemplateError(node.lineno, problem)


def _problem(node: nodes.Node) -> Sentence | None:
    """Why a node of the language is not allowed as it is written."""
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


def _check_names(tree: nodes.Node, known: frozenset[str]) -> None:
    names = [node for node in _all(tree) if isinstance(node, nodes.Name)]
    assigned = {node.name for node in names if node.ctx == "store"}
    for node in names:
        if node.ctx == "store" and node.name in known:
            sentence = Sentence("“%(name)s” has a meaning already; choose another name.")
            raise TemplateError(node.lineno, sentence % {"name": node.name})
        if node.ctx == "load" and node.name not in known | assigned | {"loop"}:
            raise TemplateError(node.lineno, Sentence("There is nothing called “%(name)s” here.") % {"name": node.name})


def _guarded(node: Any) -> Any:
    """The same tree, in which loops count their rounds and ~ minds the length."""
    for field, value in node.iter_fields():
        if isinstance(value, list):
            setattr(node, field, [_guarded(each) if isinstance(each, nodes.Node) else each for each in value])
        elif isinstance(value, nodes.Node):
            setattr(node, field, _guarded(value))
    if isinstance(node, nodes.For):
        node.iter = nodes.Filter(node.iter, counted.__name__, [], [], None, None, lineno=node.lineno)
    if isinstance(node, nodes.Concat):
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, joined.__name__, [], [], None, None, lineno=node.lineno)
    node.environment = ENVIRONMENT
    return node


def _all(tree: nodes.Node) -> Iterator[nodes.Node]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())


def _spelt(error: TemplateSyntaxError) -> Sentence:
    return Sentence("This cannot be read as a template (%(detail)s).") % {"detail": error.message}


_WORDS: dict[type[nodes.Node], str] = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter",
    nodes.AssignBlock: "set … endset",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.Pow: "**",
    nodes.FloorDiv: "//",
    nodes.Slice: "[:]",
    nodes.Dict: "{}",
    nodes.NSRef: "namespace",
}
