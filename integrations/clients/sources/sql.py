"""Read an SQL query as a Table through SQLAlchemy: read-only, limited in time and rows.

Four things bound a query: a read-only transaction, the database's own time limit for a statement, a limited number of
streamed rows, and a timer that cuts the connection if the query still takes too long.
"""

from __future__ import annotations

import math
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import certifi
import pymysql
from sqlalchemy import TextClause, bindparam, create_engine, event, text
from sqlalchemy.engine import URL, Connection, CursorResult, Engine
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from integrations.clients.sources.addresses import (
    AddressForbiddenError,
    AllowedNetwork,
    DatabasePrivilege,
    explain_connection_failure,
    look_up_addresses,
    open_guarded_socket,
)
from integrations.clients.transport import read_boot_clock
from integrations.data import Problem, SourceError
from integrations.data.table import Kind, Table
from integrations.data.table_builder import CHARACTERS_AT_MOST, ColumnChoices, build_table

# --- Check that a text is one statement that only reads, so that the owner gets an early error ------------------------
# It is not the protection against writing. That is a read-only transaction, drivers that send one statement at a time,
# and an account without the right to write (docs/en/data-sources.md).

STATEMENT_CHARACTERS = 20_000
_READING = frozenset({"select", "with", "values", "table"})
# Passive parts of a statement: literals, quoted names and comments, in which no keyword counts. Their syntax differs by
# database, and a wrong match would hide what follows. "": for other databases, the syntax that most of them share.
_TEXT, _NAME, _COMMENT = r"'(?:[^']|'')*'", r'"(?:[^"]|"")*"', r"/\*.*?\*/"
_DOLLARS = r"(?<![\w$])(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*'"
_PASSIVE_SYNTAX = {
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
    for backend, passive in _PASSIVE_SYNTAX.items()
}
# These change a time limit or write a file even in a read-only transaction. They are refused in literals, too, because
# what is a literal depends on settings of MySQL that we do not know (ANSI_QUOTES, NO_BACKSLASH_ESCAPES).
_EXECUTED_COMMENT = re.compile(r"/\*(?:M?!|\+.*?(?:max_execution_time|set_var))", re.I | re.S)
_TO_FILE = re.compile(r"\b(?:out|dump)file\b", re.I)


def _find_token_pattern(backend: str) -> re.Pattern[str]:
    return _TOKENS.get("mysql" if backend == "mariadb" else backend, _TOKENS[""])


def check_statement(statement: str, *, backend: str = "") -> str:
    """Return the statement without trailing semicolons. Raises SourceError if it is not one query that reads.

    `backend`: SQLAlchemy's name for the kind of database; empty if unknown.
    """
    text = statement.strip()
    bare = _find_token_pattern(backend).sub(lambda found: found[0] if found["name"] else " ", text).strip()
    while bare.endswith(";") and text.endswith(";"):
        bare, text = bare[:-1].rstrip(), text[:-1].rstrip()
    words = re.match(r"[\s(]*([A-Za-z]+)", bare)
    if not words or words[1].lower() not in _READING or ";" in bare or len(text) > STATEMENT_CHARACTERS:
        raise SourceError(Problem.NOT_A_QUERY)
    if _EXECUTED_COMMENT.search(text) or "\0" in text or (backend != "postgresql" and _TO_FILE.search(text)):
        raise SourceError(Problem.NOT_A_QUERY)
    return text


def find_parameters(statement: str, *, backend: str = "") -> list[str]:
    """Return the names of the `:name` parameters, each once, in order."""
    found = _find_token_pattern(backend).finditer(statement)
    return list(dict.fromkeys(one["name"][1:] for one in found if one["name"]))


# --- Engines: each name is resolved once, before the driver can resolve it --------------------------------------------

# Each address of a name may take the whole time for connecting.
_ADDRESSES_AT_MOST = 4
# Values of sslmode that do not require TLS. Except with "disable", both drivers use TLS, unverified, if it is offered.
_SSLMODES_WITHOUT_TLS = frozenset({None, "disable", "allow", "prefer"})


