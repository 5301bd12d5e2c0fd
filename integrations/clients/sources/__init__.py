"""Where a report's data comes from: a Guandata card, an SQL query, JSON over HTTP. Each returns one Table, or raises a
SourceError; integrations.models.datasources makes a sentence of it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from integrations.data.table import TableError


class Problem(StrEnum):
    """Why there is no data, so also which sentence explains it to the owner of the card."""

    SOURCE_OFF = "source-off"
    NOT_SET_UP = "not-set-up"
    KEY_MISSING = "key-missing"
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too-slow"
    TOO_BIG = "too-big"
    NOT_ADMITTED = "not-admitted"
    NO_RIGHT = "no-right"
    NO_DATABASE = "no-database"
    NOT_FOUND = "not-found"
    REFUSED = "refused"
    BROKEN = "broken"
    BUSY = "busy"
    NOT_UNDERSTOOD = "not-understood"
    NO_TABLE = "no-table"
    CERTIFICATE = "certificate"
    NO_TLS = "no-tls"
    ADDRESS_REFUSED = "address-refused"
    ADDRESS_FORBIDDEN = "address-forbidden"
    ADDRESS_NEVER = "address-never"
    LOOPBACK_FORBIDDEN = "loopback-forbidden"
    DRIVER_UNCHECKED = "driver-unchecked"
    REDIRECTED = "redirected"
    QUERY_REFUSED = "query-refused"
    NOT_A_QUERY = "not-a-query"
    PARAMETER_MISSING = "parameter-missing"
    DRIVER_MISSING = "driver-missing"
    EXPRESSION = "expression"
    UNEXPECTED = "unexpected"


class Power(StrEnum):
    """What the account of a database may do beyond reading tables."""

    SUPERUSER = "superuser"
    FILES = "files"


# They may be gone when it is asked again.
PASSING = frozenset({Problem.UNREACHABLE, Problem.TOO_SLOW, Problem.BROKEN, Problem.BUSY})


class SourceError(Exception):
    """A source gave no Table.

    `facts`: what the sentence names: numbers, names of columns and of parameters, short words of our own; never an
    address, a credential or a value of the data.
    """

    def __init__(self, problem: Problem, **facts: str | int) -> None:
        super().__init__(problem.value)
        self.problem = problem
        self.facts = facts

    @property
    def may_pass(self) -> bool:
        """Whether it is worth asking again, after a while."""
        return self.problem in PASSING


@contextmanager
def explain_table_errors() -> Iterator[None]:
    """Raise SourceError in place of TableError."""
    failure: SourceError | None = None
    try:
        yield
    except TableError as error:
        if error.megabytes:
            failure = SourceError(Problem.TOO_BIG, megabytes=error.megabytes)
        else:
            facts = {"column": error.column} if error.column else {}
            failure = SourceError(Problem.NO_TABLE, what=error.what, **facts)
    if failure is not None:
        raise failure


# Of a connection that never came about, by what the system said.
_REASONS: dict[type[BaseException], str] = {
    socket.gaierror: "dns",
    ConnectionRefusedError: "refused",
    TimeoutError: "timeout",
}


def unreachable(cause: BaseException) -> SourceError:
    """No connection, because of this."""
    return SourceError(Problem.UNREACHABLE, reason=_REASONS.get(type(cause), type(cause).__name__))
