"""Maps database errors to reasons for the card's owner. The original text is kept only where it repeats the query."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from integrations.clients.sources.errors import Problem, SourceError, unreachable
from integrations.clients.sources.sql_engine import UncheckedDriverError
from integrations.clients.sources.ssrf import AddressForbiddenError

CLIPPED_CHARACTERS = 160
_POSTGRESQL = {
    "57014": Problem.TOO_SLOW,
    "25006": Problem.NOT_A_QUERY,
    "42501": Problem.NO_RIGHT,
    "3D000": Problem.NO_DATABASE,
    "54000": Problem.TOO_BIG,
    **dict.fromkeys(("55P03", "40001", "40P01", "53300", "53200", "57P03"), Problem.BUSY),
    **dict.fromkeys(("57P01", "57P02"), Problem.UNREACHABLE),
}
_MYSQL = {
    **dict.fromkeys((1045, 1698), Problem.NOT_ADMITTED),
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), Problem.NO_RIGHT),
    **dict.fromkeys((1205, 1213, 1040, 1203, 1226), Problem.BUSY),
    **dict.fromkeys((3024, 1969, 1317), Problem.TOO_SLOW),
    **dict.fromkeys((1792, 1290), Problem.NOT_A_QUERY),
    **dict.fromkeys((2002, 2003, 2005, 2006, 2013, 2014, 2055, 1053, 1927), Problem.UNREACHABLE),
    1049: Problem.NO_DATABASE,
    2026: Problem.NO_TLS,
}
# Errors that name what stands in the query and nothing of the data: unknown column, table, function; syntax.
_REPEATS_THE_QUERY = frozenset({"42703", "42P01", "42883", "42601", "42702", "42803", "3F000"})
_MYSQL_REPEATS = frozenset({1054, 1146, 1064, 1305, 1052})
_MEGABYTES = 32


def of(error: SQLAlchemyError, *, seconds: float, is_late: bool) -> SourceError:
    """`is_late`: the time was over, so whatever the driver says, that is the reason."""
    if isinstance(error, NoSuchModuleError):
        return SourceError(Problem.DRIVER_MISSING, driver="SQLAlchemy")
    cause: Any = error.orig if isinstance(error, DBAPIError) else None
    if is_late:
        return SourceError(Problem.TOO_SLOW, seconds=round(seconds))
    if cause is None:
        return SourceError(Problem.QUERY_REFUSED, code=type(error).__name__)
    module = type(cause).__module__.partition(".")[0]
    reader = {"psycopg": _of_psycopg, "pymysql": _of_pymysql}.get(module, _of_other)
    return reader(cause, seconds)


def of_driver(error: Exception, driver: str, *, seconds: float) -> SourceError:
    """A failure outside of what SQLAlchemy wraps: no module, no file, no line."""
    if isinstance(error, AddressForbiddenError):
        return SourceError(error.problem)
    if isinstance(error, UncheckedDriverError):
        return SourceError(Problem.DRIVER_UNCHECKED)
    if isinstance(error, ImportError):
        return SourceError(Problem.DRIVER_MISSING, driver=driver)
    if isinstance(error, TimeoutError):
        return SourceError(Problem.TOO_SLOW, seconds=round(seconds))
    return unreachable(error)


# What a database says of itself before it lets anybody in, and what is known before anybody is asked.
_BEFORE_CONNECTING = frozenset(
    {
        *(Problem.NOT_ADMITTED, Problem.NO_RIGHT, Problem.NO_DATABASE, Problem.BUSY),
        *(Problem.CERTIFICATE, Problem.NO_TLS, Problem.DRIVER_MISSING),
        *(Problem.ADDRESS_FORBIDDEN, Problem.ADDRESS_NEVER, Problem.LOOPBACK_FORBIDDEN, Problem.DRIVER_UNCHECKED),
    }
)


def before_connecting(failure: SourceError) -> SourceError:
    """The same where no database has let us in: whatever else answers, or does not, is one and the same silence, so
    that nobody learns from it which ports are open."""
    if failure.problem in _BEFORE_CONNECTING:
        return failure
    if failure.problem is Problem.TOO_SLOW:
        return SourceError(Problem.TOO_SLOW, **failure.facts, silent=1)
    return SourceError(Problem.UNREACHABLE, reason=failure.facts.get("reason", "protocol"))


def _made(problem: Problem, code: str | int, seconds: float, said: str = "") -> SourceError:
    facts: dict[Problem, dict[str, str | int]] = {
        Problem.TOO_SLOW: {"seconds": round(seconds)},
        Problem.TOO_BIG: {"megabytes": _MEGABYTES},
        Problem.UNREACHABLE: {"reason": str(code)},
        Problem.QUERY_REFUSED: {"code": f"{code}: {said}" if said else code},
    }
    return SourceError(problem, **facts.get(problem, {}))


def _of_psycopg(cause: Any, seconds: float) -> SourceError:
    state = cause.sqlstate
    if state is None and type(cause).__name__ == "DataError":  # the driver's: Python has no year 10000, no infinity
        return SourceError(Problem.NO_TABLE, what="beyond")
    if state is None:
        return _of_no_connection(str(cause), seconds)
    if state in _REPEATS_THE_QUERY:
        said = (cause.diag.message_primary or "")[:CLIPPED_CHARACTERS]
        return _made(Problem.QUERY_REFUSED, state, seconds, said)
    if state[:2] == "28":
        return SourceError(Problem.NOT_ADMITTED)
    if state[:2] == "08":
        return _made(Problem.UNREACHABLE, state, seconds)
    return _made(_POSTGRESQL.get(state, Problem.QUERY_REFUSED), state, seconds)


def _of_no_connection(said: str, seconds: float) -> SourceError:
    """libpq says in words only why there is no connection; they hold the address, so none of them goes on."""
    text = said.lower()
    if "authentication failed" in text or "pg_hba" in text or "no password supplied" in text:
        return SourceError(Problem.NOT_ADMITTED)
    if "does not exist" in text:
        return SourceError(Problem.NOT_ADMITTED if "role" in text else Problem.NO_DATABASE)
    if "permission denied" in text:
        return SourceError(Problem.NO_RIGHT)
    if "certificate" in text:
        return SourceError(Problem.CERTIFICATE)
    if "does not support ssl" in text:  # what PostgreSQL alone answers
        return SourceError(Problem.NO_TLS)
    if "ssl error" in text:  # any service does, such as SSH: that a port is open is told to superusers alone
        return SourceError(Problem.UNREACHABLE, reason="tls")
    if "too many" in text or "starting up" in text:
        return SourceError(Problem.BUSY)
    if "timeout" in text or "timed out" in text:
        return SourceError(Problem.UNREACHABLE, reason="timeout")
    return SourceError(Problem.UNREACHABLE, reason="refused" if "refused" in text else "connection")


def _of_pymysql(cause: Any, seconds: float) -> SourceError:
    code = cause.args[0] if cause.args and isinstance(cause.args[0], int) else 0
    if code in _MYSQL_REPEATS:
        return _made(Problem.QUERY_REFUSED, code, seconds, str(cause.args[1])[:CLIPPED_CHARACTERS])
    if "certificate" in str(cause).lower():
        return SourceError(Problem.CERTIFICATE)
    if "timed out" in str(cause):
        return SourceError(Problem.TOO_SLOW, seconds=round(seconds))
    return _made(_MYSQL.get(code, Problem.QUERY_REFUSED), code, seconds)


def _of_other(cause: Any, seconds: float) -> SourceError:
    return _made(Problem.QUERY_REFUSED, type(cause).__name__, seconds)
