"""Take mails of other systems by SMTP: `manage.py mail_door` (docs/en/mail-door.md)."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from notifications.inbound.mail.intake import serve_door
from notifications.tasks import enqueue_runs


class Command(BaseCommand):
    help = "Listen as a mail server, and make messages of the mails of inbound channels. Ends on SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = settings.MAIL_DOOR_LISTEN
        try:
            asyncio.run(serve_door(enqueue_runs, host, port, on_ready=self._say))
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"MAIL_DOOR_LISTEN: cannot listen on {host}:{port}: {error.strerror}") from None

    def _say(self, port: int) -> None:
        self.stdout.write(f"The mail door listens on port {port}.")
        self.stdout.flush()