def open_engine(
    url: URL, *, allowed_network: AllowedNetwork, ca_bundle: str, connect_seconds: int, seconds: int
) -> Engine:
    """Return an engine without a pool, because sources are asked rarely and should not keep connections.

    `seconds`: for each answer of the server. Raises AddressForbiddenError, OSError for an unknown name, and SourceError
    for a driver of DATA_SQL_DRIVERS, unless the source may reach the internal network: options that we do not know may
    choose another target.
    """
    options: dict[str, Any] = {"poolclass": NullPool, "pool_reset_on_return": None, "hide_parameters": True}
    match url.get_backend_name():
        case "postgresql":
            # libpq connects to `hostaddr`, and expects `host` in the certificate.
            host = url.host or ""
            addresses = look_up_addresses(host, url.port or 5432, allowed_network=allowed_network)[:_ADDRESSES_AT_MOST]
            arguments: dict[str, Any] = {"host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}
            arguments |= {"connect_timeout": connect_seconds, "gssencmode": "disable", "passfile": os.devnull}
            if authorities := _find_authorities(url, ca_bundle):
                arguments |= {"sslrootcert": authorities, "sslmode": "verify-full"}
            return create_engine(url, connect_args=arguments, **options)
        case "mysql":

            def connect() -> Any:
                """Connect PyMySQL over our own socket; the certificate must match the host name."""
                sock = open_guarded_socket(
                    url.host or "", url.port or 3306, connect_seconds, allowed_network=allowed_network
                )
                positional, named = url.get_dialect()().create_connect_args(url)
                named = {name: value for name, value in named.items() if name != "sslmode"}
                named |= {"read_timeout": seconds, "write_timeout": seconds}
                named |= {"local_infile": False, "defer_connect": True}
                if authorities := _find_authorities(url, ca_bundle):
                    named |= {"ssl": {"ca": authorities, "check_hostname": True}}
                elif url.query.get("sslmode") == "disable":
                    named |= {"ssl_disabled": True}
                connection: Any = pymysql.connect(*positional, **named)
                connection.connect(sock)
                return connection

            return create_engine(url, creator=connect, **options)
    if allowed_network < AllowedNetwork.PRIVATE:
        raise SourceError(Problem.DRIVER_UNCHECKED)
    look_up_addresses(url.host or "", url.port or 0, allowed_network=allowed_network)
    return create_engine(url, **options)


def _find_authorities(url: URL, ca_bundle: str) -> str:
    """Return the path of the certificates for verifying the server; empty if the address asks for no TLS."""
    return ca_bundle or ("" if url.query.get("sslmode") in _SSLMODES_WITHOUT_TLS else certifi.where())


# --- Reading ----------------------------------------------------------------------------------------------------------

# How much is fetched at once. Rows are counted after they arrive, so this bounds the surplus.
ROWS_AT_ONCE, CHARACTERS_AT_ONCE = 100, 2**20
CONNECT_SECONDS = 10
# Raised by PyMySQL if something that is not a database answers.
_PROTOCOL_ERRORS = (struct.error, IndexError, ValueError)
# Values whose length is their number of characters or bytes.
_SIZED = (str, bytes, bytearray, memoryview)
# The timer waits a moment longer than the limit, so that the database can report first that it stopped the query.
_TIMER_MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """A query. `url`: from parse_database_url. `parameters`: for each :name; a list for IN. `ca_bundle`: a path."""

    url: URL = field(repr=False)
    statement: str
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    allowed_network: AllowedNetwork = AllowedNetwork.PUBLIC
    ca_bundle: str = ""
    choices: ColumnChoices = field(default_factory=ColumnChoices)


def read_query(query: SqlQuery, *, rows_at_most: int, seconds: float, now: datetime) -> Table:
    """Return the first `rows_at_most` rows, within `seconds` including connecting. Raises SourceError.

    The database's type decides the kind of a column without values.
    """
    backend, values = query.url.get_backend_name(), query.parameters
    statement = check_statement(query.statement, backend=backend)
    names = find_parameters(statement, backend=backend)
    for name in names:
        if name not in values:
            raise SourceError(Problem.PARAMETER_MISSING, name=name)

    def rewrite(found: re.Match[str]) -> str:
        """Escape each colon that SQLAlchemy would wrongly take for a parameter, and add a space behind each parameter
        that is cast, as in :n::int, which SQLAlchemy would not recognise."""
        if found["passive"]:
            return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", found["passive"])
        return f"{found[0]} " if statement[found.end() :].startswith("::") else found[0]

    clause = text(_find_token_pattern(backend).sub(rewrite, statement)).bindparams(
        *(bindparam(name, values[name], expanding=isinstance(values[name], list)) for name in names)
    )
    result = execute_query(query, clause, rows_at_most + 1, seconds)
    return build_table(
        result.names,
        result.rows[:rows_at_most],
        fetched_at=now,
        is_cut=len(result.rows) > rows_at_most,
        choices=query.choices,
        source_kinds=result.kinds,
    )


class QueryResult(NamedTuple):
    """The first rows of a query. `kinds`: of the columns, by the database's types; None for text and unknown types."""

    names: Sequence[str]
    kinds: list[Kind | None]
    rows: list[Sequence[Any]]


def execute_query(query: SqlQuery, clause: TextClause, rows_at_most: int, seconds: float) -> QueryResult:
    """Return the first `rows_at_most` rows, within `seconds`.

    The time starts with connecting. Raises SourceError, which holds neither the statement nor its values.
    """
    limit = _TimeLimit(seconds)
    try:
        with _open_connection(query, limit) as connection:
            result = connection.execution_options(stream_results=True).execute(clause)
            by_code = _POSTGRESQL_KINDS if result.dialect.name == "postgresql" else _MYSQL_KINDS
            description = result.cursor.description if result.cursor is not None else None
            codes: list[Any] = [column[1] for column in description or ()]
            names, kinds = list(result.keys()), [by_code.get(code) for code in codes]
            return QueryResult(names, kinds, _read_rows(connection, result, rows_at_most, limit))
    except (SQLAlchemyError, OSError, ImportError, *_PROTOCOL_ERRORS) as error:
        failure = explain_failure(error, query.url.drivername, seconds=seconds, is_late=limit.is_over())
    # Raised outside the block: inside, its __context__ would be the driver's error, which holds statement and values.
    raise failure if limit.is_connected else hide_port_state(failure)


# By the drivers' type codes: PostgreSQL's OIDs for psycopg, FIELD_TYPE for PyMySQL.
_POSTGRESQL_KINDS: dict[int, Kind] = {
    **dict.fromkeys((20, 21, 23, 700, 701, 1700), Kind.NUMBER),
    16: Kind.BOOLEAN,
    1082: Kind.DATE,
    1114: Kind.DATETIME,
    1184: Kind.DATETIME,
}
_MYSQL_KINDS: dict[int, Kind] = {
    **dict.fromkeys((0, 1, 2, 3, 4, 5, 8, 9, 246), Kind.NUMBER),
    10: Kind.DATE,
    7: Kind.DATETIME,
    12: Kind.DATETIME,
}


class _TimeLimit:
    """The time limit of one query, starting now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Whether the sign-in to the database succeeded.
        self.is_connected = False
        self._ends_at = read_boot_clock() + seconds

    def seconds_left(self) -> float:
        return max(0.0, self._ends_at - read_boot_clock())

    def is_over(self) -> bool:
        return self.seconds_left() <= 0


def _read_rows(
    connection: Connection, result: CursorResult[Any], rows_at_most: int, limit: _TimeLimit
) -> list[Sequence[Any]]:
    found: list[Sequence[Any]] = []
    characters, longest, at_once = 0, 1, 1
    with result:
        while len(found) < rows_at_most:
            fetched = result.fetchmany(min(at_once, rows_at_most - len(found)))
            found += fetched
            # Nested values and numbers count by the length of their text.
            lengths = [
                sum(len(value if isinstance(value, _SIZED) else str(value)) for value in row if value is not None)
                for row in fetched
            ]
            characters, longest = characters + sum(lengths), max(longest, *lengths, 1)
            at_once = max(1, min(2 * at_once, ROWS_AT_ONCE, CHARACTERS_AT_ONCE // longest))
            if characters > CHARACTERS_AT_MOST:
                _stop_unread_rows(connection)
                raise SourceError(Problem.TOO_BIG, megabytes=CHARACTERS_AT_MOST // 2**20)
            if limit.is_over():  # checked before the end of the rows, because a cut connection may look like one
                _stop_unread_rows(connection)
                raise SourceError(Problem.TOO_SLOW, seconds=round(limit.seconds))
            if not fetched:
                return found
        _stop_unread_rows(connection)
    return found


# --- Connecting -------------------------------------------------------------------------------------------------------


@contextmanager
def _open_connection(query: SqlQuery, limit: _TimeLimit) -> Iterator[Connection]:
    """Yield a connection in a read-only transaction. Roll it back, and cut it when the time is over."""
    connect_seconds = max(1, math.ceil(min(CONNECT_SECONDS, limit.seconds_left())))
    engine = open_engine(
        query.url,
        allowed_network=query.allowed_network,
        ca_bundle=query.ca_bundle,
        connect_seconds=connect_seconds,
        seconds=max(1, math.ceil(limit.seconds)),
    )
    timers: list[threading.Timer] = []

    def start_timer(raw: Any, _record: Any) -> None:
        limit.is_connected = True
        timers.append(
            threading.Timer(limit.seconds_left() + _TIMER_MARGIN_SECONDS, _cut_connection, (raw, engine.dialect.name))
        )
        timers[-1].daemon = True
        timers[-1].start()

    # Before SQLAlchemy's own listener, which asks the database for its version and may wait for ever.
    event.listen(engine, "connect", start_timer, insert=True)
    try:
        connection = engine.connect()
        try:
            # With autocommit in MySQL, because only a transaction that we begin ourselves can be read-only.
            if engine.dialect.name in ("mysql", "mariadb"):
                connection.execution_options(isolation_level="AUTOCOMMIT")
            is_mariadb = bool(getattr(engine.dialect, "is_mariadb", False))
            for statement in list_limits(engine.dialect.name, is_mariadb=is_mariadb, seconds=limit.seconds_left()):
                connection.exec_driver_sql(statement)
            yield connection
        finally:
            with suppress(SQLAlchemyError, OSError):  # cut already, by us or by the other side
                connection.rollback()
            with suppress(SQLAlchemyError, OSError):
                connection.close()
    finally:
        for timer in timers:
            timer.cancel()
        engine.dispose()


def _cut_connection(raw: Any, dialect: str) -> None:
    """Cut the driver's connection, from any thread. The driver then raises an error in the thread that uses it."""
    with suppress(Exception):  # it may be closed at the same moment
        if dialect == "postgresql":
            with socket.socket(fileno=os.dup(raw.pgconn.socket)) as sock:
                sock.shutdown(socket.SHUT_RDWR)
        elif dialect in ("mysql", "mariadb"):
            raw._sock.shutdown(socket.SHUT_RDWR)
            if raw._result is not None:  # or PyMySQL would read ten million rows to the end when the cursor closes
                raw._result.unbuffered_active = False
        else:
            raw.cancel()


def _stop_unread_rows(connection: Connection) -> None:
    """Stop an answer that has more rows. Only MySQL needs it; other databases send only what is fetched."""
    if connection.dialect.name in ("mysql", "mariadb"):
        _cut_connection(connection.connection.driver_connection, connection.dialect.name)


def list_limits(dialect: str, *, is_mariadb: bool, seconds: float) -> tuple[str, ...]:
    """Return statements that limit the next query to reading and to `seconds`.

    For other databases there are none: their accounts must be read-only (docs/en/data-sources.md). The time limit has
    another name in MariaDB (mariadb.com/kb/en/aborting-statements) than in MySQL
    (dev.mysql.com/doc/refman/8.4/en/server-system-variables.html).
    """
    if dialect == "postgresql":
        milliseconds = max(1, round(seconds * 1000))
        return (
            "SET TRANSACTION READ ONLY",
            f"SET LOCAL statement_timeout = {milliseconds}",
            f"SET LOCAL lock_timeout = {max(1, milliseconds // 2)}",
        )
    if dialect not in ("mysql", "mariadb"):
        return ()
    seconds = max(0.001, seconds)
    wait = max(1, int(seconds / 2))
    time_limit = (
        f"max_statement_time = {seconds:.3f}" if is_mariadb else f"max_execution_time = {max(1, round(seconds * 1000))}"
    )
    return (
        f"SET SESSION {time_limit}",
        f"SET SESSION lock_wait_timeout = {wait}",
        f"SET SESSION innodb_lock_wait_timeout = {wait}",
        "START TRANSACTION READ ONLY",
    )


# --- Errors: a reason for the card's owner; the database's text only if it repeats nothing but the query --------------

CLIPPED_CHARACTERS = 160
_POSTGRESQL_PROBLEMS = {
    "57014": Problem.TOO_SLOW,
    "25006": Problem.NOT_A_QUERY,
    "42501": Problem.NO_RIGHT,
    "3D000": Problem.NO_DATABASE,
    "54000": Problem.TOO_BIG,
    **dict.fromkeys(("55P03", "40001", "40P01", "53300", "53200", "57P03"), Problem.BUSY),
    **dict.fromkeys(("57P01", "57P02"), Problem.UNREACHABLE),
}
_MYSQL_PROBLEMS = {
    **dict.fromkeys((1045, 1698), Problem.CREDENTIALS_REFUSED),
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), Problem.NO_RIGHT),
    **dict.fromkeys((1205, 1213, 1040, 1203, 1226), Problem.BUSY),
    **dict.fromkeys((3024, 1969, 1317), Problem.TOO_SLOW),
    **dict.fromkeys((1792, 1290), Problem.NOT_A_QUERY),
    **dict.fromkeys((2002, 2003, 2005, 2006, 2013, 2014, 2055, 1053, 1927), Problem.UNREACHABLE),
    1049: Problem.NO_DATABASE,
    2026: Problem.NO_TLS,
}
# Errors whose text repeats parts of the query and no data: unknown column, table, function; syntax.
_POSTGRESQL_CODES_WITH_TEXT = frozenset({"42703", "42P01", "42883", "42601", "42702", "42803", "3F000"})
_MYSQL_CODES_WITH_TEXT = frozenset({1054, 1146, 1064, 1305, 1052})


