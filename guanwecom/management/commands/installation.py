"""Show whether this database is the installation or a copy, and change that."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from guanwecom.operations import installation as marking
from integrations.core import installation


class Command(BaseCommand):
    help = (
        "Show whether this database is the real installation, or a copy from which nothing is sent. "
        "Exit code 0: the real one; 3: a copy."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        change = parser.add_mutually_exclusive_group()
        change.add_argument(
            "--confirm",
            action="store_true",
            help="mark it as the real one: pushes, alerts and sign-ins begin; waiting runs are ended, not sent late",
        )
        change.add_argument("--hold", action="store_true", help="mark it as a copy: nothing is sent from now on")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["confirm"]:
            self._confirm()
        elif options["hold"]:
            is_changed = marking.mark_as_copy()
            self.stdout.write(_("It is a copy now: nothing is sent.") if is_changed else _("It was a copy already."))
        else:
            self._show()

    def _confirm(self) -> None:
        count = marking.mark_as_installation()
        if count is None:
            self.stdout.write(_("It was the real installation already. Nothing was changed."))
        else:
            text = _("This is the real installation now. %(count)d runs that had waited were ended.")
            self.stdout.write(text % {"count": count})

    def _show(self) -> None:
        if installation.belongs_to_copy(installation.load_installation()):
            self.stdout.write(
                _(
                    "This database is a copy of an installation: nothing is sent from it, and nobody signs in with "
                    "WeCom. If it is the real one now, stop the original and say so: guanwecom installation --confirm"
                )
            )
            raise SystemExit(3)
        name = f" (INSTALLATION_NAME={settings.INSTALLATION_NAME})" if settings.INSTALLATION_NAME else ""
        self.stdout.write(_("This database is the real installation%(name)s.") % {"name": name})
