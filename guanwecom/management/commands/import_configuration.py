"""Compare a configuration with what is there, and write it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import translation

from guanwecom.operations.configuration.load import UnreadableError, load
from guanwecom.operations.configuration.rows import Change, Item

if TYPE_CHECKING:
    from argparse import ArgumentParser

VALUE_CHARACTERS = 60


class Command(BaseCommand):
    help = (
        "Write a file of `manage.py export_configuration`: new rows are made, others changed, none deleted. All of it "
        "or nothing: conflicts are listed, and nothing is written. Companies and inbound channels that are new stay "
        "switched off until somebody has entered their secrets, which are listed at the end."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="say what would be changed, and change nothing")
        parser.add_argument(
            "--leave-out-people",
            action="store_true",
            help="leave out people and departments that are not there, and rows that need them, instead of refusing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry = options["dry_run"]
        try:
            text = options["file"].read_text(encoding="utf-8")
            with translation.override("en"):
                result = load(text, writes=not is_dry, leaves_out_people=options["leave_out_people"])
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(
                f"{options['file']} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
        except UnreadableError as error:
            raise CommandError(str(error)) from error
        for item in result.changed:
            self._say(item)
        self._list("Left out, because they are not there", result.left_out)
        if result.problems:
            raise CommandError("\n".join(["Conflicts; nothing was changed:", *(f"  {one}" for one in result.problems)]))
        self._list("Enter by hand, if they are used", result.to_enter)
        count = len(result.changed)
        self.stdout.write(f"{count} rows {'would be' if is_dry else 'were'} written; the others are as in the file.")

    def _say(self, item: Item) -> None:
        self.stdout.write(f"{item.section}: {item.name} ({item.change.value})")
        for name, before, after in item.fields if item.change is Change.CHANGED else ():
            self.stdout.write(f"  {name}: {_short(before)} → {_short(after)}")

    def _list(self, head: str, lines: list[str]) -> None:
        if lines:
            self.stdout.write(f"{head}:")
        for line in lines:
            self.stdout.write(f"  {line}")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"
