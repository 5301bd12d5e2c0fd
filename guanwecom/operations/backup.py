"""Backup of the database into one file, and its restoration.

The file is a line of description, then the output of pg_dump. It holds no encryption keys, only fingerprints of the
keys that its secrets need. No argument, variable or log of pg_dump and pg_restore holds the database's password.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import TextField
from django.db.models.functions import Cast, Now
from django.utils import timezone
from django.utils.translation import gettext as _
from psycopg import pq

from guanwecom.operations.upgrade import POOLED, is_pooled
from integrations.core import heartbeats, installation
from integrations.models import CallbackEvent, Heartbeat, Installation
from integrations.models.fields import find_encrypted_columns

# Debian's folder of PostgreSQL's programs; the wrapper in /usr/bin chooses a version by its own rules.
DEBIAN = Path("/usr/lib/postgresql")
# The schema that keeps the former tables until the new ones are restored.
FORMER_SCHEMA = "guanwecom_before_restore"
MARK = b"guanwecom backup "
# Variables that PostgreSQL's programs get, besides those of the connection. Others may contain secrets.
_INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "KRB5CCNAME")


class BackupError(Exception):
    """A failure, explained to the operator. The database is unchanged unless the text says otherwise."""


@dataclass(frozen=True)
class BackupDescription:
    """The first line of a backup. `migrations`: app.name of each. `keys`: fingerprints of the keys that secrets
    need."""

    version: str
    made_at: str
    migrations: list[str]
    keys: list[str]

    @property
    def missing_keys(self) -> list[str]:
        """The fingerprints that FIELD_ENCRYPTION_KEYS lacks."""
        return sorted({*self.keys} - {_make_fingerprint(key) for key in settings.FIELD_ENCRYPTION_KEYS})


def _make_fingerprint(key: str) -> str:
    return hmac.new(key.encode(), b"guanwecom backup: fingerprint of a key", hashlib.sha256).hexdigest()[:16]


def back_up(path: Path, *, programs_folder: str | None = None) -> BackupDescription:
    """Write the database into the new file `path`, named `path`.part until it is complete. Raises BackupError."""
    _refuse_pooler()
    if path.exists():
        raise BackupError(_("%(path)s exists already. Give another name; no backup is overwritten.") % {"path": path})
    installation.load_installation()  # creates the row if it is missing
    description = _describe_database()
    partial_file = path.with_name(f"{path.name}.part")
    partial_file.unlink(missing_ok=True)
    try:
        with open(os.open(partial_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(MARK + json.dumps(asdict(description), ensure_ascii=False).encode() + b"\n")
            _run_program(programs_folder, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", target=file)
            file.flush()
            os.fsync(file.fileno())
        partial_file.rename(path)
    except OSError as error:
        words = {"path": path, "reason": error.strerror}
        raise BackupError(_("%(path)s cannot be written: %(reason)s.") % words) from error
    finally:
        partial_file.unlink(missing_ok=True)
    Installation.objects.update(backed_up_at=Now())
    return description


def _describe_database() -> BackupDescription:
    migrations = sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())
    needed_keys: set[str] = set()
    for model, names in find_encrypted_columns().items():
        for name in names if model is not CallbackEvent else ():  # its rows are many, and deleted soon
            rows = model._base_manager.annotate(raw=Cast(name, TextField())).exclude(raw="")
            for secret in filter(None, rows.values_list("raw", flat=True).iterator()):
                for key in settings.FIELD_ENCRYPTION_KEYS:
                    with suppress(InvalidToken):
                        Fernet(key).decrypt(secret.encode())
                        needed_keys.add(_make_fingerprint(key))
                        break
    made_at = timezone.now().isoformat(timespec="seconds")
    return BackupDescription(settings.VERSION, made_at, migrations, sorted(needed_keys))


def restore(
    path: Path, *, is_dry_run: bool, replaces: bool, without_keys: bool, programs_folder: str | None
) -> BackupDescription:
    """Restore a backup, all or nothing, and mark the database as a copy: it sends nothing until it is confirmed.

    `is_dry_run`: only check. `replaces`: replace a database that is not empty. `without_keys`: restore although secrets
    cannot be decrypted. Raises BackupError; the database is then unchanged.
    """
    _refuse_pooler()
    try:
        dump = path.open("rb")
    except OSError as error:
        words = {"path": path, "reason": error.strerror}
        raise BackupError(_("%(path)s cannot be read: %(reason)s.") % words) from error
    with dump:
        try:
            description = BackupDescription(**json.loads(dump.readline(1_000_000).removeprefix(MARK)))
        except (ValueError, TypeError) as error:
            raise BackupError(_("%(path)s is no backup of guanwecom.") % {"path": path}) from error
        _refuse_unrestorable(description, replaces=replaces, without_keys=without_keys)
        if is_dry_run:
            return description
        has_former_tables, is_restored = bool(connection.introspection.table_names()), False
        if has_former_tables:
            drop = f"DROP SCHEMA IF EXISTS {FORMER_SCHEMA} CASCADE"
            _execute_statements(drop, f"ALTER SCHEMA public RENAME TO {FORMER_SCHEMA}", "CREATE SCHEMA public")
        connection.close()
        try:
            arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
            arguments.append(f"--dbname={connection.settings_dict['NAME']}")
            _run_program(programs_folder, "pg_restore", *arguments, source=dump)
            is_restored = True
        finally:  # also after an interruption
            if has_former_tables and not is_restored:
                _execute_statements("DROP SCHEMA public CASCADE", f"ALTER SCHEMA {FORMER_SCHEMA} RENAME TO public")
    # A database in another place counts as a copy anyway. This also marks a database that replaces its original.
    installation.load_installation()
    Installation.objects.update(is_held=True)
    installation.clear_copy_cache()
    if has_former_tables:
        _execute_statements(f"DROP SCHEMA {FORMER_SCHEMA} CASCADE")
    return description


def _refuse_unrestorable(description: BackupDescription, *, replaces: bool, without_keys: bool) -> None:
    """Raise BackupError if the backup cannot be restored, as far as that shows before anything is changed."""
    known = {f"{app}.{name}" for app, name in MigrationLoader(None, ignore_no_migrations=True).disk_migrations}
    ours = {config.label for config in apps.get_app_configs()}
    unknown = [name for name in description.migrations if name.partition(".")[0] in ours and name not in known]
    if unknown:
        text = _(
            "The backup was made by version %(version)s, which is newer: this version does not know %(migrations)s. "
            "Install %(version)s or newer first."
        )
        raise BackupError(text % {"version": description.version, "migrations": ", ".join(unknown[:5])})
    if description.missing_keys and not without_keys:
        text = _(
            "FIELD_ENCRYPTION_KEYS lacks keys of this backup, without which its secrets cannot be read: %(keys)s. Add "
            "them behind the present ones. Or restore with --without-keys, and enter the secrets again. Nothing was "
            "changed."
        )
        raise BackupError(text % {"keys": ", ".join(description.missing_keys)})
    tables = connection.introspection.table_names()
    if tables and not replaces:
        text = _(
            "The database is not empty. Restore into a new one, or replace what is there with --replace. "
            "Nothing was changed."
        )
        raise BackupError(text)
    living = (
        heartbeats.find_living_processes().values_list("kind", "name") if Heartbeat._meta.db_table in tables else ()
    )
    if running := ", ".join(f"{kind} {name}" for kind, name in living):
        text = _("Stop all processes first; these still run: %(running)s. Nothing was changed.")
        raise BackupError(text % {"running": running})


def _refuse_pooler() -> None:
    """Raise BackupError for a pooler, which would give others the session that PostgreSQL's programs change."""
    if is_pooled():
        raise BackupError(POOLED)