def explain_failure(error: Exception, driver: str, *, seconds: float, is_late: bool = False) -> SourceError:
    """Return the error for the card's owner. `is_late`: the time is over, whatever error the driver reports."""
    if isinstance(error, AddressForbiddenError):
        return SourceError(error.problem)
    if isinstance(error, NoSuchModuleError | ImportError):
        return SourceError(
            Problem.DRIVER_MISSING, driver="SQLAlchemy" if isinstance(error, SQLAlchemyError) else driver
        )
    if isinstance(error, TimeoutError) or (is_late and isinstance(error, SQLAlchemyError)):
        return SourceError(Problem.TOO_SLOW, seconds=round(seconds))
    if not isinstance(error, SQLAlchemyError):
        return explain_connection_failure(error)
    cause: Any = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    match type(cause).__module__.partition(".")[0]:
        case "psycopg":
            return _read_psycopg_error(cause, seconds)
        case "pymysql":
            return _read_pymysql_error(cause, seconds)
    return SourceError(Problem.QUERY_REFUSED, code=type(cause).__name__)


# Problems known before a connection, or reported by a database before the sign-in succeeds.
_PROBLEMS_BEFORE_SIGN_IN = frozenset(
    {
        *(Problem.CREDENTIALS_REFUSED, Problem.NO_RIGHT, Problem.NO_DATABASE, Problem.BUSY),
        *(Problem.CERTIFICATE, Problem.NO_TLS, Problem.DRIVER_MISSING),
        *(Problem.ADDRESS_FORBIDDEN, Problem.ADDRESS_NEVER, Problem.LOOPBACK_FORBIDDEN, Problem.DRIVER_UNCHECKED),
    }
)


