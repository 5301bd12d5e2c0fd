"""The way back in for an administrator who has lost the authenticator app and the recovery codes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.authentication import totp
from accounts.models import User


class Command(BaseCommand):
    help = "Remove the authenticator app of somebody who has lost it. The audit trail says so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *_arguments: Any, username: str, **_options: Any) -> None:
        person = User.objects.filter(username=username).first()
        if person is None:
            raise CommandError(f"There is no user {username}.")
        if not totp.remove(person):
            raise CommandError(f"{username} has no authenticator app.")
        self.stdout.write(f"{username} signs in without a code now.")
