"""Switches sign-in with a password on or off: the emergency exit if nobody can sign in with WeCom."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from accounts.authentication import passwords


class Command(BaseCommand):
    help = "Switch sign-in with a password on (the emergency exit) or off."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("state", choices=["on", "off"])

    def handle(self, *_arguments: Any, state: str, **_options: Any) -> None:
        try:
            passwords.set_password_enabled(is_enabled=state == "on")
        except ValidationError as refusal:
            raise CommandError(refusal.message) from refusal
        is_on = state == "on"
        self.stdout.write(_("Sign-in with a password is on.") if is_on else _("Sign-in with a password is off."))
