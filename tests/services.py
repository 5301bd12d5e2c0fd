"""Pytest plugin: starts the servers that the tests need and points the settings at them, before Django reads them.

`pytest` alone uses SQLite in a temporary file, `pytest --database postgresql` a PostgreSQL of its own, and both a
Valkey of their own. Nothing of the developer's environment reaches a test: every variable that matters is set here.
TEST_DATABASE_URL names another PostgreSQL to use; its user must be allowed to create databases.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tools import messages
from tools.services import Service, start_postgresql, start_valkey

ROOT = Path(__file__).resolve().parent.parent
DATABASES = ("sqlite", "postgresql")
# pytest-xdist's workers inherit the variable from the process that starts them.
RUN_FOLDER = "TEST_RUN_FOLDER"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ENVIRON = {
    "ENVIRONMENT": "test",
    "DEBUG": "false",
    "SECRET_KEY": "invented for tests, never used elsewhere",
    "FIELD_ENCRYPTION_KEYS": "dGVzdHMtb25seS1rZXktMC10ZXN0cy1vbmx5LWtleS0=",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "TRUSTED_PROXIES": "",
    "DATA_ALLOW_LOOPBACK": "true",
    "TIME_ZONE": "Asia/Shanghai",
    "LOG_LEVEL": "INFO",
    # Tests share sessions, and a run may take long: only tests about confirming are asked for a password.
    "CONFIRMATION_MINUTES": "600",
    # Playwright's synchronous interface runs inside an event loop, where Django refuses database access by default.
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}


class TestServices:
    """The servers of one pytest process."""

    __test__ = False

    def __init__(self) -> None:
        self.services: list[Service] = []
        self.uses_anothers_postgresql = False

    @property
    def folder(self) -> Path:
        """For the tests' files: Valkey's folder, which goes away even when pytest is killed."""
        return self.services[0].folder

    def database_name(self, suffix: str) -> str:
        """A test database of this process; of a PostgreSQL, which workers share, `suffix` tells them apart."""
        if self.database == "sqlite":
            return str(self.folder / f"{suffix}.sqlite3")
        return f"test_{urlsplit(os.environ['TEST_DATABASE_URL']).path.lstrip('/')}_{suffix}"

    @property
    def migrated_database(self) -> str:
        """The one of which all processes of a run take copies."""
        if self.database == "sqlite":
            return str(self.run_folder / "migrated.sqlite3")
        return self.database_name("migrated")

    @property
    def migrated_database_lock(self) -> Path:
        return self.run_folder / f"migrated.{self.database}.lock"

    @property
    def run_folder(self) -> Path:
        """The folder of the process that started pytest-xdist's workers."""
        return Path(os.environ[RUN_FOLDER])

    def start(self, database: str) -> None:
        self.database = database
        valkey = start_valkey()
        self.services.append(valkey)
        os.environ.setdefault(RUN_FOLDER, str(self.folder))
        os.environ.update(ENVIRON, VALKEY_URL=valkey.url, DATABASE_URL=self._database_url(database))

    def _database_url(self, database: str) -> str:
        if database == "sqlite":
            return f"sqlite:///{self.folder}/unused.sqlite3"
        # pytest-xdist's workers inherit the variable from the process that starts them: one server for all of them.
        self.uses_anothers_postgresql = "TEST_DATABASE_URL" in os.environ
        if not self.uses_anothers_postgresql:
            postgresql = start_postgresql()
            self.services.append(postgresql)
            os.environ["TEST_DATABASE_URL"] = postgresql.url
        return os.environ["TEST_DATABASE_URL"]

    def stop(self) -> None:
        if self.uses_anothers_postgresql and self.run_folder == self.folder:
            with psycopg.connect(os.environ["TEST_DATABASE_URL"], autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{self.migrated_database}"')
        for service in reversed(self.services):
            service.stop()


SERVICES_KEY = pytest.StashKey[TestServices]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DATABASES, default="sqlite", help="the database that the tests use")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Runs around pytest-django's hook of this name, which reads the settings."""
    services = TestServices()
    early_config.stash[SERVICES_KEY] = services
    early_config.add_cleanup(services.stop)
    services.start(parser.parse_known_args(args).database)
    with suppress(
        messages.MessagesError
    ):  # `make lint` complains of incomplete catalogues; tests show the English texts
        for app in messages.APPS:
            messages.compile_app(app)
    return (yield)


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {config.getoption('database')}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("database") != "postgresql":
        _skip(items, "postgresql", "needs --database postgresql")
    if find_chromium() is None:
        _skip(items, "e2e", "no Chromium found (variable CHROMIUM)")


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def find_chromium() -> str | None:
    """The Chromium for the browser tests: the variable CHROMIUM, else one on the PATH."""
    named = os.environ.get("CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, CHROMIUMS)), None)
