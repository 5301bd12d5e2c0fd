"""Child process that runs one query on an SQLite file.

Functions of SQLite may work for minutes within one step, which nothing interrupts; only another process can be
bounded in memory and time, and killed. It knows nothing of the project; what it gets and gives goes through pipes: in,
JSON (`file`, `statement`, `parameters`, `rows_at_most`, `seconds`); out, `names` and `rows`, or what SQLite says.
"""

import json
import math
import resource
import sqlite3
import sys
from typing import Any
from urllib.parse import quote

MEMORY_BYTES = 1024 * 1024 * 1024
OUTPUT_BYTES_AT_MOST = 32 * 1024 * 1024
# Of one value, and the longest pattern for LIKE.
VALUE_BYTES, PATTERN_BYTES = 2**20, 1000
# More than a table keeps of a text, so that it is cut there, visibly.
_CELL_CHARACTERS = 20_001
_CELL_BYTES = 4 * _CELL_CHARACTERS
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})


def main() -> None:
    """One question from stdin, one answer to stdout; see the module for their forms."""
    question = json.loads(sys.stdin.buffer.read())
    # Whoever started it kills it at its time; this is for where that one was killed first.
    cpu_seconds = math.ceil(question["seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    try:
        output = answered(question)
    except sqlite3.Error as error:
        output = _encoded({"error": getattr(error, "sqlite_errorname", None) or "", "said": str(error)})
    except (OverflowError, ValueError):  # a parameter that SQLite does not take
        output = _encoded({"error": "parameter", "said": ""})
    except MemoryError:
        output = _encoded({"error": "SQLITE_NOMEM", "said": ""})
    sys.stdout.buffer.write(output)


def answered(question: dict[str, Any]) -> bytes:
    """Names and rows as JSON, row by row, so that too much of it ends early."""
    wait = min(5.0, question["seconds"] / 2)
    connection = sqlite3.connect(f"file:{quote(question['file'])}?mode=ro", uri=True, timeout=wait)
    _bound(connection)
    cursor = connection.execute(question["statement"], question["parameters"])
    names = _encoded([column[0] for column in cursor.description or ()])
    parts: list[bytes] = []
    size = len(names)
    for row in cursor:
        parts.append(_encoded([_plain(value) for value in row]))
        size += len(parts[-1]) + 1
        if size > OUTPUT_BYTES_AT_MOST:
            return _encoded({"error": "SQLITE_TOOBIG", "said": ""})
        if len(parts) >= question["rows_at_most"]:
            break
    return b'{"names":' + names + b',"rows":[' + b",".join(parts) + b"]}"


def _bound(connection: sqlite3.Connection) -> None:
    """It reads rows of this one file, and nothing else."""
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(_only_reading)


def _only_reading(action: int, _first: str | None, second: str | None, *_where: str | None) -> int:
    is_allowed = action in _READING and (second or "").lower() not in ("load_extension", "fts3_tokenizer")
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    """What is no text and no number is an object: its bytes in hexadecimal digits."""
    if isinstance(value, bytes):
        return {"hex": value[:_CELL_BYTES].hex()}
    return value[:_CELL_CHARACTERS] if isinstance(value, str) else value


if __name__ == "__main__":
    main()
