"""A lost encryption key: secrets stored under it are shown as unreadable and can be entered again."""

from collections.abc import Iterator
from copy import copy
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import translation
from pytest_django import Settings

from integrations.models import BiConnection, Corp, DataSource
from integrations.models.fields import Unreadable, find_encrypted_columns
from notifications.models import Robot
from tests.accounts.people import sent_form
from tests.admin_table import TABLE
from tests.admin_world import World

pytestmark = pytest.mark.django_db

NOTE = "What is saved cannot be read with the present keys: enter it again."


@pytest.fixture(autouse=True)
def _one_host(settings: Settings) -> Iterator[None]:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]
    with translation.override(settings.LANGUAGE_CODE):  # a page in English leaves its language active
        yield


@pytest.fixture
def lost(world: World, settings: Settings) -> World:
    """A world in which every secret is stored under a lost key."""
    BiConnection.objects.update(api_login="api", api_password="old", app_token="old", proxy_url="http://old:1")
    with connection.cursor() as cursor:
        for model, names in find_encrypted_columns().items():
            sealed = Fernet(Fernet.generate_key()).encrypt(b"lost").decode()
            columns = ", ".join(f"{name} = %s" for name in names)
            cursor.execute(f"UPDATE {model._meta.db_table} SET {columns}", [sealed] * len(names))  # noqa: S608  # names of ours
    DataSource.objects.update(kind="sql")
    world.things["source"].refresh_from_db()
    return world


def test_every_page_of_a_row_and_the_overview_open(lost: World) -> None:
    client = lost.client("U")
    client.raise_request_exception = False
    rows = [row for row in TABLE if row.method == "get" and row.page.endswith(("index", "_changelist", "_change"))]

    broken = [path for path in {row.path(lost) for row in rows} if client.get(path).status_code >= 500]

    assert broken == []


def test_people_sign_in_with_their_passwords(lost: World) -> None:
    boss = lost.people["U"]
    boss.set_password("right-password-1")
    boss.save()
    client = Client(headers={"accept-language": "en"})

    assert client.get(reverse("login")).status_code == 200
    client.post(reverse("admin:login"), {"username": boss.username, "password": "right-password-1"})

    assert client.get(reverse("admin:index")).status_code == 200


def test_the_overview_names_each_row_and_what_is_unreadable_of_it(lost: World) -> None:
    said = " ".join(lost.client("U").get(reverse("admin:index")).content.decode().split())

    for name, fields in [
        ("Alpha Company", "Secret, contacts secret, contacts callback Token, contacts callback EncodingAESKey"),
        (str(BiConnection.objects.get()), "private key, password of the API user, app token, proxy"),
        (str(DataSource.objects.first()), "address of the database, headers"),
        (str(Robot.objects.first()), "webhook key"),
    ]:
        assert f"“{name}”: {fields}" in said
    assert said.count("cannot be read with the present keys: enter it again.") == sum(
        model.objects.count() for model in (Corp, BiConnection, DataSource, Robot)
    )


def test_the_overview_names_to_others_what_they_may_see(lost: World) -> None:
    said = lost.client("I2").get(reverse("admin:index")).content.decode()

    assert "“Beta Company”: Secret" in said
    assert "“Alpha Company”" not in said
    assert "webhook key" not in said


FORMS = [
    pytest.param("U", "integrations_corp", "corp", {"new_secret": "new"}, {"secret": "new"}, id="a Secret"),
    pytest.param(
        "U",
        "integrations_corp",
        "corp",
        {"new_proxy_url": "http://new:1", "new_secret": "new", "new_contacts_secret": "new"},
        {"proxy_url": "http://new:1"},
        id="a proxy",
    ),
    pytest.param(
        "U",
        "integrations_biconnection",
        "bi",
        {"new_api_password": "new", "new_app_token": "new"},
        {"api_password": "new", "app_token": "new"},
        id="the BI's",
    ),
    pytest.param(
        "U",
        "integrations_datasource",
        "source",
        {"new_sql_url": "postgresql://a:new@db/x"},
        {"sql_url": "postgresql://a:new@db/x"},
        id="a database's address",
    ),
    pytest.param(
        "I1",
        "notifications_robot",
        "robot",
        {"webhook": "new-key-of-the-robot"},
        {"key": "new-key-of-the-robot"},
        id="a robot's key",
    ),
]


@pytest.mark.parametrize(("who", "model", "thing", "entered", "stored"), FORMS)
def test_a_secret_is_entered_again_on_its_page(
    lost: World, who: str, model: str, thing: str, entered: dict[str, str], stored: dict[str, str]
) -> None:
    client, row = lost.client(who), lost.things[thing]
    path = reverse(f"admin:{model}_change", args=[row.pk])
    assert NOTE in client.get(path).content.decode()

    answer = client.post(path, {**sent_form(client, path), **entered})

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    found = type(row).objects.get(pk=row.pk)
    assert {name: getattr(found, name) for name in stored} == stored


def test_saving_the_rest_leaves_what_is_stored(lost: World) -> None:
    def sealed() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT secret, proxy_url FROM integrations_corp WHERE id = %s", [lost.things["corp"].pk])
            return cursor.fetchone()

    before = sealed()
    corp = copy(Corp.objects.get(pk=lost.things["corp"].pk))

    corp.name = "Another name"
    corp.save()

    assert sealed() == before
    assert isinstance(Corp.objects.get(name="Another name").secret, Unreadable)


def test_the_check_of_the_database_names_the_tables(lost: World, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check", databases=["default"])

    said = capsys.readouterr().err
    for model in (Corp, BiConnection, DataSource, Robot):
        count = model._base_manager.count()
        assert f"(integrations.W003) {model._meta.label}: secrets of {count} rows cannot be read" in said


@pytest.mark.parametrize("name", ["wecom-events", "wecom-contacts-events"])
def test_a_call_of_wecom_is_refused(lost: World, name: str) -> None:
    path = reverse(name, args=[lost.things["corp"].pk])

    answer = lost.client("A").get(path, {"msg_signature": "x", "timestamp": "1", "nonce": "1", "echostr": "x"})

    assert answer.status_code == 403
