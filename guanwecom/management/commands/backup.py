"""Write a backup of the database into a file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from guanwecom.operations.backup import BackupError, back_up


class Command(BaseCommand):
    help = (
        "Write a backup of the database into a new file, while the product runs: a line with version, migrations and "
        "fingerprints of the encryption keys, then a dump of one moment (pg_dump, custom format). The keys themselves "
        "are not in it: keep .env in another place."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the new file; one that exists is not overwritten")
        parser.add_argument("--programs", metavar="FOLDER", help="where pg_dump is, if not in its usual place")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            description = back_up(options["file"], programs_folder=options["programs"])
        except BackupError as error:
            raise CommandError(str(error)) from error
        size = options["file"].stat().st_size
        words = {
            "file": options["file"],
            "bytes": f"{size:,}",
            "version": description.version,
            "at": description.made_at,
        }
        self.stdout.write(_("%(file)s: %(bytes)s bytes of version %(version)s, %(at)s.") % words)
        keys = ", ".join(description.keys) or "–"
        self.stdout.write(_("Keys that its secrets need (fingerprints): %(keys)s.") % {"keys": keys})
