"""Saving the connection and its key pair."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.db import connection as database
from django.utils import timezone
from pytest_django import Settings

from integrations import bi
from integrations.clients import guandata_sso
from integrations.clients.guandata_sso import KeyRefused
from integrations.clients.wecom.tokens import FetchedToken
from integrations.core.client_factory import bi_token_store, guandata_client
from integrations.models import BiConnection
from tests.bi import KEY, PUBLIC, make_bi
from tests.guandata import PASSWORD

pytestmark = pytest.mark.django_db


def stored_key() -> str:
    with database.cursor() as cursor:
        cursor.execute("SELECT private_key FROM integrations_biconnection")
        return str(cursor.fetchone()[0])


def test_a_generated_key_is_stored_encrypted_and_given_out_by_its_public_half() -> None:
    bi.generate_key(now=timezone.now())

    saved = BiConnection.objects.get()
    line, pem = bi.public_key(saved) or ("", "")
    assert stored_key().startswith("gAAAAA")
    assert guandata_sso.load_private_key(saved.private_key).key_size == 1024
    assert pem == guandata_sso.format_public_key(guandata_sso.load_private_key(saved.private_key))
    assert line == "".join(pem.splitlines()[1:-1])
    assert saved.connection_version == 2


def test_a_pasted_key_is_stored_in_one_form() -> None:
    bi.paste_key(text="".join(KEY.splitlines()[1:-1]), now=timezone.now())

    saved = BiConnection.objects.get()
    assert saved.private_key == KEY
    assert (bi.public_key(saved) or ("", ""))[1] == PUBLIC
    with pytest.raises(KeyRefused):
        bi.paste_key(text="no key", now=timezone.now())
    assert BiConnection.objects.get().private_key == KEY


def test_without_a_key_or_without_what_decrypts_it_there_is_no_public_half(settings: Settings) -> None:
    assert bi.public_key(BiConnection()) is None
    make_bi()
    assert bi.connection().get_deferred_fields() == {"private_key", "api_password", "app_token", "proxy_url"}
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    assert bi.public_key(bi.connection()) is None


def test_another_login_drops_the_token_that_all_processes_share(django_capture_on_commit_callbacks: object) -> None:
    saved = make_bi(api_login="robot", api_password=PASSWORD)
    tokens = bi_token_store()
    account = guandata_client(saved).token_key
    assert tokens.get(account, 0, lambda: FetchedToken("first", 600)) == "first"

    saved.api_password = "another"
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]  # a fixture that is a function
        bi.save_connection(connection=saved, changed_fields={"api_password"})

    assert tokens.get(account, 0, lambda: FetchedToken("second", 600)) == "second"


def test_what_does_not_concern_the_connection_keeps_its_version() -> None:
    saved = make_bi()
    saved.phone_home = "/m"

    bi.save_connection(connection=saved, changed_fields={"phone_home"})

    saved.refresh_from_db()
    assert (saved.phone_home, saved.connection_version) == ("/m", 1)
    saved.provider = "Other"
    bi.save_connection(connection=saved, changed_fields={"provider"})
    assert BiConnection.objects.get().connection_version == 2
