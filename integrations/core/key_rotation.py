"""Re-encrypts every stored secret with the first key.

Nothing is remembered between two runs: what is under the first key already is recognised by opening it, so a run
that was killed is simply started again. A row is written only while it holds what was read: nobody's saving gets lost.
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
# So long a row is waited for that another transaction holds.
HELD_MILLISECONDS = 2000
_LOCK_NOT_AVAILABLE = "55P03"
_RAW = "raw_"


@dataclass(slots=True)
class Sweep:
    """What one way through the rows of a model found. `stale_count`: values under another key than the first that were
    not moved. `unreadable`: keys and columns that no key opens."""

    moved_count: int = 0
    stale_count: int = 0
    unreadable: list[tuple[Any, str]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether all that can be read was under the first key when it was looked at."""
        return not (self.moved_count or self.stale_count)


def encrypted_columns() -> dict[type[Model], list[str]]:
    """The encrypted columns of every model of every app: new ones are found by themselves."""
    found = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy or not model._meta.managed:
            continue
        names = [column.name for column in model._meta.local_concrete_fields if isinstance(column, EncryptedTextField)]
        if names:
            found[model] = names
    return found


def sweep(model: type[Model], names: list[str], *, writes: bool, progress: Callable[[int], None]) -> Sweep:
    """Go through all rows; `progress` gets how many are done. Without `writes` count only."""
    result, done_count = Sweep(), 0
    # Not the fields themselves, which would be decrypted: changing the key needs no secret in the clear.
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
            if stale and writes and _write(model, key, raw, stale):
                result.moved_count += len(stale)
            else:
                result.stale_count += len(stale)
        done_count += len(step)
        progress(done_count)
        left = rows.filter(pk__gt=step[-1][0])
    return result


def _write(model: type[Model], key: Any, raw: dict[str, Cast], stale: dict[str, tuple[str, str]]) -> bool:
    """Return whether the new tokens were written: not over what somebody saved meanwhile, and not while somebody holds
    the row for long. A later sweep finds it."""
    unchanged = {_RAW + name: old for name, (old, _new) in stale.items()}
    values = {name: Value(new, output_field=TextField()) for name, (_old, new) in stale.items()}
    rows = model._base_manager.annotate(**raw).filter(pk=key, **unchanged)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{HELD_MILLISECONDS}ms'")
            return bool(rows.update(**values))
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return False


def _is_under_first_key(token: str) -> bool:
    try:
        Fernet(settings.FIELD_ENCRYPTION_KEYS[0]).decrypt(token.encode())
    except InvalidToken:
        return False
    return True
