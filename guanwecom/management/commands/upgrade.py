"""Upgrade the database and the static files to this version, or show what that would do."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils.translation import gettext as _

from guanwecom.operations import upgrade
from guanwecom.operations.upgrade import BlockedUse, RowWork, TableLock, UpgradePlan
from integrations.core import heartbeats, installation
from integrations.models import Installation

# Key of the advisory lock of PostgreSQL under which an upgrade runs, one at a time.
_UPGRADE_LOCK = 1_196_770_628
_POLL_SECONDS = 0.2


class Command(BaseCommand):
    help = (
        "Bring the database up to this version: check, migrate, collect the static files, and say what to restart. "
        "With --check change nothing. Exit code 0: the upgrade is done, or possible with --check; 1: it is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="show what would be done, and change nothing")
        parser.add_argument("--no-static", action="store_true", help="do not collect the static files")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._show_plan()
            return
        if upgrade.is_pooled():
            raise CommandError(upgrade.POOLED)
        _wait_for_other_upgrade()
        plan = self._show_plan()
        if plan.former_version:
            try:
                upgrade.apply_migrations(self.stdout.write)
            except upgrade.TablesInUseError as error:
                raise CommandError(str(error)) from None
        # Creates the tables of a new database, and the permissions and content types that Django adds after migrations.
        call_command("migrate", interactive=False, verbosity=0)
        # Another build of the same version is recorded; an older version is not.
        if installation.parse_version(installation.load_installation().version) <= installation.parse_version(
            settings.VERSION
        ):
            Installation.objects.update(version=settings.VERSION)
        folder = Path(settings.STATIC_ROOT)
        # In an image, and with deploy/install.sh, they are there already, in a folder that this user may only read.
        is_writable = os.access(folder if folder.exists() else folder.parent, os.W_OK)
        if settings.ENVIRONMENT == "production" and is_writable and not options["no_static"]:
            call_command("collectstatic", interactive=False, verbosity=0)
            self.stdout.write(_("Static files: %(folder)s") % {"folder": settings.STATIC_ROOT})
        running = heartbeats.find_living_processes().values_list("kind", "name")
        counts = Counter((name.partition(":")[0], kind) for kind, name in running)
        if not counts:
            self.stdout.write(_("Done. No process runs; start web, workers and beat."))
            return
        self.stdout.write(_("Done. Restart what still runs the former version, workers and beat first:"))
        for (host, kind), count in sorted(counts.items()):
            self.stdout.write(f"  {host}: {kind} ({count})")

    def _show_plan(self) -> UpgradePlan:
        """Print the plan. Raises CommandError with the plan's refusals, if it has any."""
        plan = upgrade.make_plan()
        former = plan.former_version or _("a new database")
        self.stdout.write(_("From %(former)s to %(present)s.") % {"former": former, "present": settings.VERSION})
        if not plan.steps:
            self.stdout.write(_("No migration is pending."))
        for step in plan.steps:
            lines = [*step.operations, *map(_describe_lock, step.locks)]
            if step.runs_code:
                lines.append(_("runs code of its own; the release notes say for how long"))
            elif not step.locks:
                lines.append(_("locks nothing"))
            self.stdout.write("\n".join([f"{step.migration}:", *(f"  {line}" for line in lines)]))
        for warning in plan.warnings:
            self.stdout.write(_("Note: %(warning)s") % {"warning": warning})
        if plan.refusals:
            raise CommandError("\n".join(plan.refusals))
        return plan


def _describe_lock(lock: TableLock) -> str:
    blocks = {
        BlockedUse.NOTHING: _("blocks nothing"),
        BlockedUse.WRITING: _("blocks writing"),
        BlockedUse.EVERYTHING: _("blocks reading and writing"),
    }
    works = {
        RowWork.NONE: _("no row is touched"),
        RowWork.READ: _("reads %(rows)s rows"),
        RowWork.INDEX: _("indexes %(rows)s rows"),
        RowWork.REWRITE: _("rewrites %(rows)s rows"),
    }
    length = _("a moment") if lock.seconds < 1 else _("about %(seconds)s s") % {"seconds": f"{lock.seconds:,.0f}"}
    work = works[lock.work] % {"rows": f"{lock.row_count:,}"}
    facts = {"table": lock.table, "blocks": blocks[lock.blocks], "length": length, "work": work}
    return _("%(table)s: %(blocks)s for %(length)s (%(work)s)") % facts


def _wait_for_other_upgrade() -> None:
    """Take the lock of the upgrade. It is polled: an index that the other upgrade makes concurrently waits for every
    running statement, so a statement that waited for the lock would never end."""
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_UPGRADE_LOCK])
            if cursor.fetchone() == (True,):
                return
            time.sleep(_POLL_SECONDS)
