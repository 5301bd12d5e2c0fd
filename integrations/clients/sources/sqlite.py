"""Queries an SQLite file in a child process that can be killed (integrations.clients.sources.sqlite_worker)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from integrations.clients.sources import sql_errors, sqlite_worker
from integrations.clients.sources.errors import Problem, SourceError
from integrations.clients.sources.worker_process import WorkerBroken, WorkerTooSlow, answer_of


def execute(
    file: str, clause: TextClause, *, rows_at_most: int, seconds: float
) -> tuple[Sequence[str], list[Sequence[Any]]]:
    """The names of the columns and the first rows. Raises SourceError."""
    compiled = clause.compile(dialect=SQLiteDialect_pysqlite(), compile_kwargs={"render_postcompile": True})
    question = {
        "file": file,
        "statement": str(compiled),
        "parameters": [compiled.params[name] for name in compiled.positiontup or ()],
        "rows_at_most": rows_at_most,
        "seconds": seconds,
    }
    try:
        found = answer_of(sqlite_worker, json.dumps(question).encode(), seconds=seconds)
    except WorkerTooSlow:
        failure = SourceError(Problem.TOO_SLOW, seconds=round(max(1.0, seconds)))
    except WorkerBroken as broken:
        failure = SourceError(Problem.QUERY_REFUSED, code=f"SQLite {broken.code}")
    else:
        if "error" not in found:
            return found["names"], [[_value(one) for one in row] for row in found["rows"]]
        failure = sql_errors.of_sqlite(found["error"], found["said"], seconds=seconds)
    raise failure


def _value(sent: Any) -> Any:
    return bytes.fromhex(sent["hex"]) if isinstance(sent, dict) else sent