def _execute_statements(*statements: str) -> None:
    with connection.cursor() as cursor:  # several statements in one call are one transaction
        cursor.execute(";".join(statements))


def _run_program(folder: str | None, name: str, *arguments: str, source: Any = None, target: Any = None) -> None:
    """Run a program of PostgreSQL. `source`: file for its input. `target`: file for its output. Raises BackupError with
    the program's messages, except lines that show values of rows."""
    debian = sorted(DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    executable = Path(folder or (debian[0] if debian else Path(shutil.which(name) or name).parent)) / name
    if not executable.is_file():
        text = _(
            "There is no %(name)s in %(folder)s. Install PostgreSQL's client programs (Debian: postgresql-client), "
            "of the server's version or newer, or name their folder with --programs."
        )
        raise BackupError(text % {"name": name, "folder": executable.parent})
    command = [str(executable), "--no-password", *arguments]
    streams: dict[str, Any] = {"stdin": source and subprocess.PIPE, "stdout": target and subprocess.PIPE}
    password = re.sub(r"([:\\])", r"\\\1", str(connection.get_connection_params().get("password") or ""))
    with tempfile.TemporaryFile() as errors, tempfile.NamedTemporaryFile("w") as secret:  # only our user can read them
        secret.write(f"*:*:*:*:{password}\n")
        secret.flush()
        # Our environment's harmless variables, and the connection as libpq's variables, without the password.
        environ = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
        parameters = connection.get_connection_params()
        for option in pq.Conninfo.get_defaults():
            keyword = option.keyword.decode()
            if option.envvar and parameters.get(keyword) and keyword not in {"password", "client_encoding", "options"}:
                environ[option.envvar.decode()] = str(parameters[keyword])
        environ["PGPASSFILE"] = secret.name
        popen: Any = subprocess.Popen(command, env=environ, stderr=errors, bufsize=0, **streams)  # noqa: S603  # fixed arguments
        with popen as process:
            try:
                with suppress(BrokenPipeError):  # the program failed; its messages are read below
                    shutil.copyfileobj(source or process.stdout, target or process.stdin)
                    (process.stdin or process.stdout).close()
                process.wait()
            finally:  # after an interruption, the server rolls back
                process.kill()
        errors.seek(0)
        lines = errors.read().decode(errors="replace").splitlines()
    if process.returncode:
        shown_lines = [line for line in lines if not re.match(r"(CONTEXT|DETAIL|COPY)\b", line)][:20]
        words = {"name": name, "code": process.returncode, "text": "\n".join(shown_lines)}
        raise BackupError(_("%(name)s failed (exit code %(code)d):\n%(text)s") % words)
