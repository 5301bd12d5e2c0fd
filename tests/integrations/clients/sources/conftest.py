"""A database of each kind: a file, and servers with an account that only reads, and others that may do more."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pymysql
import pytest

from integrations.clients.sources.sql_url import Admitted
from tests.integrations.clients.sources.databases import FACTS, SECRET, Database
from tools.services import find_mariadb, start_mariadb, start_postgresql


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("admitted") / "facts 100%.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE facts (n INTEGER, city TEXT, amount NUMERIC)")
        connection.executemany(
            "INSERT INTO facts VALUES (?, ?, ?)", [(n, city, float(sum_)) for n, city, sum_ in FACTS]
        )
        connection.commit()
    return file


@pytest.fixture(scope="session")
def sqlite_database(sqlite_file: Path) -> Database:
    return Database(f"sqlite:///{sqlite_file}".replace("%", "%25"), Admitted(folders=[str(sqlite_file.parent)]))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Database]:
    service = start_postgresql()
    try:
        with psycopg.connect(service.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE facts (n integer, city text, amount numeric)")
            connection.cursor().executemany("INSERT INTO facts VALUES (%s, %s, %s)", FACTS)
            connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{SECRET}'")
            connection.execute("CREATE TABLE hidden (n integer)")
            connection.execute("GRANT SELECT, INSERT, DELETE ON facts TO reader")
            connection.execute(f"CREATE ROLE filer LOGIN PASSWORD '{SECRET}'")
            connection.execute("CREATE ROLE between NOLOGIN")
            connection.execute("GRANT pg_read_server_files TO between")
            connection.execute("GRANT between TO filer")
            connection.execute(f"CREATE ROLE chief SUPERUSER LOGIN PASSWORD '{SECRET}'")
        place = service.url.partition("@")[2]
        yield Database(f"postgresql://reader:{SECRET}@{place}")
    finally:
        service.stop()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Database]:
    if find_mariadb() is None:
        assert not os.environ.get("CI"), "MariaDB must be installed where the suite must be whole"
        pytest.skip("no MariaDB is installed (Debian: mariadb-server)")
    service = start_mariadb()
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
