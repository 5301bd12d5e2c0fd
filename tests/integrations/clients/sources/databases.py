"""Real databases, with the table facts(n, city, amount) of 100 rows."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest
from django.utils import translation

from integrations.clients.sources.addresses import AllowedNetwork, parse_database_url
from integrations.clients.sources.sql import SqlQuery, read_query
from integrations.data import Problem, SourceError
from integrations.data.table import Table
from integrations.models import datasources
from tests.integrations.clients.sources.place import NOW

SECRET = "sim-sql-password"
FACTS = [(number, ("北京", "上海")[number % 2], Decimal(number) / 4) for number in range(100)]


class Database:
    """A database. `url` is that of an account that may only read its table; `reach` that of the source that asks it."""

    def __init__(
        self, url: str, drivers: Collection[str] = (), reach: AllowedNetwork = AllowedNetwork.THIS_MACHINE
    ) -> None:
        self.url, self.drivers, self.reach = url, drivers, reach

    def query(self, statement: str = "SELECT 1", **parameters: Any) -> SqlQuery:
        return SqlQuery(parse_database_url(self.url, self.drivers), statement, parameters, self.reach)

    def ask(self, statement: str, *, rows_at_most: int = 1000, seconds: float = 30, **parameters: Any) -> Table:
        return read_query(self.query(statement, **parameters), rows_at_most=rows_at_most, seconds=seconds, now=NOW)

    def of_account(self, name: str) -> Database:
        """Return the database with another account: `filer` may read files, `chief` may do everything."""
        return Database(self.url.replace("reader", name))

    def problem(self, statement: str, **known: Any) -> Problem:
        with pytest.raises(SourceError) as found:
            self.ask(statement, **known)
        with translation.override("en"):
            sentence = datasources.explain_problem(found.value.problem, found.value.facts)
        said = f"{sentence} {found.value.facts} {found.value.__cause__!r} {found.value.__context__!r}"
        assert SECRET not in said
        assert "127.0.0.1" not in said
        return found.value.problem
