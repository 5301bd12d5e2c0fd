"""Finds what a source's database account may do beyond reading. A read-only transaction blocks none of it."""

from __future__ import annotations

from sqlalchemy import text

from integrations.clients.sources.errors import Power
from integrations.clients.sources.sql import SqlQuestion, execute

# Each answers with one row: superuser, files.
_QUERIES = {
    "postgresql": """
        SELECT account.rolsuper, EXISTS (
            SELECT 1 FROM pg_roles AS held
            WHERE held.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
            AND pg_has_role(account.oid, held.oid, 'member'))
        FROM pg_roles AS account WHERE account.rolname = current_user""",
    "mysql": """
        SELECT coalesce(max(privilege_type IN ('SUPER', 'CREATE USER')), 0), coalesce(max(privilege_type = 'FILE'), 0)
        FROM information_schema.user_privileges
        WHERE grantee = concat('''', replace(current_user(), '@', '''@'''), '''')""",
}


def powers_of(question: SqlQuestion, *, seconds: float) -> frozenset[Power]:
    """Those that its account has, as far as the database says it. Raises SourceError."""
    query = _QUERIES.get(question.url.get_backend_name())
    if query is None:
        return frozenset()
    _names, _kinds, rows = execute(question, text(query), 1, seconds)
    return frozenset(power for power, has_it in zip(Power, rows[0], strict=True) if has_it) if rows else frozenset()
