"""Removes the authenticator app of a person who has lost it together with the recovery codes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from accounts.authentication import totp
from accounts.models import User


class Command(BaseCommand):
    help = "Remove the authenticator app of somebody who has lost it. The audit trail records the removal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *_arguments: Any, username: str, **_options: Any) -> None:
        person = User.objects.filter(username=username).first()
        if person is None:
            raise CommandError(_("Nobody has the username %(username)s.") % {"username": username})
        if not totp.remove_device(person):
            raise CommandError(_("%(username)s has no authenticator app.") % {"username": username})
        self.stdout.write(_("%(username)s signs in without a code now.") % {"username": username})
