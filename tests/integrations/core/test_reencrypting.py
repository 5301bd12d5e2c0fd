"""New keys for stored secrets: every column of every app, in steps, beside a running site, after any crash."""

import io
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone, translation
from pytest_django import Settings

from integrations.core import key_rotation
from integrations.management.commands import reencrypt_secrets
from integrations.models import CallbackEvent, Corp
from integrations.models.fields import EncryptedTextField, find_encrypted_columns

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture(autouse=True)
def _in_english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def under_old(settings: Settings) -> Settings:
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    return settings


def make_corp(number: int = 1, **values: Any) -> Corp:
    fields = {"name": f"北山{number}", "corpid": f"ww{number:016d}", "agentid": number, "secret": f"s3cret-{number}"}
    return Corp.objects.create(**{**fields, **values})


def make_events(corp: Corp, count: int) -> None:
    now = timezone.now()
    fields = {"corp": corp, "kind": "app", "event": "click", "is_event": True, "happened_at": now, "received_at": now}
    CallbackEvent.objects.bulk_create(CallbackEvent(key=f"{n}", body=f"body {n}", **fields) for n in range(count))


def tokens() -> Iterator[tuple[str, str, str]]:
    """Yield every encrypted value in the whole database, found by its form and not by any model."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            names = [column.name for column in connection.introspection.get_table_description(cursor, table)]
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  # the database's own names
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    if isinstance(value, str) and value.startswith("gAAAAA"):
                        yield table, name, value


def count_opened_by(key: str) -> int:
    count = 0
    for _table, _name, token in tokens():
        try:
            Fernet(key).decrypt(token)
        except InvalidToken:
            continue
        count += 1
    return count


def reencrypt(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("reencrypt_secrets", *arguments, stdout=out)
    return out.getvalue().splitlines()


def describe_count(count: int) -> str:
    return (
        f"{count} values newly encrypted. Once every process with the keys in another order has ended, --check says "
        "whether the other keys can go."
    )


@pytest.mark.django_db
class TestCommand:
    def test_moves_every_secret_so_that_the_old_key_can_go(self, under_old: Settings) -> None:
        corp = make_corp(contacts_secret="c", callback_token="t", callback_aes_key="k", proxy_url="http://u:p@proxy:1")
        make_events(corp, 3)
        assert count_opened_by(OLD) == len(list(tokens())) == 8
        assert reencrypt()[-1] == describe_count(0)
        under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]

        lines = reencrypt()

        assert "s3cret" not in "".join(lines)
        assert lines[-1] == describe_count(8)
        assert "integrations.Corp: 1 of 1 rows looked at" in lines
        assert "integrations.CallbackEvent: 3 of 3 rows looked at" in lines
        assert (count_opened_by(OLD), count_opened_by(NEW)) == (0, 8)
        under_old.FIELD_ENCRYPTION_KEYS = [NEW]
        again = Corp.objects.get()
        assert (again.secret, again.callback_aes_key, again.proxy_url) == ("s3cret-1", "k", "http://u:p@proxy:1")
        assert again.contacts_callback_token == ""
        assert list(CallbackEvent.objects.values_list("body", flat=True)) == ["body 0", "body 1", "body 2"]

    def test_writes_no_other_column(self, under_old: Settings) -> None:
        corp = make_corp()
        under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
        statements: list[str] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith(("UPDATE", "INSERT", "DELETE")):
                statements.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note):
            reencrypt()

        (statement,) = statements
        assert statement.startswith('UPDATE "integrations_corp" SET "secret" = ')
        assert statement.count("=") == 2  # the row's key, and nothing else
        assert Corp.objects.get(pk=corp.pk).secret == "s3cret-1"

    def test_goes_on_past_a_value_that_no_key_opens_and_names_it(self, under_old: Settings) -> None:
        under_old.FIELD_ENCRYPTION_KEYS = [LOST]
        lost = make_corp(1)
        (before,) = (value for _table, _name, value in tokens())
        under_old.FIELD_ENCRYPTION_KEYS = [OLD]
        make_corp(2, proxy_url="http://u:p@proxy:1")
        under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]

        with pytest.raises(CommandError) as problem:
            reencrypt()

        words = "no key of FIELD_ENCRYPTION_KEYS opens it"
        assert str(problem.value) == f"integrations.Corp {lost.pk}, secret: {words}"
        assert (count_opened_by(NEW), count_opened_by(OLD)) == (2, 0)
        assert before in [value for _table, _name, value in tokens()]

    def test_check_says_what_still_needs_another_key_and_changes_nothing(self, under_old: Settings) -> None:
        make_corp(proxy_url="http://u:p@proxy:1")
        under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
        before = list(tokens())

        with pytest.raises(CommandError, match=r"^integrations\.Corp: 2 values need another key than the first$"):
            reencrypt("--check")
        assert list(tokens()) == before
        reencrypt()

        assert reencrypt("--check")[-1] == "Everything is under the first key: the others can go."


@pytest.mark.django_db
def test_columns_of_every_app_are_found_by_themselves() -> None:
    found = {model._meta.label: names for model, names in find_encrypted_columns().items()}

    callback_keys = {"callback_token", "callback_aes_key", "contacts_callback_token", "contacts_callback_aes_key"}
    assert {"secret", "proxy_url"} | callback_keys < set(found["integrations.Corp"])
    assert set(found["integrations.DataSource"]) == {"sql_url", "http_headers"}
    assert found["integrations.CallbackEvent"] == ["body"]
    assert sum(map(len, found.values())) == sum(
        isinstance(column, EncryptedTextField) for model in apps.get_models() for column in model._meta.local_fields
    )


@pytest.mark.django_db
def test_broken_off_in_the_middle_it_is_started_again_and_does_the_rest(
    under_old: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "STEP", 10)
    make_events(make_corp(), 25)
    under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]

    class Dying(io.StringIO):
        def write(self, text: str) -> int:
            if "20 of 25" in text and "25 of 25" in self.getvalue():  # while it moves them
                raise KeyboardInterrupt
            return super().write(text)

    with pytest.raises(KeyboardInterrupt):
        call_command("reencrypt_secrets", stdout=Dying())
    assert (count_opened_by(NEW), count_opened_by(OLD)) == (21, 5)

    lines = reencrypt()
    # The values are looked at, moved, and looked at again.
    events = [line for line in lines if line.startswith("integrations.CallbackEvent")]
    assert events == [f"integrations.CallbackEvent: {n} of 25 rows looked at" for n in (10, 20, 25)] * 3
    assert lines[-1] == describe_count(5)
    assert (count_opened_by(NEW), count_opened_by(OLD)) == (26, 0)


@pytest.mark.django_db
def test_a_process_that_still_writes_under_the_old_key_is_said(
    under_old: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warn of a process with the keys in the old order: step 3 of docs/en/secrets.md, half done."""
    corp = make_corp()
    under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    sweep = key_rotation.reencrypt_rows

    def sweep_before_another_saves(*args: Any, **options: Any) -> Any:
        found = sweep(*args, **options)
        under_old.FIELD_ENCRYPTION_KEYS = [OLD, NEW]
        Corp.objects.filter(pk=corp.pk).update(secret="saved meanwhile")
        under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
        return found

    monkeypatch.setattr(reencrypt_secrets, "TRIES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(key_rotation, "reencrypt_rows", sweep_before_another_saves)
        with pytest.raises(CommandError, match="restart it; then start this again"):
            reencrypt()

    assert reencrypt()[-1] == describe_count(1)
    assert Corp.objects.get().secret == "saved meanwhile"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("lock", "is_let_go"), [("NO KEY UPDATE", True), ("NO KEY UPDATE", False), ("KEY SHARE", False)]
)
def test_a_row_that_somebody_else_holds_is_tried_again(
    under_old: Settings, monkeypatch: pytest.MonkeyPatch, lock: str, is_let_go: bool
) -> None:
    """A new row that refers to this one locks it FOR KEY SHARE, which holds nothing up."""
    held, _free = make_corp(1), make_corp(2)
    under_old.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    is_held, is_over = threading.Event(), threading.Event()
    is_moved = is_let_go or lock == "KEY SHARE"

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM integrations_corp WHERE id = %s FOR {lock}", [held.pk])  # noqa: S608  # our own word
            is_held.set()
            is_over.wait(60)
            if is_let_go:
                Corp.objects.filter(pk=held.pk).update(secret="saved meanwhile")
        connection.close()

    holder = threading.Thread(target=hold)

    def pause(seconds: float) -> None:
        if seconds and is_let_go:
            is_over.set()
            holder.join(60)

    monkeypatch.setattr("integrations.management.commands.reencrypt_secrets.time.sleep", pause)
    holder.start()
    assert is_held.wait(60)
    with nullcontext() if is_moved else pytest.raises(CommandError, match=r"^integrations\.Corp: rows are still"):
        reencrypt()
    is_over.set()
    holder.join(60)

    assert (count_opened_by(OLD), count_opened_by(NEW)) == ((0, 2) if is_moved else (1, 1))
    assert Corp.objects.get(pk=held.pk).secret == ("saved meanwhile" if is_let_go else "s3cret-1")
