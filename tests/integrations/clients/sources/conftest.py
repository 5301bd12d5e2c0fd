"""A MariaDB with an account that only reads, and others that may do more (PostgreSQL: tests.integrations.conftest)."""

import os
from collections.abc import Iterator
from contextlib import closing

import pymysql
import pytest
import responses

from tests.guandata import GuandataAnswers
from tests.integrations.clients.sources.databases import FACTS, SECRET, Database
from tests.integrations.clients.sources.place import Clock
from tests.mariadb import start_mariadb


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bi() -> Iterator[GuandataAnswers]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        answers = GuandataAnswers(wire)
        answers.gives("sign_in")
        yield answers


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Database]:
    service = start_mariadb()
    if service is None:
        assert not os.environ.get("CI"), "MariaDB must be installed where the suite must be whole"
        pytest.skip("no MariaDB is installed (Debian: mariadb-server)")
    try:
        port = int(service.url.rpartition(":")[2].partition("/")[0])
        root = pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True)
        with closing(root), root.cursor() as cursor:
            cursor.execute("CREATE DATABASE sales CHARACTER SET utf8mb4")
            cursor.execute("CREATE TABLE sales.facts (n integer, city text, amount decimal(10,2))")
            cursor.executemany("INSERT INTO sales.facts VALUES (%s, %s, %s)", FACTS)
            cursor.execute("CREATE TABLE sales.hidden (n integer)")
            cursor.execute(f"CREATE USER reader IDENTIFIED BY '{SECRET}'")
            cursor.execute("GRANT SELECT, INSERT, DELETE ON sales.facts TO reader")
            for account, right in (("filer", "FILE"), ("chief", "SUPER")):
                cursor.execute(f"CREATE USER {account} IDENTIFIED BY '{SECRET}'")
                cursor.execute(f"GRANT {right} ON *.* TO {account}")
                cursor.execute(f"GRANT SELECT ON sales.facts TO {account}")
        yield Database(f"mysql://reader:{SECRET}@127.0.0.1:{port}/sales")
    finally:
        service.stop()