def hide_port_state(failure: SourceError) -> SourceError:
    """Return the failure to report if the sign-in to the database failed. Most become UNREACHABLE, or TOO_SLOW marked
    as `silent`; only superusers read the cause of these two, so that nobody else can scan for open ports."""
    if failure.problem in _PROBLEMS_BEFORE_SIGN_IN:
        return failure
    if failure.problem is Problem.TOO_SLOW:
        return SourceError(Problem.TOO_SLOW, **failure.facts, silent=1)
    return SourceError(Problem.UNREACHABLE, reason=failure.facts.get("reason", "protocol"))


def _make_error(problem: Problem, code: str | int, seconds: float, message: str = "") -> SourceError:
    facts: dict[Problem, dict[str, str | int]] = {
        Problem.TOO_SLOW: {"seconds": round(seconds)},
        Problem.TOO_BIG: {"megabytes": CHARACTERS_AT_MOST // 2**20},
        Problem.UNREACHABLE: {"reason": str(code)},
        Problem.QUERY_REFUSED: {"code": f"{code}: {message}" if message else code},
    }
    return SourceError(problem, **facts.get(problem, {}))


def _read_psycopg_error(cause: Any, seconds: float) -> SourceError:
    state = cause.sqlstate
    if state is None and type(cause).__name__ == "DataError":  # of the driver: Python has no year 10000, no infinity
        return SourceError(Problem.NO_TABLE, what="beyond")
    if state is None:
        return _read_libpq_message(str(cause))
    if state in _POSTGRESQL_CODES_WITH_TEXT:
        message = (cause.diag.message_primary or "")[:CLIPPED_CHARACTERS]
        return _make_error(Problem.QUERY_REFUSED, state, seconds, message)
    if state[:2] == "28":
        return SourceError(Problem.CREDENTIALS_REFUSED)
    if state[:2] == "08":
        return _make_error(Problem.UNREACHABLE, state, seconds)
    return _make_error(_POSTGRESQL_PROBLEMS.get(state, Problem.QUERY_REFUSED), state, seconds)


def _read_libpq_message(message: str) -> SourceError:
    """Return why there is no connection. libpq says it only in a text that holds the address, too."""
    text = message.lower()
    if "authentication failed" in text or "pg_hba" in text or "no password supplied" in text:
        return SourceError(Problem.CREDENTIALS_REFUSED)
    if "does not exist" in text:
        return SourceError(Problem.CREDENTIALS_REFUSED if "role" in text else Problem.NO_DATABASE)
    if "permission denied" in text:
        return SourceError(Problem.NO_RIGHT)
    if "certificate" in text:
        return SourceError(Problem.CERTIFICATE)
    if "does not support ssl" in text:  # only PostgreSQL answers so
        return SourceError(Problem.NO_TLS)
    if "ssl error" in text:  # any service may answer so, such as SSH: only superusers may learn that a port is open
        return SourceError(Problem.UNREACHABLE, reason="tls")
    if "too many" in text or "starting up" in text:
        return SourceError(Problem.BUSY)
    if "timeout" in text or "timed out" in text:
        return SourceError(Problem.UNREACHABLE, reason="timeout")
    return SourceError(Problem.UNREACHABLE, reason="refused" if "refused" in text else "connection")


def _read_pymysql_error(cause: Any, seconds: float) -> SourceError:
    code = cause.args[0] if cause.args and isinstance(cause.args[0], int) else 0
    if code in _MYSQL_CODES_WITH_TEXT:
        return _make_error(Problem.QUERY_REFUSED, code, seconds, str(cause.args[1])[:CLIPPED_CHARACTERS])
    if "certificate" in str(cause).lower():
        return SourceError(Problem.CERTIFICATE)
    if "timed out" in str(cause):
        return SourceError(Problem.TOO_SLOW, seconds=round(seconds))
    return _make_error(_MYSQL_PROBLEMS.get(code, Problem.QUERY_REFUSED), code, seconds)


# --- Rights of a source's account beyond reading. A read-only transaction blocks none of them -------------------------

# Each query returns one row with a value for each DatabasePrivilege, in order: superuser, files.
_PRIVILEGE_QUERIES = {
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


def find_privileges(query: SqlQuery, *, seconds: float) -> frozenset[DatabasePrivilege]:
    """Return the rights of the source's account, as far as the database reports them. Raises SourceError."""
    statement = _PRIVILEGE_QUERIES.get(query.url.get_backend_name())
    if statement is None:
        return frozenset()
    rows = execute_query(query, text(statement), 1, seconds).rows
    if not rows:
        return frozenset()
    return frozenset(one for one, has_it in zip(DatabasePrivilege, rows[0], strict=True) if has_it)
