"""Write the configuration as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from guanwecom.operations.configuration.export import export

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Write the configuration as YAML, to a file or to the output: companies, attributes, data sources, cards, "
        "reports, pushes, alerts, inbound channels. It holds no secret, no rights and nothing about people but names."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, help="empty: the output")

    def handle(self, *args: Any, **options: Any) -> None:
        text, path = export(), options["file"]
        if path is None:
            self.stdout.write(text, ending="")
            return
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
        self.stdout.write(f"{path}: {len(text.encode()):,} bytes.")
