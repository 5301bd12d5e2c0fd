"""A running product that the tests of this folder share, and that is emptied before each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.core.management.sql import emit_post_migrate_signal
from django.db import OperationalError, connection, connections
from playwright.sync_api import Browser
from pytest_django.plugin import DjangoDbBlocker
from redis import Redis

from integrations.models.fields import EncryptedTextField
from tests.conftest import program_environ
from tests.e2e.stack import Stack, running_stack

# Tables and keys that the programs rely on: they cache ids of these rows, or pass tasks through them.
KEPT_TABLES = frozenset({ContentType._meta.db_table, Permission._meta.db_table})
BEATS_TABLES, BROKERS_KEYS = "django_celery_beat_", b"_kombu."
# In a deadlock with a program's statement the database may cancel ours.
TRIES = 20
SECRET_CHARACTERS = 8


@pytest.fixture(scope="package")
def shared_stack(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    project_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Web, worker, beat and sandbox. They use Valkey's database 1, as 0 is emptied before each test."""
    env = {**program_environ(), "ALLOWED_HOSTS": "localhost,127.0.0.1"}
    env["VALKEY_URL"] = settings.VALKEY_URL.removesuffix("/0") + "/1"
    with running_stack(env=env, root=project_root, folder=tmp_path_factory.mktemp("stack")) as stack:
        yield stack
    with django_db_blocker.unblock():
        empty_database()
        # As pytest-django does: while Playwright runs, Django uses another connection than during set-up.
        connections.close_all()


@pytest.fixture
def _django_db_helper(shared_stack: Stack, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A replacement of pytest-django's fixture, which empties the database after a test: the programs keep running."""
    with django_db_blocker.unblock():
        empty_valkey(shared_stack.env["VALKEY_URL"])
        empty_database()
        shared_stack.sandbox.load({"companies": []})
        shared_stack.sandbox.control("DELETE", "callbacks", {})
        yield
        check_logs(shared_stack)


@pytest.fixture
def stack(transactional_db: None, shared_stack: Stack) -> Stack:
    """The running product, as empty as after a first start."""
    return shared_stack


@pytest.fixture(autouse=True)
def _closed_pages(browser: Browser) -> Iterator[None]:
    yield
    for context in browser.contexts:
        context.close()


def check_logs(stack: Stack) -> None:
    """Assert that no program logged a secret that the test saved; the programs log at DEBUG."""
    secrets = {stack.env["SECRET_KEY"], stack.env["FIELD_ENCRYPTION_KEYS"], *saved_secrets()}
    for program in stack.programs.values():
        log = program.log.read_text(errors="replace")
        assert [f"a secret of {len(secret)} characters" for secret in secrets if secret in log] == [], program.name


def saved_secrets() -> set[str]:
    """Return the values of all encrypted columns, except short ones, which may be ordinary words."""
    columns = [
        (model, column.attname)
        for model in apps.get_models()
        for column in model._meta.concrete_fields
        if isinstance(column, EncryptedTextField)
    ]
    found = {value for model, name in columns for value in model._base_manager.values_list(name, flat=True)}
    return {value for value in found if value and len(value) >= SECRET_CHARACTERS}


def empty_valkey(url: str) -> None:
    with Redis.from_url(url) as client:
        keys = [key for key in client.scan_iter() if not key.startswith(BROKERS_KEYS)]
        if keys:
            client.delete(*keys)


def empty_database() -> None:
    """Empty the tables like `flush`, except those that the programs have cached."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [name for name in names if name not in KEPT_TABLES and not name.startswith(BEATS_TABLES)]
    for tried in range(TRIES):
        try:
            connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))
        except OperationalError:
            if tried == TRIES - 1:
                raise
        else:
            break
    emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)
