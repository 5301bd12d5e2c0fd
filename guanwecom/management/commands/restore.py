"""Restore a backup of the database from a file."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from guanwecom.operations.backup import BackupError, restore


class Command(BaseCommand):
    help = (
        "Restore a file of `guanwecom backup` into the database that DATABASE_URL names, which must be empty unless "
        "--replace is given. It is then a copy, from which nothing is sent until guanwecom installation --confirm."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--check", action="store_true", help="show whether it can be restored, and change nothing")
        parser.add_argument("--replace", action="store_true", help="delete and replace what is in the database now")
        parser.add_argument(
            "--without-keys", action="store_true", help="restore although keys are missing, so secrets are unreadable"
        )
        parser.add_argument("--programs", metavar="FOLDER", help="where pg_restore is, if not in its usual place")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with _interrupt_on_sigterm():
                description = restore(
                    options["file"],
                    is_dry_run=options["check"],
                    replaces=options["replace"],
                    without_keys=options["without_keys"],
                    programs_folder=options["programs"],
                )
        except BackupError as error:
            raise CommandError(str(error)) from error
        words = {"at": description.made_at, "version": description.version}
        if options["check"]:
            self.stdout.write(_("The backup of %(at)s, version %(version)s, can be restored.") % words)
            return
        self.stdout.write(_("Restored: the database of %(at)s, version %(version)s.") % words)
        for key in description.missing_keys:
            self.stdout.write(_("Enter the secrets again that only the key %(key)s can decrypt.") % {"key": key})
        self.stdout.write(
            _(
                "It is a copy: nothing is sent from it. If it is the real installation now, run: guanwecom upgrade, "
                "then guanwecom installation --confirm"
            )
        )


@contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Treat a service manager's SIGTERM like Ctrl-C, so that an interrupted restore puts the former database back."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
