"""Write a support bundle into a file."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from guanwecom.operations.support_bundle import build_bundle


class Command(BaseCommand):
    help = (
        "Write a new zip file for support: versions, settings, diagnosis of each company, the last errors, migrations, "
        "queues and heartbeats; no secrets, messages or people of the directory. Look through it before you send it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the new file, such as support.zip")

    def handle(self, *args: Any, **options: Any) -> None:
        path, content = options["file"], build_bundle()
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)
        except OSError as error:
            text = _("%(path)s cannot be written: %(reason)s")
            raise CommandError(text % {"path": path, "reason": error.strerror}) from error
        self.stdout.write(_("%(path)s: %(bytes)s bytes.") % {"path": path, "bytes": f"{len(content):,}"})
