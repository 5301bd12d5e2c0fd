"""Makes a backup: a dump of one consistent snapshot, beside the running product."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from guanwecom.operations.backup import archive, manifest
from guanwecom.operations.backup.errors import BackupError
from guanwecom.operations.backup.manifest import Manifest
from guanwecom.operations.backup.programs import complaint, programs
from integrations.core import installation
from integrations.models import Installation


def back_up(path: Path, *, programs_folder: str | None = None) -> Manifest:
    """Write the database into a new file. Raises BackupError."""
    if path.exists():
        text = _("%(path)s exists already. Give another name; no backup is overwritten.")
        raise BackupError(text % {"path": path})
    if not path.absolute().parent.is_dir():
        raise BackupError(_("The folder %(path)s does not exist.") % {"path": path.absolute().parent})
    installation.present()
    with programs(programs_folder) as pg, transaction.atomic(), tempfile.TemporaryFile() as said:
        with connection.cursor() as cursor:
            # It holds the snapshot, and is idle while pg_dump works.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot: str = cursor.fetchone()[0]
        described = manifest.of_database()
        arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
        process = pg.start("pg_dump", *arguments, stdout=subprocess.PIPE, stderr=said)
        if process.stdout is None:
            raise TypeError("started with a pipe")

        def ended(sha256: str, size: int) -> Manifest:
            if process.wait():
                said.seek(0)
                raise complaint(process, said.read())
            return Manifest(**described, sha256=sha256, bytes=size)

        try:
            made = archive.write(path, process.stdout, ended)
        except OSError as error:
            text = _("%(path)s cannot be written: %(reason)s.")
            raise BackupError(text % {"path": path, "reason": error.strerror}) from error
        finally:
            process.kill()
            process.communicate()
    Installation.objects.update(backed_up_at=Now())
    return made
