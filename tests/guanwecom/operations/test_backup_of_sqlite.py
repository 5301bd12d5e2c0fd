"""SQLite is for trials: neither backed up nor restored, and it says what to do in their place."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

pytestmark = [pytest.mark.each_database, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _only_on_sqlite(db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("tests/guanwecom/operations/test_backup.py")


def test_a_backup_says_which_files_to_copy(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"runs on SQLite.*copy the file.*-wal and -shm"):
        call_command("backup", str(tmp_path / "monday.backup"))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_nothing_is_restored_into_it(tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(CommandError, match="a backup is restored into PostgreSQL"):
        call_command("restore", str(tmp_path / "monday.backup"), *options)
