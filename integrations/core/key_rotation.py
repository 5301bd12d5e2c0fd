"""Re-encryption of every stored secret with the first key.

A killed run is simply started again: it skips the values that are encrypted with the first key already.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import transaction
from django.db.models import Model, TextField, Value
from django.db.models.functions import Cast

from integrations.models.fields import get_cipher

STEP = 200  # rows per transaction


def reencrypt_rows(
    model: type[Model], names: list[str], *, writes: bool, progress: Callable[[int], None]
) -> tuple[int, list[tuple[Any, str]]]:
    """Go through the encrypted columns `names` of all rows. Return how many values are encrypted with another key than
    the first, and the primary key and column of each value that no key decrypts. `writes`: encrypt the former with the
    first key, except in rows that other transactions have locked. `progress` gets the number of finished rows."""
    first_key, every_key = Fernet(settings.FIELD_ENCRYPTION_KEYS[0]), get_cipher()
    # Cast, so that the encrypted fields return their ciphertexts instead of decrypting them.
    raw = {f"raw_{name}": Cast(name, TextField()) for name in names}
    rows = model._base_manager.annotate(**raw).order_by("pk")
    remaining = rows = rows.select_for_update(skip_locked=True, no_key=True) if writes else rows
    unreadable: list[tuple[Any, str]] = []
    count = done_count = 0
    while True:
        with transaction.atomic():
            step = list(remaining.values_list("pk", *raw)[:STEP])
            for key, *tokens in step:
                rotated_values = {}
                for name, token in zip(names, tokens, strict=True):
                    if not token:
                        continue
                    with suppress(InvalidToken):
                        first_key.decrypt(token.encode())
                        continue  # it is encrypted with the first key already
                    try:
                        rotated = every_key.rotate(token.encode()).decode()
                        rotated_values[name] = Value(rotated, output_field=TextField())
                    except InvalidToken:
                        unreadable.append((key, name))
                count += len(rotated_values)
                if writes and rotated_values:
                    model._base_manager.filter(pk=key).update(**rotated_values)
        if not step:
            return count, unreadable
        done_count, remaining = done_count + len(step), rows.filter(pk__gt=step[-1][0])
        progress(done_count)
