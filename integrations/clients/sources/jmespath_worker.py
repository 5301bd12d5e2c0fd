"""Child process that evaluates one JMESPath expression on one JSON answer.

An expression can double its result with every few letters, and JSON can be deep or wide. Only another process can be
bounded in memory and time, and killed. It knows nothing of the project; what it gets and gives goes through
pipes: in, a line of JSON (`expression`, `rows_at_most`) and the answer's bytes; out, `names` and `rows`, or `what`.
What goes out is bounded, too, because whoever reads it is not: plain values only, and OUTPUT_BYTES_AT_MOST of them.
"""

import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

MEMORY_BYTES = 1024 * 1024 * 1024
CPU_SECONDS = 60
COLUMNS_AT_MOST = 500
OUTPUT_BYTES_AT_MOST = 32 * 1024 * 1024
# One more than a table keeps of a text, so that it is cut there, visibly.
_CELL_CHARACTERS = 20_001
_NESTED = json.JSONEncoder(ensure_ascii=False, default=str)


def main() -> None:
    """One question from stdin, one answer to stdout; see the module for their forms."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    head = json.loads(sys.stdin.buffer.readline())
    try:
        found = rows_from(read(sys.stdin.buffer.read()), head["expression"], head["rows_at_most"])
        output = written(found)
    except _NoRows as error:
        output = _encoded({"what": error.what})
    except RecursionError:
        output = _encoded({"what": "deep"})
    except MemoryError:
        output = _encoded({"what": "memory"})
    sys.stdout.buffer.write(output)


class _NoRows(Exception):
    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def read(content: bytes) -> Any:
    """The answer's value; NaN and infinity, which are no JSON, are nothing."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _NoRows("encoding") from None
    if not text.strip():
        raise _NoRows("empty")
    try:
        return json.loads(text, parse_constant=lambda _name: None)
    except ValueError:
        raise _NoRows("not-json") from None


def rows_from(value: Any, expression: str, rows_at_most: int) -> dict[str, Any]:
    """Objects: a column for each key; lists and plain values: numbered columns. `{columns: …, rows: …}`: as it says.

    One row more than `rows_at_most` says that there are more.
    """
    try:
        found = jmespath.search(expression, value) if expression else value
    except (JMESPathError, TypeError, ValueError, KeyError, AttributeError):
        raise _NoRows("expression") from None
    if isinstance(found, dict) and set(found) == {"columns", "rows"} and isinstance(found["columns"], list):
        return _named(found["columns"], found["rows"], rows_at_most)
    if found is None:
        raise _NoRows("nothing")
    rows = found if isinstance(found, list) else [found]
    rows = rows[: rows_at_most + 1]
    if all(isinstance(row, dict) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))[: COLUMNS_AT_MOST + 1]
        return {"names": names, "rows": [[row.get(name) for name in names] for row in rows]}
    lists = [row if isinstance(row, list) else [row] for row in rows]
    width = min(max(len(row) for row in lists), COLUMNS_AT_MOST + 1)
    lists = [row[:width] for row in lists]
    return {"names": [""] * width, "rows": [[*row, *([None] * (width - len(row)))] for row in lists]}


def _named(columns: list[Any], rows: Any, rows_at_most: int) -> dict[str, Any]:
    if not isinstance(rows, list):
        raise _NoRows("rows")
    names = [str(_plain(name)) if name is not None else "" for name in columns[: COLUMNS_AT_MOST + 1]]
    return {"names": names, "rows": list(_as_lists(names, rows[: rows_at_most + 1]))}


def _as_lists(names: list[Any], rows: list[Any]) -> Iterator[list[Any]]:
    for row in rows:
        if not isinstance(row, dict | list):
            raise _NoRows("rows")
        yield [row.get(name) for name in names] if isinstance(row, dict) else row[: len(names) + 1]


# --- What goes out ----------------------------------------------------------------------------------------------------


def written(found: dict[str, Any]) -> bytes:
    """Names and rows as JSON, row by row, so that too much of it ends early."""
    names = _encoded([_plain(name) for name in found["names"]])
    parts, size = [], len(names)
    for row in found["rows"]:
        parts.append(_encoded([_plain(value) for value in row]))
        size += len(parts[-1]) + 1
        if size > OUTPUT_BYTES_AT_MOST:
            raise _NoRows("size")
    return b'{"names":' + names + b',"rows":[' + b",".join(parts) + b"]}"


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    """What is nested as the beginning of its text: a list of lists of the same list is short here, endless there."""
    if isinstance(value, str):
        return value[:_CELL_CHARACTERS]
    if not isinstance(value, dict | list):
        return value
    text = ""
    for piece in _NESTED.iterencode(value):
        text += piece
        if len(text) > _CELL_CHARACTERS:
            break
    return text[:_CELL_CHARACTERS]


if __name__ == "__main__":
    main()
