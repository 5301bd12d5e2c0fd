"""Pytest plugin that starts the servers that tests need and points the settings at them before Django reads them.

Every environment variable that matters is set here, so the developer's own ones affect no test. TEST_DATABASE_URL names
another PostgreSQL; its user must be allowed to create databases. Otherwise one starts when the first test needs a
database, or with pytest-xdist's workers, which share it.
"""

import gc
import os
import sys
import zlib
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.chromium import find_chromium
from tools import catalogues
from tools.services import Service, start_postgresql, start_valkey

# Byte code is kept, whatever the environment says: rewriting asserts takes two thirds of the collection, in each of
# pytest-xdist's workers, and tests start dozens of our programs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# pytest-xdist's workers inherit the variable from the process that starts them.
RUN_FOLDER = "TEST_RUN_FOLDER"
# With `-n auto`: one more than there are processors, because tests of browsers and processes mostly wait. More than
# four start more servers than they save time.
WORKERS_BESIDE, WORKERS_AT_MOST = 1, 4
# The address before a PostgreSQL runs; nothing connects to it.
UNUSED_DATABASE_URL = "postgresql://nobody:nothing@127.0.0.1:1/postgres"
# The longest files, mostly of tests that wait for processes, the longest first. The first folder has a fixture of scope
# "package" that starts the whole product.
LONGEST = (
    "tests/e2e/processes/",
    "tests/tools/test_demo.py",
    "tests/e2e/test_company_page.py",
    "tests/integrations/jobs/test_processes.py",
    "tests/notifications/delivery/hosts/test_valkey_failover.py",
    "tests/e2e/test_report_preview.py",
    "tests/guanwecom/operations/test_standstill.py",
    "tests/notifications/delivery/attachments/test_snapshot_workers.py",
    "tests/guanwecom/operations/test_busy.py",
)
NO_CHROMIUM = (
    "No Chromium found: the browser tests {what}. Install one (Debian, Ubuntu: apt install chromium), or name the "
    "program in the variable CHROMIUM."
)
ENVIRON = {
    "ENVIRONMENT": "test",
    "SECRET_KEY": "invented for tests, never used elsewhere",
    "FIELD_ENCRYPTION_KEYS": "dGVzdHMtb25seS1rZXktMC10ZXN0cy1vbmx5LWtleS0=",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "TRUSTED_PROXIES": "",
    "DATA_ALLOW_LOOPBACK": "true",
    "TIME_ZONE": "Asia/Shanghai",
    "LOG_LEVEL": "INFO",
    # Tests share sessions, and a run may take long: only tests of the confirmation page are asked for a password.
    "CONFIRMATION_MINUTES": "600",
    # Playwright's synchronous interface runs inside an event loop, where Django refuses database access by default.
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}


class TestServices:
    """The servers of one pytest process."""

    __test__ = False

    def __init__(self) -> None:
        self.services: list[Service] = []
        self.uses_given_postgresql = False

    @property
    def folder(self) -> Path:
        """The folder for the tests' files. It is Valkey's, which is removed even when pytest is killed."""
        return self.services[0].folder

    def database_name(self, suffix: str) -> str:
        """Name a test database of this run; `suffix` differs between workers, which share the server."""
        return f"test_{urlsplit(os.environ['TEST_DATABASE_URL']).path.lstrip('/')}_{suffix}"

    @property
    def migrated_database(self) -> str:
        """The database that all processes of a run copy."""
        return self.database_name("migrated")

    @property
    def migrated_database_lock(self) -> Path:
        return self.run_folder / "migrated.lock"

    @property
    def run_folder(self) -> Path:
        return Path(os.environ[RUN_FOLDER])

    def start(self, *, has_workers: bool) -> None:
        valkey = start_valkey()
        self.services.append(valkey)
        os.environ.setdefault(RUN_FOLDER, str(self.folder))
        os.environ.update(ENVIRON, VALKEY_URL=valkey.url)
        # Workers of pytest-xdist inherit the variable from the process that starts them, so they share one server.
        self.uses_given_postgresql = "TEST_DATABASE_URL" in os.environ
        if has_workers:
            self.start_database()
        os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", UNUSED_DATABASE_URL)

    def start_database(self) -> str:
        """Start the PostgreSQL if none runs. Return its address."""
        if "TEST_DATABASE_URL" not in os.environ:
            postgresql = start_postgresql()
            self.services.append(postgresql)
            os.environ["TEST_DATABASE_URL"] = os.environ["DATABASE_URL"] = postgresql.url
        return os.environ["TEST_DATABASE_URL"]

    def stop(self) -> None:
        if self.uses_given_postgresql and self.run_folder == self.folder:
            with psycopg.connect(os.environ["TEST_DATABASE_URL"], autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{self.migrated_database}"')
        for service in reversed(self.services):
            service.stop()


SERVICES_KEY = pytest.StashKey[TestServices]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Start the servers before pytest-django's hook of the same name reads the settings."""
    if find_chromium() is None and os.environ.get("CI", "").lower() == "true":
        raise pytest.UsageError(NO_CHROMIUM.format(what="cannot run, and CI=true asks for them"))
    services = TestServices()
    early_config.stash[SERVICES_KEY] = services
    early_config.add_cleanup(services.stop)
    options = parser.parse_known_args(args)
    services.start(has_workers=bool(getattr(options, "numprocesses", None)))
    # `make lint` reports incomplete catalogues; tests show the English texts.
    with suppress(catalogues.CatalogueError):
        for app in catalogues.APPS:
            catalogues.compile_app(app)
    return (yield)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    return min((os.cpu_count() or 1) + WORKERS_BESIDE, WORKERS_AT_MOST)


def pytest_report_header() -> list[str]:
    return [NO_CHROMIUM.format(what="are skipped")] if find_chromium() is None else []


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without the garbage collector, which took a third of the time for 14,000 of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)  # less often, because it took a seventeenth of the tests' own time
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here; with workers, mix the files, in the same order each time.

    Tests of browsers and processes mostly wait. pytest-django puts them last, where they would wait one after
    another; mixed with others they leave the processor to those.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _find_order(item.nodeid))
    if find_chromium() is None:
        for item in items:
            if item.get_closest_marker("e2e"):
                item.add_marker(pytest.mark.skip(reason="no Chromium found (variable CHROMIUM)"))


def _find_order(node_id: str) -> int:
    """Return the same number for tests that stay together: of one file, or of a folder with one running product.

    The longest come first, all in one worker, which mostly waits: the other workers meanwhile use the processors.
    """
    file = node_id.partition("::")[0]
    return next((order for order, start in enumerate(LONGEST) if file.startswith(start)), zlib.crc32(file.encode()))
