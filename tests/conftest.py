"""Fixtures for every test. Tests can reach only this machine, and each starts with an empty Valkey."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import threading
from collections.abc import Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pytest
import redis
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management.color import Style
from django.db import connection, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from django.template import Context, Template
from django.utils import translation
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django import DjangoDbBlocker
from wecom_sandbox.testing import Sandbox

from tests import log_secrets
from tests.databases import copy_rows, drop, make_migrated, restore_rows, write_emptying_sql
from tests.quick_selects import render_quickly
from tests.sandbox_process import SandboxHandle, open_browser
from tests.services import SERVICES_KEY
from tools.services import free_port

if TYPE_CHECKING:
    from tests.admin_world import World

# The same few examples each time, on machines of any speed. HYPOTHESIS_PROFILE=nightly tries thousands of others.
_any_machine = hypothesis_settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("ci", _any_machine, max_examples=15, derandomize=True)
hypothesis_settings.register_profile("nightly", _any_machine, max_examples=10_000)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def is_loopback(host: object) -> bool:
    """Return whether a host, as given to connect or getaddrinfo, is this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session")
def tls_port() -> int:
    """The port at which the sandbox of `running_sandbox` answers by TLS."""
    return free_port()


@pytest.fixture(scope="session")
def wecom_sandbox_arguments(tls_port: int) -> tuple[str, ...]:
    """Arguments that the sandbox's pytest plugin reads."""
    return ("--tls-port", str(tls_port))


@pytest.fixture(scope="session")
def running_sandbox(wecom_sandbox_process: Sandbox) -> Iterator[SandboxHandle]:
    """The sandbox that all tests share. A test loads a seed, which replaces all its data."""
    with open_browser(wecom_sandbox_process) as handle:
        yield handle


def pytest_sessionstart() -> None:
    """Load all pages first, so that no test depends on an earlier one that loaded them."""
    import_module(settings.ROOT_URLCONF)
    sentences: Any = import_module("integrations.core.sentences")
    sentences.GUIDES_FOLDER = Path("/nowhere")  # whether `make docs` ran on this machine changes no page


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of clicks, fields and pages of each way through the product (docs/en/journeys.md).

    The function is in this file because with workers the process that prints loads no conftest.py of a folder.
    """
    passed = terminalreporter.stats.get("passed", [])
    ways = [counts for report in passed for name, counts in report.user_properties if name == "journey"]
    if ways:
        terminalreporter.section("ways through the product")
        terminalreporter.write_line(f"{'clicks':>6} {'fields':>6} {'pages':>6}  way")
    for way, clicks, fields, pages in ways:
        terminalreporter.write_line(f"{clicks:>6} {fields:>6} {pages:>6}  {way}")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Fail the test that looks up or connects to another machine. An `except Exception` cannot hide the failure."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: object) -> None:
        if not is_loopback(host):
            pytest.fail(f"A test tried to reach {host!r} over the network.")

    def checked_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            check(address[0])
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family != socket.AF_UNIX:
            check(address[0])
        return connect_ex(self, address)

    def checked_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", checked_connect)
        patch.setattr(socket.socket, "connect_ex", checked_connect_ex)
        patch.setattr(socket, "getaddrinfo", checked_getaddrinfo)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Check every line of the product's log, from DEBUG on, also while pytest's own handlers do not exist."""
    with log_secrets.watch_logs():
        return (yield)


@pytest.fixture(autouse=True)
def _no_secret_in_the_log() -> Iterator[None]:
    """Fail the test in which a secret was logged."""
    yield
    if found := log_secrets.WATCH.take():
        pytest.fail(f"a secret was logged: {found[0][:1000]}", pytrace=False)


