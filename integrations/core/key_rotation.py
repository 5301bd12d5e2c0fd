"""Re-encryption of every stored secret with the first key.

Nothing is stored between two runs: decrypting shows which values already use the first key, so a killed run is simply
started again. A row is written only if it still holds the value that was read, so no concurrent save is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Model, TextField, Value
from django.db.models.functions import Cast

from integrations.models.fields import EncryptedTextField, cipher

STEP = 200
# How long to wait for a row that another transaction has locked. After one time-out no other row is waited for.
HELD_MILLISECONDS = 10_000
_LOCK_NOT_AVAILABLE = "55P03"
_RAW = "raw_"


@dataclass(slots=True)
class Sweep:
    """The result of one pass over a model's rows. `stale_count`: values under another key than the first that were
    not moved. `is_held`: True if another transaction kept a row locked. `unreadable`: the row keys and columns that no
    key decrypts."""

    moved_count: int = 0
    stale_count: int = 0
    is_held: bool = False
    unreadable: list[tuple[Any, str]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """True if all readable values were already under the first key."""
        return not (self.moved_count or self.stale_count)


def encrypted_columns() -> dict[type[Model], list[str]]:
    """Return the encrypted columns of every model of every app."""
    found = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy or not model._meta.managed:
            continue
        names = [column.name for column in model._meta.local_concrete_fields if isinstance(column, EncryptedTextField)]
        if names:
            found[model] = names
    return found


def sweep(model: type[Model], names: list[str], *, writes: bool, progress: Callable[[int], None]) -> Sweep:
    """Go through all rows; `progress` gets the number of finished rows. Without `writes`, only count."""
    result, done_count = Sweep(), 0
    # Raw values, because rotating a key needs no secret in clear text.
    raw = {_RAW + name: Cast(name, TextField()) for name in names}
    rows = model._base_manager.annotate(**raw).order_by("pk")
    left = rows
    while step := list(left.values_list("pk", *raw)[:STEP]):
        for key, *tokens in step:
            stale = {}
            for name, token in zip(names, tokens, strict=True):
                try:
                    if token and not _is_under_first_key(token):
                        stale[name] = (token, cipher().rotate(token.encode()).decode())
                except InvalidToken:
                    result.unreadable.append((key, name))
            if stale and writes and _write(result, model, key, raw, stale):
                result.moved_count += len(stale)
            else:
                result.stale_count += len(stale)
        done_count += len(step)
        progress(done_count)
        left = rows.filter(pk__gt=step[-1][0])
    return result


def _write(
    result: Sweep, model: type[Model], key: Any, raw: dict[str, Cast], stale: dict[str, tuple[str, str]]
) -> bool:
    """Write the new tokens unless somebody saved meanwhile, which a later sweep finds, or locks the row for long.
    Return whether they were written."""
    unchanged = {_RAW + name: old for name, (old, _new) in stale.items()}
    values = {name: Value(new, output_field=TextField()) for name, (_old, new) in stale.items()}
    rows = model._base_manager.annotate(**raw).filter(pk=key, **unchanged)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{1 if result.is_held else HELD_MILLISECONDS}ms'")
            return bool(rows.update(**values))
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        result.is_held = True
        return False


def _is_under_first_key(token: str) -> bool:
    try:
        Fernet(settings.FIELD_ENCRYPTION_KEYS[0]).decrypt(token.encode())
    except InvalidToken:
        return False
    return True
