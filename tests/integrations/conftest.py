"""A company, and people who may or may not administer it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import User
from guanwecom.celery import app
from integrations.models import Corp
from tests.integrations.clients.sources.databases import FACTS, SECRET, Database
from tools.services import free_port, start_postgresql

CORPID = "ww0123456789abcdef"


@pytest.fixture
def corp(db: None) -> Corp:
    return Corp.objects.create(name="北山制造", corpid=CORPID, agentid=1000002, secret="the-secret")


@pytest.fixture
def other_corp(db: None) -> Corp:
    return Corp.objects.create(name="南海物流", corpid="ww" + "9" * 16, agentid=1000003, secret="another-secret")


def staff(username: str, *corps: Corp, permissions: tuple[str, ...] = ()) -> User:
    """Make a member of staff who manages `corps` and has the permissions of these codenames."""
    person = User.objects.create_user(username, is_staff=True)
    person.managed_corps.set(corps)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return person


CORP_PERMISSIONS = ("view_corp", "add_corp", "change_corp", "delete_corp")
ADDRESS_PERMISSIONS = ("view_siteaddress", "add_siteaddress", "change_siteaddress", "delete_siteaddress")


@pytest.fixture
def administrator(corp: Corp) -> User:
    """A person with all permissions for companies and addresses, who manages `corp` only."""
    return staff("administrator", corp, permissions=CORP_PERMISSIONS + ADDRESS_PERMISSIONS)


@pytest.fixture
def superuser(db: None) -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def admin_client(superuser: User) -> Client:
    return client_of(superuser)


def client_of(person: User | None) -> Client:
    """Return a browser in which `person` is signed in, in English, so that sentences can be compared."""
    client = Client(headers={"accept-language": "en"})
    if person is not None:
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def no_broker() -> Iterator[None]:
    """A broker address at which nothing listens."""
    celery: Any = app  # celery-types lacks these attributes
    address, is_eager = celery.conf.broker_url, celery.conf.task_always_eager
    celery.conf.broker_url, celery.conf.task_always_eager = f"redis://127.0.0.1:{free_port()}/0", False
    celery._pool = celery.amqp._producer_pool = None  # the next connection goes to the new address
    yield
    celery.conf.broker_url, celery.conf.task_always_eager = address, is_eager
    celery._pool = celery.amqp._producer_pool = None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Database]:
    """A server with an account that only reads, and others that may do more."""
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
