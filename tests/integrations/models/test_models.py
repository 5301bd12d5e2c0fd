"""Secrets at rest: encrypted, under keys that can rotate."""

import json
import pickle
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core import serializers
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.serializers.base import DeserializationError
from django.db import connection
from django.db.migrations.state import ProjectState
from pytest_django import Settings

from integrations.admin.diagnosis import warn_of_unreadable_secrets
from integrations.apps import ensure_default_site_address
from integrations.clients.errors import UnreadableSecretError
from integrations.models import DEFAULT_SITE_ADDRESS, Corp, SiteAddress
from integrations.models.fields import CIPHERTEXT_PREFIX, find_encrypted_columns, require_readable

pytestmark = pytest.mark.django_db
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def read_stored(corp: Corp, column: str = "secret") -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM integrations_corp WHERE id = %s", [corp.pk])  # noqa: S608  # our own names
        value: str = cursor.fetchone()[0]
        return value


@pytest.fixture
def corp(settings: Settings) -> Corp:
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    return Corp.objects.create(
        name="北山制造", corpid="ww" + "1" * 16, agentid=1, secret="密钥-s3cret", proxy_url="http://u:p@proxy:1"
    )


def test_the_database_holds_no_secret_and_no_text_shows_it(corp: Corp) -> None:
    assert "s3cret" not in read_stored(corp)
    assert "s3cret" not in f"{corp} {corp!r}"
    assert Fernet(OLD).decrypt(read_stored(corp)).decode() == "密钥-s3cret"
    assert (Corp.objects.get().secret, Corp.objects.get().contacts_secret) == ("密钥-s3cret", "")
    assert read_stored(corp, "contacts_secret") == ""
    before = read_stored(corp)
    corp.save(update_fields=["secret"])
    assert read_stored(corp) != before  # each encryption gives another value


def test_a_value_that_no_key_opens_is_read_as_unreadable_and_saved_as_it_was(corp: Corp, settings: Settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    before = read_stored(corp)

    found = pickle.loads(pickle.dumps(Corp.objects.get()))  # noqa: S301  # our own
    found.save()

    assert "“北山制造”：Secret" in warn_of_unreadable_secrets([found])[0].sentence
    assert read_stored(corp) == before
    with pytest.raises(UnreadableSecretError, match="present FIELD_ENCRYPTION_KEYS") as problem:
        require_readable(found.secret)
    assert before not in str(problem.value)


def test_a_secret_cannot_be_searched_for(corp: Corp) -> None:
    with pytest.raises(TypeError, match="is encrypted"):
        Corp.objects.filter(secret="密钥-s3cret").exists()

    assert Corp.objects.filter(secret__isnull=False).exists()


def dump_data(*labels: str, written_as: str = "json") -> str:
    output = StringIO()
    call_command("dumpdata", *labels, format=written_as, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize(
    ("model", "column"),
    [(model, column) for model, columns in find_encrypted_columns().items() for column in columns],
    ids=lambda value: value if isinstance(value, str) else value._meta.label_lower,
)
@pytest.mark.parametrize("written_as", ["json", "jsonl", "xml", "python"])
def test_no_encrypted_column_of_any_app_is_serialized_in_the_clear(model: Any, column: str, written_as: str) -> None:
    row = model(**{column: "s3cret"})

    text = str(serializers.serialize(written_as, [row], fields=[column]))

    assert "s3cret" not in text
    assert CIPHERTEXT_PREFIX in text


@pytest.mark.parametrize("written_as", ["json", "xml"])
def test_a_dump_holds_no_secret_and_is_loaded_again(corp: Corp, tmp_path: Path, written_as: str) -> None:
    text = dump_data("integrations", written_as=written_as)
    assert "s3cret" not in text
    assert "u:p@proxy" not in text
    Corp.objects.all().delete()

    file = tmp_path / f"dump.{written_as}"
    file.write_text(text)
    call_command("loaddata", str(file), verbosity=0)

    loaded = Corp.objects.get()
    assert (loaded.secret, loaded.proxy_url, loaded.contacts_secret) == ("密钥-s3cret", "http://u:p@proxy:1", "")
    assert Fernet(OLD).decrypt(read_stored(loaded)).decode() == "密钥-s3cret"


def test_a_fixture_that_a_person_wrote_is_loaded_and_encrypted(corp: Corp, tmp_path: Path) -> None:
    [row] = json.loads(dump_data("integrations.corp"))
    row["fields"]["secret"] = "plain-s3cret"
    file = tmp_path / "written.json"
    file.write_text(json.dumps([row]))

    call_command("loaddata", str(file), verbosity=0)

    assert Fernet(OLD).decrypt(read_stored(corp)).decode() == "plain-s3cret"


def test_a_dump_under_a_lost_key_is_refused_and_names_the_setting(corp: Corp, settings: Settings) -> None:
    text = dump_data("integrations.corp")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]

    with pytest.raises(DeserializationError, match="secret: no key of FIELD_ENCRYPTION_KEYS opens the value"):
        list(serializers.deserialize("json", text))


def test_nobody_has_a_ciphertext_opened_by_entering_it(corp: Corp) -> None:
    corp.secret = f"{CIPHERTEXT_PREFIX}{read_stored(corp)}"

    with pytest.raises(ValidationError) as refused:
        corp.clean_fields()

    assert refused.value.messages == ["这是加密导出的值，请填写原值。"]
    corp.save()
    assert Corp.objects.get().secret.startswith(CIPHERTEXT_PREFIX)


@pytest.mark.parametrize("before", [None, "https://bi.example.com/"])
def test_a_migration_writes_the_initial_address_where_none_is_the_default(before: str | None) -> None:
    SiteAddress.objects.all().delete()
    if before:
        SiteAddress.objects.create(url=before, is_default=True)

    # As after `migrate integrations zero`: the app has no models then, and its tables are gone.
    ensure_default_site_address(apps=ProjectState().apps)
    assert SiteAddress.objects.count() == bool(before)
    ensure_default_site_address(apps=apps)

    assert SiteAddress.objects.get().url == (before or DEFAULT_SITE_ADDRESS)
