"""Ends the lock of a username after wrong passwords."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _

from accounts.authentication import passwords


class Command(BaseCommand):
    help = "Forget the wrong passwords for a username, so that its person can sign in again at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *_arguments: Any, username: str, **_options: Any) -> None:
        text = _("%(count)d wrong passwords for %(username)s are forgotten.")
        self.stdout.write(text % {"count": passwords.unlock(username=username), "username": username})
