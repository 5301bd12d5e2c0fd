"""Deletes audit entries that are older than settings.AUDIT_RETENTION_DAYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import services


class Command(BaseCommand):
    help = "Delete the entries of the audit trail that are older than AUDIT_RETENTION_DAYS."

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        self.stdout.write(_("%(count)d entries removed.") % {"count": services.purge_entries(now=timezone.now())})
