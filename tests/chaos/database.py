"""A database with a movable clock that can be read-only, full or crowded. The machine's clock stays right."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg

# How long a killed server may take to return.
BACK_SECONDS = 60

# pg_catalog follows our schema in the search path, so that our functions are found first.
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
CREATE TABLE chaos.disk (is_full boolean NOT NULL);
INSERT INTO chaos.disk VALUES (false);
CREATE FUNCTION chaos.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT is_full FROM chaos.disk) THEN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
    END IF;
    RETURN NULL;
END $$;
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format(
            'CREATE TRIGGER disk BEFORE INSERT OR UPDATE ON public.%I EXECUTE FUNCTION chaos.refuse()', name
        );
    END LOOP;
END $$;
ALTER DATABASE postgres SET search_path = public, chaos, pg_catalog;
"""


def make_movable(url: str) -> None:
    """Install the movable clock (`move`) and the disk that `full` fills, for all later connections.

    Call it once, after the tables were made.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SETUP)


def move(url: str, seconds: float) -> None:
    """Move the database's clock forward or back."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE chaos.clock SET shift = shift + make_interval(secs => %s)", (seconds,))


@contextmanager
def full(url: str) -> Iterator[None]:
    """Refuse every write as a full disk would (53100), while the block runs."""
    _execute(url, "UPDATE chaos.disk SET is_full = true")
    try:
        yield
    finally:
        _execute(url, "UPDATE chaos.disk SET is_full = false")


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """Make the database read-only like a replica before its promotion, for open connections too."""
    _execute(url, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        _execute(url, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@contextmanager
def crowded(url: str) -> Iterator[None]:
    """Hold every connection that is left."""
    with ExitStack() as held:
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(psycopg.connect(url))
        yield


def cut(url: str) -> None:
    _execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )


def _execute(url: str, *statements: str) -> None:
    """Execute statements, even on a read-only server, as soon as the database answers."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
                for statement in statements:
                    connection.execute(statement)
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
