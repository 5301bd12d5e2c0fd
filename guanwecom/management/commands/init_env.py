"""Write the first .env. The command `manage.py init_env` works without settings."""

from __future__ import annotations

import os
import re
import secrets
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from guanwecom import environment as e

ROOT = Path(__file__).resolve().parents[3]
# The database and Valkey of compose.yaml, by the names of their services.
COMPOSE = {"database": "postgresql://guanwecom:{}@postgres:5432/guanwecom", "valkey": "redis://:{}@valkey:6379/0"}
# The database and Valkey of one machine, as Debian's packages set them up.
LOCAL_DATABASE = "postgresql://guanwecom:@/guanwecom?host=/var/run/postgresql"
LOCAL_VALKEY = "redis://127.0.0.1:6379/0"
_LINE = re.compile(r"^#?(?P<name>[A-Z_]+)=.*$", re.MULTILINE)
# Characters that readers of .env files (ours, a shell, Docker Compose) interpret differently.
_AMBIGUOUS = re.compile(r"[\s\"'$`\\#]")


def parse_site(text: str) -> str:
    """Return scheme and host, such as https://bi.example.com. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"expected an address such as https://bi.example.com, without a path, not {text!r}")
    if not parts.netloc or "," in parts.netloc:
        raise ValueError(f"expected an address such as https://bi.example.com, not {text!r}")
    e.host(parts.netloc)  # raises ValueError if it is no host
    return f"{parts.scheme}://{parts.netloc}"


def make_address_parser(check: Callable[[str], object]) -> Callable[[str], str]:
    """Return a parser of addresses that `check` accepts, and that have no _AMBIGUOUS characters."""

    def parse(text: str) -> str:
        check(text)
        if match := _AMBIGUOUS.search(text):
            raise ValueError(f"percent-encode {match[0]!r} as %{ord(match[0]):02X} (the value is not shown)")
        return text

    return parse


# By option: parser, the question at a terminal if the option is missing, and the default for an empty answer.
QUESTIONS: dict[str, tuple[Callable[[str], str], object, str]] = {
    "site": (parse_site, gettext_lazy("Address of the site, such as https://bi.example.com"), ""),
    "database": (make_address_parser(e.database), "PostgreSQL", LOCAL_DATABASE),
    "valkey": (make_address_parser(e.check_valkey_address), "Valkey", LOCAL_VALKEY),
}


class Command(BaseCommand):
    help = (
        "Write a new .env with fresh keys and a comment for each setting; nobody but its owner can read it. "
        "Asks at a terminal for values that no option gives. An existing file is never changed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--file", default=ROOT / ".env", help="where to write; - prints it (default: %(default)s)")
        parser.add_argument(
            "--site", help="the address at which people open the product, such as https://bi.example.com"
        )
        parser.add_argument("--database", help=f"PostgreSQL (at a terminal by default {LOCAL_DATABASE})")
        parser.add_argument("--valkey", help=f"Valkey or Redis (at a terminal by default {LOCAL_VALKEY})")
        parser.add_argument(
            "--compose", action="store_true", help="use compose.yaml's PostgreSQL and Valkey, with new passwords"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["compose"] and (options["database"] or options["valkey"]):
            raise CommandError(_("--compose brings its own database and Valkey: leave out --database and --valkey."))
        path = None if options["file"] == "-" else Path(options["file"])
        if path and (path.is_symlink() or path.exists()):  # before the questions
            raise CommandError(_("%(path)s exists and is left as it is.") % {"path": path})
        names = ("site",) if options["compose"] else tuple(QUESTIONS)
        answers = {name: address.format(secrets.token_hex(24)) for name, address in COMPOSE.items()}
        answers |= {name: self._read_value(name, options[name]) for name in names}
        values = {
            "SECRET_KEY": secrets.token_urlsafe(50),
            "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "METRICS_TOKEN": secrets.token_urlsafe(32),
            "INSTALLATION_NAME": secrets.token_hex(4),
            "DATABASE_URL": answers["database"],
            "VALKEY_URL": answers["valkey"],
            "ALLOWED_HOSTS": urlsplit(answers["site"]).netloc,
            # The reverse proxy of the same machine; compose.yaml sets its own network instead.
            "TRUSTED_PROXIES": "127.0.0.1,::1",
        }
        text = _LINE.sub(
            lambda line: f"{line['name']}={values[line['name']]}" if line["name"] in values else line[0],
            (ROOT / ".env.example").read_text(encoding="utf-8"),
        )
        if path:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                sentence = _("%(path)s cannot be written: %(reason)s.")
                if isinstance(error, FileExistsError):
                    sentence = _("%(path)s exists and is left as it is.")
                raise CommandError(sentence % {"path": path, "reason": error.strerror}) from None
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            text = _(
                "%(path)s is written. Keep a copy in a safe place: without\nFIELD_ENCRYPTION_KEYS nobody can read the "
                "secrets in the database."
            )
            self.stdout.write(text % {"path": path})
        else:
            self.stdout.write(text, ending="")

    def _read_value(self, name: str, option: str | None) -> str:
        """Return the parsed option; if it is None, ask for the value at the terminal. Raises CommandError."""
        if option is None and not sys.stdin.isatty():
            text = _("--%(name)s is missing, and there is no terminal to ask at.")
            raise CommandError(text % {"name": name})
        parse, label, default = QUESTIONS[name]
        prompt = f"{label} [{default}]: " if default else f"{label}: "
        while True:
            try:
                return parse(option if option is not None else input(prompt).strip() or default)
            except ValueError as error:
                if option is not None:
                    raise CommandError(f"--{name}: {error}") from None
                self.stderr.write(str(error))
