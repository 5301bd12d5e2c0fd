"""Secrets stay out of a file for support, a command's output and the log."""

import logging
import stat
import zipfile
from io import StringIO
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts.models import TotpDevice, User
from guanwecom.version import VERSION
from integrations.models import CallbackEvent, CheckRun, Corp, DataSource
from integrations.models.fields import find_encrypted_columns
from tests import admin_world

pytestmark = pytest.mark.django_db
MARK = "secret-marker-{}-{}"
ADDRESSES = {
    ("DataSource", "sql_url"): "postgresql://reader:{}@db.example/sales",
    ("Corp", "proxy_url"): "http://u:{}@p:1",
}


@pytest.fixture
def secrets() -> set[str]:
    """A world with a different secret in every encrypted column of every model, and the secrets of the settings."""
    admin_world.build()
    now = timezone.now()
    CallbackEvent.objects.create(
        corp=Corp.objects.all()[0],
        kind="app",
        key="k",
        event="e",
        is_event=True,
        happened_at=now,
        received_at=now,
        body="b",
    )
    TotpDevice.objects.create(user=User.objects.all()[0], key="x", confirmed_at=now)
    DataSource.objects.update(kind="sql")
    marks = set()
    for model, names in find_encrypted_columns().items():
        assert model._base_manager.exists(), f"make a row of {model.__name__} above"
        for name in names:
            mark = MARK.format(model.__name__, name)
            model._base_manager.update(**{name: ADDRESSES.get((model.__name__, name), "{}").format(mark)})
            marks.add(mark)
    # Another system's answer may hold anything.
    answer = f"invalid secret {MARK.format('Corp', 'secret')}"
    CheckRun.objects.create(
        corp=Corp.objects.all()[0],
        check_name="token",
        status="wrong",
        detail=answer,
        requested_at=now,
        connection_version=1,
    )
    password = str(connection.settings_dict.get("PASSWORD") or "")
    valkey = unquote(urlsplit(settings.VALKEY_URL).password or "")
    return {*marks, settings.SECRET_KEY, *settings.FIELD_ENCRYPTION_KEYS, valkey, *({password} - {""})}


def found_in(text: str, secrets: set[str]) -> list[str]:
    return [secret for secret in secrets if secret in text or quote(secret, safe="") in text]


def test_none_of_them_stands_in_anything_that_leaves(
    secrets: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    out = StringIO()

    call_command("support_bundle", str(tmp_path / "s.zip"), stdout=out)
    call_command("upgrade", check=True, stdout=out)
    call_command("installation", stdout=out)

    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    captured = capfd.readouterr()
    for text in [*parts.values(), out.getvalue(), captured.out, captured.err]:
        assert found_in(text, secrets) == []
    assert found_in(caplog.text, secrets) == []
    assert any("invalid secret ***" in text for name, text in parts.items() if name.startswith("diagnosis/"))


@pytest.mark.usefixtures("in_english")
def test_the_file_holds_what_support_asks_for_and_is_private(tmp_path: Path) -> None:
    Corp.objects.create(name="北山制造", corpid="ww" + "1" * 16, agentid=7, secret="the Secret")
    path = tmp_path / "support.zip"

    call_command("support_bundle", str(path), stdout=StringIO())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        texts = {name: archive.read(name).decode() for name in names}
    kinds = ("about", "settings", "migrations", "engine", "queues", "heartbeats", "errors", "checks")
    assert names == [*(f"{kind}.json" for kind in kinds), f"diagnosis/{Corp.objects.get().pk}.txt"]
    assert f'"guanwecom": "{VERSION}"' in texts["about.json"]
    assert '"integrations.0001_initial"' in texts["migrations.json"]
    assert '"SECRET_KEY": "(set)"' in texts["settings.json"]
    assert '"TIME_ZONE": "Asia/Shanghai"' in texts["settings.json"]
    assert '"VALKEY_URL": "(set (redis://127.0.0.1:' in texts["settings.json"]
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        call_command("support_bundle", str(path))
