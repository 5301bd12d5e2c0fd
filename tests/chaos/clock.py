"""A database whose clock can be moved: what the product reads as the time, while the machine's clock stays right."""

from __future__ import annotations

import psycopg

# pg_catalog comes after our schema in the search path, so that our functions are found first.
_SETUP = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.clock (shift interval NOT NULL);
INSERT INTO chaos.clock VALUES ('0 s');
CREATE FUNCTION chaos.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + shift FROM chaos.clock';
CREATE FUNCTION chaos.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.now() + shift FROM chaos.clock';
CREATE FUNCTION chaos.statement_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.statement_timestamp() + shift FROM chaos.clock';
ALTER DATABASE postgres SET search_path = public, chaos, pg_catalog;
"""


def make_movable(url: str) -> None:
    """Once, after the tables were made: every connection from now on sees the clock that `move` moves."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SETUP)


def move(url: str, seconds: float) -> None:
    """Forward, or back."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE chaos.clock SET shift = shift + make_interval(secs => %s)", (seconds,))
