"""Take mails of other systems by SMTP: `manage.py mail_door` (docs/en/mail-door.md)."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from notifications.inbound.mail.intake import build_door, serve_door
from notifications.tasks import enqueue_runs


class Command(BaseCommand):
    help = "Listen as a mail server, and make messages of the mails of inbound channels. Ends on SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = settings.MAIL_DOOR_LISTEN
        try:
            door = build_door(enqueue_runs)
        except OSError as error:
            text = f"MAIL_DOOR_CERTIFICATE or MAIL_DOOR_KEY cannot be used: {error.strerror or error}"
            raise CommandError(text) from None
        try:
            asyncio.run(serve_door(door, host, port, on_ready=self._say))
        except OSError as error:
            raise CommandError(f"MAIL_DOOR_LISTEN: cannot listen on {host}:{port}: {error.strerror}") from None

    def _say(self, port: int) -> None:
        self.stdout.write(f"The mail door listens on port {port}.")
        self.stdout.flush()
