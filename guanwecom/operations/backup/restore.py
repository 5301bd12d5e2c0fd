"""Restores a backup into an empty database, or on request in place of what is there; all of it or nothing."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.apps import apps
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils.translation import gettext as _

from guanwecom.operations.backup import archive
from guanwecom.operations.backup.errors import BackupError
from guanwecom.operations.backup.manifest import UNREADABLE, Manifest
from guanwecom.operations.backup.programs import SERVICE, Programs, complaint, programs
from integrations.core import heartbeats, installation
from integrations.models import Heartbeat, Installation

# Where what is replaced stays until the new tables are there.
ASIDE = "guanwecom_before_restore"


@dataclass(frozen=True)
class Wishes:
    """What the operator allows: to replace a database that is not empty, and to go on without keys of secrets."""

    replaces: bool = False
    without_keys: bool = False
    programs_folder: str | None = None


def check(path: Path, wishes: Wishes) -> Manifest:
    """Everything that can be said before anything is changed. Raises BackupError."""
    with archive.opened(path) as (described, _dump):
        _check(described, wishes)
        return described


def restore(path: Path, wishes: Wishes, *, say: Callable[[str], None] = lambda _text: None) -> Manifest:
    """Restore, and mark the database as a copy: nothing is sent from it until somebody confirms it. Raises BackupError;
    then the database is as it was before."""
    with archive.opened(path) as (described, dump), programs(wishes.programs_folder) as pg:
        _check(described, wishes)
        is_aside = not _is_empty()
        if is_aside:
            say(_("The present tables are set aside until the new ones are there."))
            _set_aside()
        connection.close()
        is_there = False
        try:
            _run(pg, dump)
            is_there = True
        finally:  # also where somebody breaks it off
            if is_aside and not is_there:
                _put_back()
        _mark_as_copy()
        if is_aside:
            _execute(f"DROP SCHEMA {ASIDE} CASCADE")
        return described


def lost_secrets(described: Manifest) -> list[str]:
    """One line for each key that is missing: what cannot be read without it."""
    lines = [
        f"{_('key %(key)s') % {'key': key}}: {', '.join(f'{label} ({count})' for label, count in counts.items())}"
        for key, counts in described.missing_keys().items()
    ]
    unreadable = {label: counts[UNREADABLE] for label, counts in described.secrets.items() if UNREADABLE in counts}
    if unreadable:
        values = ", ".join(f"{label} ({count})" for label, count in unreadable.items())
        lines.append(f"{_('no key, already when the backup was made')}: {values}")
    return lines


def _check(described: Manifest, wishes: Wishes) -> None:
    unknown = _unknown_migrations(described)
    if unknown:
        text = _(
            "The backup was made by version %(version)s, which is newer: this version does not know %(migrations)s. "
            "Install %(version)s or newer first."
        )
        raise BackupError(text % {"version": described.version, "migrations": ", ".join(unknown[:5])})
    if described.missing_keys() and not wishes.without_keys:
        lines = "\n".join(f"  {line}" for line in lost_secrets(described))
        text = _(
            "FIELD_ENCRYPTION_KEYS lacks keys of this backup. Without them these secrets cannot be read:\n%(lines)s\n"
            "Add the keys behind the present ones. Or restore with --without-keys, and enter these secrets again. "
            "Nothing was changed."
        )
        raise BackupError(text % {"lines": lines})
    if _is_empty():
        return
    if not wishes.replaces:
        raise BackupError(
            _(
                "The database is not empty. Restore into a new one, or replace what is there with --replace. "
                "Nothing was changed."
            )
        )
    if running := _running():
        text = _("Stop all processes first; these still run: %(running)s. Nothing was changed.")
        raise BackupError(text % {"running": ", ".join(running)})


def _unknown_migrations(described: Manifest) -> list[str]:
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    ours = {config.label for config in apps.get_app_configs()}
    return [
        f"{app}.{name}"
        for app, names in described.migrations.items()
        for name in names
        if app in ours and (app, name) not in known
    ]


def _is_empty() -> bool:
    with connection.cursor() as cursor:
        return not connection.introspection.table_names(cursor)


def _running() -> list[str]:
    if Heartbeat._meta.db_table not in connection.introspection.table_names():
        return []
    return [f"{kind} {name}" for kind, name in heartbeats.living().values_list("kind", "name")]


def _run(pg: Programs, dump: IO[bytes]) -> None:
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    with tempfile.TemporaryFile() as said:
        process = pg.start("pg_restore", *arguments, f"--dbname=service={SERVICE}", stdin=subprocess.PIPE, stderr=said)
        if process.stdin is None:
            raise TypeError("started with a pipe")
        try:
            with suppress(BrokenPipeError):  # it failed, and says why
                while chunk := dump.read(1024 * 1024):
                    process.stdin.write(chunk)
                process.stdin.close()
            if process.wait():
                said.seek(0)
                raise complaint(process, said.read())
        finally:
            # What it had not committed is gone with it, and so are its locks, once the server has noticed.
            process.kill()
            process.communicate()


def _set_aside() -> None:
    _execute(f"DROP SCHEMA IF EXISTS {ASIDE} CASCADE", f"ALTER SCHEMA public RENAME TO {ASIDE}", "CREATE SCHEMA public")


def _put_back() -> None:
    _execute("DROP SCHEMA public CASCADE", f"ALTER SCHEMA {ASIDE} RENAME TO public")


def _execute(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _mark_as_copy() -> None:
    """A restore elsewhere is recognised by itself; this one says so of any."""
    installation.present()
    Installation.objects.update(is_held=True)
    installation.forget()
