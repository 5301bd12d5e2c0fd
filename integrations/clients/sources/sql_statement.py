"""Parses one read-only SQL statement and its parameters. Pure.

This is for the sentence that the owner reads early. What really keeps a query from writing is the database: a read-only
transaction, drivers that send one statement at a time, and an account that may do no more (docs/en/data-sources.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from integrations.clients.sources.errors import Problem, SourceError

STATEMENT_CHARACTERS = 20_000
_READING = frozenset({"select", "with", "values", "table"})
# Literals, quoted names and comments: in them nothing counts. What is one differs from database to database, and what
# we took for one that is none would hide what follows. Of a kind unknown to us, whatever one of them takes for one.
_TEXT, _NAME, _COMMENT = r"'(?:[^']|'')*'", r'"(?:[^"]|"")*"', r"/\*.*?\*/"
_DOLLARS = r"(?<![\w$])(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*'"
_PASSIVE = {
    # dev.mysql.com/doc/refman/8.4/en/comments.html: two dashes are a comment only before a space or control character.
    "mysql": (_ESCAPED, r'"(?:[^"\\]|\\.|"")*"', r"`[^`]*`", r"--(?=[\0-\x20\x7f]|\Z)[^\n]*", r"\#[^\n]*", _COMMENT),
    # postgresql.org/docs/17/sql-syntax-lexical.html
    "postgresql": (
        *(rf"(?<![\w$])[eE]{_ESCAPED}", _TEXT, _NAME, r"--[^\n\r]*", _COMMENT),
        _DOLLARS,
    ),
    "": (_TEXT, _NAME, r"`[^`]*`", r"\[[^\]\n]*\]", r"--[^\n]*", _COMMENT, _DOLLARS),
}
_TOKENS = {
    backend: re.compile(rf"(?P<passive>{'|'.join(passive)})|(?P<name>(?<![:\w\\]):[A-Za-z_]\w*)", re.S)
    for backend, passive in _PASSIVE.items()
}
# What ends a time limit or writes a file although the transaction only reads. Files: anywhere, also in texts, because
# what is a text depends on settings of MySQL that we do not know (ANSI_QUOTES, NO_BACKSLASH_ESCAPES).
_ODD_COMMENT = re.compile(r"/\*(?:M?!|\+.*?(?:max_execution_time|set_var))", re.I | re.S)
_TO_FILE = re.compile(r"\b(?:out|dump)file\b", re.I)


def _tokens(backend: str) -> re.Pattern[str]:
    return _TOKENS.get("mysql" if backend == "mariadb" else backend, _TOKENS[""])


def checked(statement: str, *, backend: str = "") -> str:
    """The statement without a semicolon at its end. Raises SourceError where it is not one query that reads.

    `backend`: SQLAlchemy's name of the kind of database; empty where it is not known.
    """
    text = statement.strip()
    bare = _tokens(backend).sub(_emptied, text).strip()
    while bare.endswith(";") and text.endswith(";"):
        bare, text = bare[:-1].rstrip(), text[:-1].rstrip()
    words = re.match(r"[\s(]*([A-Za-z]+)", bare)
    if not words or words[1].lower() not in _READING or ";" in bare or len(text) > STATEMENT_CHARACTERS:
        raise SourceError(Problem.NOT_A_QUERY)
    if _ODD_COMMENT.search(text) or "\0" in text or (backend != "postgresql" and _TO_FILE.search(text)):
        raise SourceError(Problem.NOT_A_QUERY)
    return text


def _emptied(found: re.Match[str]) -> str:
    return found[0] if found["name"] else " "


def parameters_of(statement: str, *, backend: str = "") -> list[str]:
    """The names behind colons that stand for values, each once, in their order."""
    found = _tokens(backend).finditer(statement)
    return list(dict.fromkeys(one["name"][1:] for one in found if one["name"]))


def with_plain_colons(statement: str, *, backend: str = "") -> str:
    """The statement with a backslash before every colon that SQLAlchemy would take for a parameter, and is none; and
    with a space behind each parameter that is cast, as in :n::int, which it would not take for one."""

    def written(found: re.Match[str]) -> str:
        if found["passive"]:
            return _escaped(found["passive"])
        return f"{found[0]} " if statement[found.end() :].startswith("::") else found[0]

    return _tokens(backend).sub(written, statement)


def _escaped(passive: str) -> str:
    return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", passive)


def bound(names: list[str], values: Mapping[str, object]) -> dict[str, object]:
    """The value of each name. Raises SourceError where one is missing."""
    for name in names:
        if name not in values:
            raise SourceError(Problem.PARAMETER_MISSING, name=name)
    return {name: values[name] for name in names}
