"""Tables with typed columns, the reading of values, and figures, for all data of pushes and alerts. Pure Python.

`SourceError` holds the reason why there is no table; `integrations.models.datasources` turns it into a sentence.
"""

from __future__ import annotations

from enum import StrEnum


class Problem(StrEnum):
    """The reason why there is no data. It selects the sentence that the card's owner reads."""

    SOURCE_OFF = "source-off"
    NOT_SET_UP = "not-set-up"
    KEY_MISSING = "key-missing"
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too-slow"
    TOO_BIG = "too-big"
    CREDENTIALS_REFUSED = "not-admitted"
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
    ADDRESS_REFUSED = "address-refused"  # a database's address that is wrong in itself
    ADDRESS_FORBIDDEN = "address-forbidden"  # in an internal network
    ADDRESS_NEVER = "address-never"  # forbidden to every source, such as a cloud's metadata service
    LOOPBACK_FORBIDDEN = "loopback-forbidden"
    DRIVER_UNCHECKED = "driver-unchecked"
    REDIRECTED = "redirected"
    QUERY_REFUSED = "query-refused"
    NOT_A_QUERY = "not-a-query"
    PARAMETER_MISSING = "parameter-missing"
    DRIVER_MISSING = "driver-missing"
    EXPRESSION = "expression"
    UNEXPECTED = "unexpected"


# Problems that may be gone at the next try.
TEMPORARY = frozenset({Problem.UNREACHABLE, Problem.TOO_SLOW, Problem.BROKEN, Problem.BUSY})


class SourceError(Exception):
    """A source gave no Table.

    `facts`: values for the sentence, which are numbers, names of columns and parameters, or short words of our own;
    never an address, a credential or a value of the data.
    """

    def __init__(self, problem: Problem, **facts: str | int) -> None:
        super().__init__(problem.value)
        self.problem = problem
        self.facts = facts

    @property
    def is_temporary(self) -> bool:
        """True if another try later may succeed."""
        return self.problem in TEMPORARY
