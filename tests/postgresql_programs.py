"""PostgreSQL's client programs, in the version of the tests' server."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tools.services import find_packaged_postgresql, find_system_postgresqls


def find_programs() -> Path:
    """Return the folder of the newest version, which can talk to every older server."""
    return next(path for path in [find_packaged_postgresql(), *find_system_postgresqls()] if path is not None)


def run(program: str, *arguments: str, url: str, **options: Any) -> None:
    """Run pg_dump or a similar program with the connection of `url`."""
    where = conninfo_to_dict(url)
    env = {
        **os.environ,
        **{f"PG{name.upper()}": str(where[name]) for name in ("host", "port", "user", "password")},
        "PGDATABASE": str(where["dbname"]),
    }
    subprocess.run([str(find_programs() / program), *arguments], env=env, check=True, capture_output=True, **options)


@contextmanager
def other_database(url: str, suffix: str, options: str = "") -> Iterator[str]:
    """Make a database beside that of `url`, without tables, and drop it at the end. Yield its address."""
    where = urlsplit(url)
    name, server = f"{where.path.lstrip('/')}_{suffix}", where._replace(path="/postgres").geturl()
    execute(server, f'CREATE DATABASE "{name}" {options}')
    try:
        yield where._replace(path=f"/{name}").geturl()
    finally:
        execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