@pytest.fixture(autouse=True)
def _no_heartbeat_left_behind() -> Iterator[None]:
    """Fail a test that leaves a heartbeat thread, whose heartbeats a later test would find."""
    yield
    left = [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
    for thread in left:
        thread.join(timeout=10)  # it was told to end
    if any(thread.is_alive() for thread in left):
        pytest.fail("a heartbeat thread still runs after the test", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Hash passwords in one round instead of a million, also in programs that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    """Empty all tables faster than Django's `flush` does, after tests with transactions of their own."""
    flush = DatabaseOperations.sql_flush

    def sql_flush(self: DatabaseOperations, style: Style, tables: list[str], **options: bool) -> list[str]:
        return flush(self, style, tables, **options) if any(options.values()) else write_emptying_sql(self, tables)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_forms(django_test_environment: None) -> Iterator[None]:
    """Render Django's form templates as quickly as possible: there are hundreds on a page."""
    render = Template._render  # type: ignore[attr-defined]  # the stubs declare public names only

    def render_form_quickly(self: Template, context: Context) -> str:
        is_of_a_form = (self.name or "").startswith("django/forms/")
        return render_quickly(self, context) if is_of_a_form else render(self, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Template, "_render", render_form_quickly)
        yield


@pytest.fixture(scope="session")
def valkey_url() -> str:
    return settings.VALKEY_URL


@pytest.fixture(scope="session")
def valkey_client(valkey_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(valkey_url)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def _empty_valkey(valkey_client: redis.Redis) -> None:
    """Empty Valkey before each test. A worker that outlives a test needs another database of Valkey."""
    from guanwecom.operations import watch
    from integrations.core import background, client_factory, http

    valkey_client.flushdb()
    # Forget what this process has cached about tokens, hosts and operators.
    client_factory._token_store.cache_clear()
    background._compile_query.cache_clear()
    http.clear_caches()
    watch._cached_contacts.clear()


@pytest.fixture(autouse=True)
def _default_language() -> None:
    """Activate the default language: an earlier test's request leaves its own active in this process."""
    translation.activate(settings.LANGUAGE_CODE)


@pytest.fixture
def in_english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture(autouse=True)
def _long_caches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once per test what a process otherwise rereads every few seconds, because tests count queries.

    Browser tests are left out: they wait until a page changes.
    """
    if "live_server" not in request.fixturenames:
        monkeypatch.setattr("integrations.core.http.HOST_CACHE_SECONDS", 3600)
        monkeypatch.setattr("integrations.core.http.ORIGIN_CACHE_SECONDS", 3600)
        # No earlier test has made a copy of this database.
        monkeypatch.setattr("integrations.core.installation._cache.is_copy", False)
        monkeypatch.setattr("integrations.core.installation._cache.until", math.inf)


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_test_environment: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Make a database for each of pytest's workers, in place of pytest-django's. The first worker migrates for all."""
    services = request.config.stash[SERVICES_KEY]
    address = urlsplit(services.start_database())
    connection.settings_dict.update(
        HOST=address.hostname, PORT=address.port, USER=address.username, PASSWORD=unquote(address.password or "")
    )
    name = services.database_name(getattr(request.config, "workerinput", {}).get("workerid", f"alone{os.getpid()}"))
    with django_db_blocker.unblock():
        make_migrated(name, template=services.migrated_database, lock=services.migrated_database_lock)
        tables = copy_rows()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.management.commands.flush.emit_post_migrate_signal", lambda *_: restore_rows(tables))
        yield
    with django_db_blocker.unblock():
        connection.close()
        drop(name)


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """The world of tests.admin_world for one module. Each test rolls back its changes, the module the world."""
    from tests import admin_world

    with django_db_blocker.unblock(), transaction.atomic():
        yield admin_world.build()
        transaction.set_rollback(True)


@pytest.fixture
def process_environ(transactional_db: None) -> dict[str, str]:
    """The environment of a program (manage.py, celery, gunicorn) that shares this test's database and Valkey."""
    return program_environ()


def program_environ() -> dict[str, str]:
    """Return the environment of `process_environ` for a fixture of another scope, once the test database exists."""
    database = connection.settings_dict
    user, password = quote(database["USER"]), quote(database["PASSWORD"])
    url = f"postgresql://{user}:{password}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    ours = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "guanwecom.settings"}
    # Unbuffered, so that a test sees a log line at once. Commands speak English.
    return {**os.environ, **ours, "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}


@pytest.fixture(scope="session")
def project_root() -> Path:
    return Path(settings.BASE_DIR)
