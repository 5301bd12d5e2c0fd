"""Runs pg_dump and pg_restore with the database of the settings. No argument, variable or log holds its password."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _
from psycopg import pq

from guanwecom.operations.backup.errors import BackupError
from guanwecom.postgresql.base import POOLED

# Where Debian keeps them; /usr/bin has a wrapper that chooses by its own rules.
DEBIAN = Path("/usr/lib/postgresql")
SERVICE = "guanwecom"
# Of psycopg or the session, which the programs set by themselves.
_NOT_OF_PROGRAMS = {"client_encoding", "passfile", "password", "service", "options"}
# All that the programs get of our environment, which holds secrets.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "KRB5CCNAME")
LINES_SHOWN = 20


@dataclass(frozen=True)
class Programs:
    """`folder`: where they are; `environ`: in which they find the connection."""

    folder: Path
    environ: dict[str, str]

    def start(self, name: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """`options`: of subprocess. `complaint` words what it said."""
        command = [str(self.folder / name), "--no-password", *arguments]
        return subprocess.Popen(command, env=self.environ, **options)  # noqa: S603  # PostgreSQL's


@contextmanager
def programs(folder: str | None) -> Iterator[Programs]:
    """The programs, while their service and password files exist. Raises BackupError."""
    if connection.is_pooled():  # type: ignore[attr-defined]  # guanwecom.postgresql
        # They empty the search path of their session, which the pooler would give to the product next.
        raise BackupError(POOLED)
    found = Path(folder) if folder else _newest()
    for name in ("pg_dump", "pg_restore"):
        if not (found / name).is_file():
            text = _(
                "There is no %(name)s in %(folder)s. Install PostgreSQL's client programs (Debian: postgresql-client), "
                "of the server's version or newer, or name their folder with --programs."
            )
            raise BackupError(text % {"name": name, "folder": found})
    with tempfile.TemporaryDirectory(prefix="guanwecom-backup-") as private:
        yield Programs(found, _environ(Path(private)))


def complaint(process: subprocess.Popen[bytes], said: bytes) -> BackupError:
    """What a program that failed has said, without values of rows, which may be anybody's."""
    lines = [
        line for line in said.decode(errors="replace").splitlines() if not re.match(r"(CONTEXT|DETAIL|COPY)\b", line)
    ]
    text = "\n".join(lines[:LINES_SHOWN])
    words = {"name": Path(str(process.args[0])).name, "code": process.returncode, "text": text}  # type: ignore[index]  # a list
    return BackupError(_("%(name)s failed (exit code %(code)d):\n%(text)s") % words)


def _newest() -> Path:
    debian = sorted(DEBIAN.glob("*/bin/pg_dump"), key=lambda path: int(path.parent.parent.name), reverse=True)
    on_path = shutil.which("pg_dump")
    if not debian and on_path is None:
        raise BackupError(_("No pg_dump is installed (Debian: postgresql-client). Or name its folder with --programs."))
    return debian[0].parent if debian else Path(str(on_path)).parent


def _environ(private: Path) -> dict[str, str]:
    """libpq's service file holds the connection, and its password file the password: both are ours alone to read."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} - _NOT_OF_PROGRAMS
    parameters = connection.get_connection_params()
    lines = [f"{name}={value}" for name, value in parameters.items() if name in known and value not in {None, ""}]
    _write(private / "service", "\n".join([f"[{SERVICE}]", *lines, ""]))
    password = re.sub(r"([:\\])", r"\\\1", str(parameters.get("password") or ""))
    _write(private / "password", f"*:*:*:*:{password}\n" if password else "")
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    files = {"PGSERVICEFILE": str(private / "service"), "PGPASSFILE": str(private / "password")}
    return {**inherited, **files, "PGSERVICE": SERVICE}


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
