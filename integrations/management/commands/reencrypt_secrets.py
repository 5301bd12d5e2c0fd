"""Encrypt every stored secret anew with the first key, so that the old ones can be dropped."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import models, transaction

from integrations.fields import EncryptedTextField


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret with the first of FIELD_ENCRYPTION_KEYS. Afterwards the other keys can go. "
        "Safe to repeat, and while the site runs."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count = sum(_reencrypted(model) for model in apps.get_models())
        self.stdout.write(f"{count} rows")


def _reencrypted(model: type[models.Model]) -> int:
    """The number of rows of `model` that hold secrets, each written anew in a transaction of its own."""
    names = [field.name for field in model._meta.concrete_fields if isinstance(field, EncryptedTextField)]
    if not names:
        return 0
    rows = model._base_manager.all()
    keys = list(rows.values_list("pk", flat=True))
    for key in keys:
        with transaction.atomic():
            # Locked, so that a secret saved at this moment is not overwritten by the one before it.
            row = rows.select_for_update().only("pk", *names).filter(pk=key).first()
            if row is not None:
                row.save(update_fields=names)
    return len(keys)
