"""Re-encrypt all stored secrets with the first key, so that the old keys can be removed."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model
from django.utils.translation import gettext as _

from integrations.core import key_rotation
from integrations.models.fields import find_encrypted_columns

# Passes over the rows, and the pause between two: other processes may lock a row, or save it with an old key.
TRIES, PAUSE_SECONDS = 5, 2.0


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret with the first of FIELD_ENCRYPTION_KEYS. May be broken off and started again at "
        "any time, and runs beside the site. Afterwards --check says whether the other keys can go."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing, and fail if other keys are needed")

    def handle(self, *args: Any, **options: Any) -> None:
        rotated_count, problems = 0, []
        for model, names in find_encrypted_columns().items():
            stale_count, unreadable = self._sweep(model, names, writes=False)
            for number in range(0 if options["check"] else TRIES):
                if not stale_count:
                    break
                time.sleep(PAUSE_SECONDS if number else 0)
                rotated_count += self._sweep(model, names, writes=True)[0]
                stale_count, unreadable = self._sweep(model, names, writes=False)
            problems += unreadable
            if stale_count:
                text = _(
                    "%(model)s: rows are still being written. If a process runs with the keys in another order, "
                    "restart it; then start this again."
                )
                if options["check"]:
                    text = _("%(model)s: %(count)d values need another key than the first")
                problems.append(text % {"model": model._meta.label, "count": stale_count})
        if problems:
            raise CommandError("\n".join(problems))
        if options["check"]:
            self.stdout.write(_("Everything is under the first key: the others can go."))
        else:
            # Uncommitted rows are invisible: a process with the old key may still save a row.
            text = _(
                "%(count)d values newly encrypted. Once every process with the keys in another order has ended, "
                "--check says whether the other keys can go."
            )
            self.stdout.write(text % {"count": rotated_count})

    def _sweep(self, model: type[Model], names: list[str], *, writes: bool) -> tuple[int, list[str]]:
        total, label = model._base_manager.count(), model._meta.label

        def progress(done_count: int) -> None:
            text = _("%(model)s: %(done)d of %(total)d rows looked at")
            self.stdout.write(text % {"model": label, "done": done_count, "total": total})
            self.stdout.flush()  # otherwise output to a file or pipe is delayed

        count, unreadable = key_rotation.reencrypt_rows(model, names, writes=writes, progress=progress)
        # Do not print the value: it may be a secret, encrypted with a key that still exists somewhere.
        words = _("no key of FIELD_ENCRYPTION_KEYS opens it")
        return count, [f"{label} {key}, {name}: {words}" for key, name in unreadable]
