"""Secrets at rest: encrypted, under keys that can rotate."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from pytest_django import Settings

from integrations.models import Corp

pytestmark = pytest.mark.django_db
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def stored(corp: Corp, column: str = "secret") -> str:
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


def test_the_database_holds_no_secret(corp: Corp) -> None:
    assert "s3cret" not in stored(corp)
    assert Fernet(OLD).decrypt(stored(corp)).decode() == "密钥-s3cret"
    assert Corp.objects.get().secret == "密钥-s3cret"


def test_an_empty_text_stays_empty(corp: Corp) -> None:
    assert stored(corp, "contacts_secret") == ""
    assert Corp.objects.get().contacts_secret == ""


def test_the_same_secret_is_stored_differently_each_time(corp: Corp) -> None:
    before = stored(corp)

    corp.save(update_fields=["secret"])

    assert stored(corp) != before


def test_the_first_key_encrypts_and_every_key_decrypts(corp: Corp, settings: Settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    assert Corp.objects.get().secret == "密钥-s3cret"

    Corp.objects.get().save()

    assert Fernet(NEW).decrypt(stored(corp)).decode() == "密钥-s3cret"


def test_a_value_that_no_key_opens_names_the_setting_and_not_the_value(corp: Corp, settings: Settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW]

    with pytest.raises(ImproperlyConfigured, match=r"^Corp\.\w+: no key of FIELD_ENCRYPTION_KEYS opens") as problem:
        Corp.objects.get()

    assert stored(corp) not in str(problem.value)


def test_a_secret_cannot_be_searched_for(corp: Corp) -> None:
    with pytest.raises(TypeError, match="is encrypted"):
        Corp.objects.filter(secret="密钥-s3cret").exists()

    assert Corp.objects.filter(secret__isnull=False).exists()


def test_no_text_of_a_corp_shows_a_secret(corp: Corp) -> None:
    assert "s3cret" not in f"{corp} {corp!r}"
