"""Write the first .env: `manage.py init_env`. It runs before there are settings."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from guanwecom.operations import env_file

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Question:
    """What must be given: as the option --NAME, else at a terminal, where an empty answer stands for the default."""

    name: str
    parse: Callable[[str], str]
    words: object
    default: str = ""


SITE = Question("site", env_file.site_address, gettext_lazy("Address of the site, such as https://bi.example.com"))
DATABASE = Question("database", env_file.database_url, "PostgreSQL", env_file.LOCAL_DATABASE)
VALKEY = Question("valkey", env_file.valkey_url, "Valkey", env_file.LOCAL_VALKEY)


class Command(BaseCommand):
    help = (
        "Write a new .env with fresh keys and a comment for each setting; nobody but its owner can read it. "
        "Asks at a terminal for what no option gives. A file that exists is never changed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--file", default=ROOT / ".env", help="where to write; - prints it (default: %(default)s)")
        parser.add_argument(
            "--site", help="the address at which people open the product, such as https://bi.example.com"
        )
        parser.add_argument("--database", help=f"PostgreSQL (at a terminal by default {env_file.LOCAL_DATABASE})")
        parser.add_argument("--valkey", help=f"Valkey or Redis (at a terminal by default {env_file.LOCAL_VALKEY})")
        parser.add_argument(
            "--compose", action="store_true", help="use compose.yaml's PostgreSQL and Valkey, with new passwords"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["compose"] and (options["database"] or options["valkey"]):
            raise CommandError(_("--compose brings its own database and Valkey: leave out --database and --valkey."))
        path = None if options["file"] == "-" else Path(options["file"])
        if path:
            _refuse_existing(path)
        asked = (SITE,) if options["compose"] else (SITE, DATABASE, VALKEY)
        answers = {question.name: self._answer(question, options[question.name]) for question in asked}
        chosen = env_file.for_compose(**answers) if options["compose"] else env_file.Installation(**answers)
        text = env_file.render((ROOT / ".env.example").read_text(encoding="utf-8"), chosen)
        if path:
            _write(path, text)
            text = _(
                "%(path)s is written. Keep a copy in a safe place: without\nFIELD_ENCRYPTION_KEYS nobody can read the "
                "secrets in the database."
            )
            self.stdout.write(text % {"path": path})
        else:
            self.stdout.write(text, ending="")

    def _answer(self, question: Question, given: str | None) -> str:
        if given is None and not sys.stdin.isatty():
            text = _("--%(name)s is missing, and there is no terminal to ask at.")
            raise CommandError(text % {"name": question.name})
        while True:
            try:
                return question.parse(given if given is not None else _asked(question))
            except ValueError as error:
                if given is not None:
                    raise CommandError(f"--{question.name}: {error}") from None
                self.stderr.write(str(error))


def _asked(question: Question) -> str:
    shown = f" [{question.default}]" if question.default else ""
    return input(f"{question.words}{shown}: ").strip() or question.default


def _refuse_existing(path: Path) -> None:
    if path.is_symlink() or path.exists():
        raise CommandError(_("%(path)s exists and is left as it is.") % {"path": path})


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _refuse_existing(path)
    except OSError as error:
        text = _("%(path)s cannot be written: %(reason)s.")
        raise CommandError(text % {"path": path, "reason": error.strerror}) from None
    else:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
