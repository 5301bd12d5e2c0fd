"""Re-encrypt all stored secrets with the first key, so that the old keys can be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from integrations.core import key_rotation

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from django.db.models import Model

# At most so many passes, for rows that were locked or saved under another key. The last pass finds none.
SWEEPS = 5


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret with the first of FIELD_ENCRYPTION_KEYS. May be broken off and started again at "
        "any time, and runs beside the site. Afterwards --check says whether the other keys can go."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing, and fail if other keys are needed")

    def handle(self, *args: Any, **options: Any) -> None:
        moved_count, problems = 0, []
        for model, names in key_rotation.encrypted_columns().items():
            for _number in range(1 if options["check"] else SWEEPS):
                swept = self._sweep(model, names, writes=not options["check"])
                moved_count += swept.moved_count
                if swept.is_clean or swept.is_held:
                    break
            problems += _unreadable(model, swept)
            if options["check"] and swept.stale_count:
                text = _("%(model)s: %(count)d values need another key than the first")
                problems.append(text % {"model": model._meta.label, "count": swept.stale_count})
            elif not swept.is_clean:
                text = _(
                    "%(model)s: rows are still being written. If a process runs with the keys in another order, "
                    "restart it; then start this again."
                )
                problems.append(text % {"model": model._meta.label})
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
            self.stdout.write(text % {"count": moved_count})

    def _sweep(self, model: type[Model], names: list[str], *, writes: bool) -> key_rotation.Sweep:
        total = model._base_manager.count()

        def progress(done_count: int) -> None:
            text = _("%(model)s: %(done)d of %(total)d rows looked at")
            self.stdout.write(text % {"model": model._meta.label, "done": done_count, "total": total})
            self.stdout.flush()  # otherwise output to a file or pipe is delayed

        return key_rotation.sweep(model, names, writes=writes, progress=progress)


def _unreadable(model: type[Model], swept: key_rotation.Sweep) -> list[str]:
    """Name the row and column, not the value, which may be a secret under a key that still exists."""
    words = _("no key of FIELD_ENCRYPTION_KEYS opens it")
    return [f"{model._meta.label} {key}, {name}: {words}" for key, name in swept.unreadable]
