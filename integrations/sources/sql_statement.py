"""What of a text is one query that only reads, and which parameters it has. Pure.

This is for the sentence that the owner reads early. What really keeps a query from writing is the database: a read-only
transaction, drivers that send one statement at a time, and an account that may do no more (docs/data-sources.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from integrations.sources.failing import Problem, SourceError

STATEMENT_CHARACTERS = 20_000
_READING = frozenset({"select", "with", "values", "table"})
# Literals, quoted names and comments: in them nothing counts. Only MySQL escapes by a backslash.
_PASSIVE = r"""
    "(?:[^"]|"")*" | `[^`]*` | \[[^\]\n]*\] | --[^\n]* | /\*.*?\*/ | (?P<tag>\$[A-Za-z_]*\$).*?(?P=tag)
"""
_TOKENS = {
    False: re.compile(rf"(?P<passive>'(?:[^']|'')*' | {_PASSIVE}) | (?P<name>(?<![:\w\\]):[A-Za-z_]\w*)", re.X | re.S),
    True: re.compile(
        rf"(?P<passive>'(?:[^'\\]|\\.|'')*' | {_PASSIVE} | \#[^\n]*) | (?P<name>(?<![:\w\\]):[A-Za-z_]\w*)", re.X | re.S
    ),
}
# What ends a time limit or writes a file although the transaction only reads.
_ODD_COMMENT = re.compile(r"/\*(?:M?!|\+.*?(?:max_execution_time|set_var))", re.I | re.S)
_TO_FILE = re.compile(r"\binto\s+(?:out|dump)file\b", re.I)


def checked(statement: str, *, has_backslashes: bool = False) -> str:
    """The statement without a semicolon at its end. Raises SourceError where it is not one query that reads."""
    text = statement.strip()
    bare = _TOKENS[has_backslashes].sub(_emptied, text).strip()
    while bare.endswith(";") and text.endswith(";"):
        bare, text = bare[:-1].rstrip(), text[:-1].rstrip()
    words = re.match(r"[\s(]*([A-Za-z]+)", bare)
    if not words or words[1].lower() not in _READING or ";" in bare or len(text) > STATEMENT_CHARACTERS:
        raise SourceError(Problem.NOT_A_QUERY)
    if _ODD_COMMENT.search(text) or _TO_FILE.search(bare) or "\0" in text:
        raise SourceError(Problem.NOT_A_QUERY)
    return text


def _emptied(found: re.Match[str]) -> str:
    return found[0] if found["name"] else " "


def parameters_of(statement: str, *, has_backslashes: bool = False) -> list[str]:
    """The names behind colons that stand for values, each once, in their order."""
    found = _TOKENS[has_backslashes].finditer(statement)
    return list(dict.fromkeys(one["name"][1:] for one in found if one["name"]))


def with_plain_colons(statement: str, *, has_backslashes: bool = False) -> str:
    """The statement with a backslash before every colon that SQLAlchemy would take for a parameter, and is none."""
    return _TOKENS[has_backslashes].sub(
        lambda found: _escaped(found["passive"]) if found["passive"] else found[0], statement
    )


def _escaped(passive: str) -> str:
    return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", passive)


def bound(names: list[str], values: Mapping[str, object]) -> dict[str, object]:
    """The value of each name. Raises SourceError where one is missing."""
    for name in names:
        if name not in values:
            raise SourceError(Problem.PARAMETER_MISSING, name=name)
    return {name: values[name] for name in names}
