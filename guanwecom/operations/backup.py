"""Backs the database up into one file, and restores it: a line that describes it, then what pg_dump wrote.

No argument, variable or log of pg_dump and pg_restore holds the database's password. The encryption keys are not in the
file, only fingerprints of those that its secrets need.
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
from typing import IO, Any

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
from integrations.core.key_rotation import encrypted_columns
from integrations.models import CallbackEvent, Heartbeat, Installation

# Where Debian keeps PostgreSQL's programs; /usr/bin has a wrapper that chooses by its own rules.
DEBIAN = Path("/usr/lib/postgresql")
# Where the present tables stay until the new ones are there.
ASIDE = "guanwecom_before_restore"
MARK = b"guanwecom backup "
# All that the programs get of our environment, which holds secrets; the connection is added.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "KRB5CCNAME")


class BackupError(Exception):
    """A sentence or more for the operator. Nothing was changed unless it says so."""


@dataclass(frozen=True)
class Description:
    """What a file says of itself. `migrations`: app.name each. `keys`: fingerprints of those that its secrets need."""

    version: str
    made_at: str
    migrations: list[str]
    keys: list[str]

    @property
    def missing_keys(self) -> list[str]:
        """The keys that FIELD_ENCRYPTION_KEYS lacks."""
        return sorted({*self.keys} - {_fingerprint(key) for key in settings.FIELD_ENCRYPTION_KEYS})


def _fingerprint(key: str) -> str:
    return hmac.new(key.encode(), b"guanwecom backup: fingerprint of a key", hashlib.sha256).hexdigest()[:16]


def back_up(path: Path, *, programs_folder: str | None = None) -> Description:
    """Write the database into a new file, which gets its name when it is whole. Raises BackupError."""
    _refuse_pooler()
    if path.exists():
        raise BackupError(_("%(path)s exists already. Give another name; no backup is overwritten.") % {"path": path})
    installation.present()
    description = _describe()
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(MARK + json.dumps(asdict(description), ensure_ascii=False).encode() + b"\n")
            _run(programs_folder, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", target=file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        words = {"path": path, "reason": error.strerror}
        raise BackupError(_("%(path)s cannot be written: %(reason)s.") % words) from error
    finally:
        part.unlink(missing_ok=True)
    Installation.objects.update(backed_up_at=Now())
    return description


def _describe() -> Description:
    migrations = sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())
    needed: set[str] = set()
    for model, names in encrypted_columns().items():
        for name in names if model is not CallbackEvent else ():  # its rows are many, and pass
            rows = model._base_manager.annotate(raw=Cast(name, TextField())).exclude(raw="")
            needed.update(map(_key_of, filter(None, rows.values_list("raw", flat=True).iterator())))
    made_at = timezone.now().isoformat(timespec="seconds")
    return Description(settings.VERSION, made_at, migrations, sorted(needed - {""}))


def _key_of(token: str) -> str:
    for key in settings.FIELD_ENCRYPTION_KEYS:
        with suppress(InvalidToken):
            Fernet(key).decrypt(token.encode())
            return _fingerprint(key)
    return ""


def restore(
    path: Path, *, is_check: bool, replaces: bool, without_keys: bool, programs_folder: str | None
) -> Description:
    """Restore, and mark the database as a copy: nothing is sent from it until somebody confirms it. All or nothing.

    `is_check`: change nothing. `replaces`: a database that is not empty, too. `without_keys`: also where secrets cannot
    be read then. Raises BackupError; then the database is as it was before.
    """
    _refuse_pooler()
    try:
        dump = path.open("rb")
    except OSError as error:
        words = {"path": path, "reason": error.strerror}
        raise BackupError(_("%(path)s cannot be read: %(reason)s.") % words) from error
    with dump:
        try:
            description = Description(**json.loads(dump.readline(1_000_000).removeprefix(MARK)))
        except (ValueError, TypeError) as error:
            raise BackupError(_("%(path)s is no backup of guanwecom.") % {"path": path}) from error
        _check(description, replaces=replaces, without_keys=without_keys)
        if not is_check:
            _replace(dump, programs_folder)
    return description


def _check(description: Description, *, replaces: bool, without_keys: bool) -> None:
    """Say everything that can be said before anything is changed."""
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
    living = heartbeats.living().values_list("kind", "name") if Heartbeat._meta.db_table in tables else ()
    if running := ", ".join(f"{kind} {name}" for kind, name in living):
        text = _("Stop all processes first; these still run: %(running)s. Nothing was changed.")
        raise BackupError(text % {"running": running})


def _replace(dump: IO[bytes], programs_folder: str | None) -> None:
    is_aside, is_there = bool(connection.introspection.table_names()), False
    if is_aside:
        drop = f"DROP SCHEMA IF EXISTS {ASIDE} CASCADE"
        _execute(drop, f"ALTER SCHEMA public RENAME TO {ASIDE}", "CREATE SCHEMA public")
    connection.close()
    try:
        arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
        _run(programs_folder, "pg_restore", *arguments, f"--dbname={connection.settings_dict['NAME']}", source=dump)
        is_there = True
    finally:  # also where somebody breaks it off
        if is_aside and not is_there:
            _execute("DROP SCHEMA public CASCADE", f"ALTER SCHEMA {ASIDE} RENAME TO public")
    # A restore elsewhere is recognised by itself; this one says so of any.
    installation.present()
    Installation.objects.update(is_held=True)
    installation.forget()
    if is_aside:
        _execute(f"DROP SCHEMA {ASIDE} CASCADE")


def _refuse_pooler() -> None:
    """The programs empty the search path of their session, which a pooler would give to the product next."""
    if is_pooled():
        raise BackupError(POOLED)


def _execute(*statements: str) -> None:
    with connection.cursor() as cursor:  # several statements at once are one transaction
        cursor.execute(";".join(statements))


def _run(folder: str | None, name: str, *arguments: str, source: Any = None, target: Any = None) -> None:
    """Run a program of PostgreSQL on `source`, or for `target`. Raises BackupError with what it said, without values of
    rows."""
    command = [str(_find_program(folder, name)), "--no-password", *arguments]
    streams: dict[str, Any] = {"stdin": source and subprocess.PIPE, "stdout": target and subprocess.PIPE}
    password = re.sub(r"([:\\])", r"\\\1", str(connection.get_connection_params().get("password") or ""))
    with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile("w") as secret:  # ours alone to read
        secret.write(f"*:*:*:*:{password}\n")
        secret.flush()
        environ = {**_describe_connection(), "PGPASSFILE": secret.name}
        program: Any = subprocess.Popen(command, env=environ, stderr=said, bufsize=0, **streams)  # noqa: S603  # PostgreSQL's
        with program as process:
            try:
                with suppress(BrokenPipeError):  # it failed, and says why
                    shutil.copyfileobj(source or process.stdout, target or process.stdin)
                    (process.stdin or process.stdout).close()
                process.wait()
            finally:  # what it had not committed is gone with it, once the server has noticed
                process.kill()
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    if process.returncode:
        shown = [line for line in lines if not re.match(r"(CONTEXT|DETAIL|COPY)\b", line)][:20]
        words = {"name": name, "code": process.returncode, "text": "\n".join(shown)}
        raise BackupError(_("%(name)s failed (exit code %(code)d):\n%(text)s") % words)


def _find_program(folder: str | None, name: str) -> Path:
    debian = sorted(DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    program = Path(folder or (debian[0] if debian else Path(shutil.which(name) or name).parent)) / name
    if not program.is_file():
        text = _(
            "There is no %(name)s in %(folder)s. Install PostgreSQL's client programs (Debian: postgresql-client), "
            "of the server's version or newer, or name their folder with --programs."
        )
        raise BackupError(text % {"name": name, "folder": program.parent})
    return program


def _describe_connection() -> dict[str, str]:
    """Return the connection as libpq's variables, without the password, and what programs need of our environment."""
    environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    parameters = connection.get_connection_params()
    for option in pq.Conninfo.get_defaults():
        name = option.keyword.decode()
        if option.envvar and parameters.get(name) and name not in {"password", "client_encoding", "options"}:
            environ[option.envvar.decode()] = str(parameters[name])
    return environ
