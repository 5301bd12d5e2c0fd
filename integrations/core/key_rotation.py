"""Re-encrypts every stored secret with the first key.

Nothing is remembered between two runs: what is under the first key already is recognised by opening it, so a run
that was killed is simply started again. Each step locks the rows that it writes: nobody's saving gets lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
# PostgreSQL's lock_not_available and deadlock_detected.
_HELD = {"55P03", "40P01"}
_RAW = "raw_"


@dataclass(slots=True)
class Sweep:
    """What one way through the rows of a model found. `busy_count`: rows that others held for long, of the `held_count`
    that they held. `unreadable`: keys and columns that no key opens."""

    moved_count: int = 0
    stale_count: int = 0
    busy_count: int = 0
    held_count: int = 0
    unreadable: list[tuple[Any, str]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether all that can be read is known to be under the first key, and was so when it was looked at."""
        return not (self.moved_count or self.stale_count or self.busy_count)


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
    """Go through all rows in steps, each a transaction; `progress` gets how many are done. Without `writes` count only.

    Rows that another transaction holds come last, each by itself. One that is held for long is passed over and counted:
    a later sweep finds it.
    """
    result, done_count = Sweep(), 0
    for keys in _steps(model):
        with transaction.atomic():
            held = _step(model, names, keys, result, writes=writes)
        result.held_count += len(held)
        result.busy_count += _wait_for_each(model, names, held, result)
        done_count += len(keys)
        progress(done_count)
    return result


def _steps(model: type[Model]) -> Iterator[list[Any]]:
    rows = model._base_manager.order_by("pk")
    keys = list(rows.values_list("pk", flat=True)[:STEP])
    while keys:
        yield keys
        keys = list(rows.filter(pk__gt=keys[-1]).values_list("pk", flat=True)[:STEP])


def _wait_for_each(model: type[Model], names: list[str], keys: list[Any], result: Sweep) -> int:
    """Look at rows that others hold as soon as they let go of them. Returns how many were not looked at: after one that
    is held for long none is waited for in this sweep.

    No other row is held meanwhile, so that nobody waits for us who is waited for.
    """
    if result.busy_count:
        return len(keys)
    busy_count = 0
    for number, key in enumerate(keys):
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{HELD_MILLISECONDS}ms'")
                busy_count += len(_step(model, names, [key], result, writes=True, waits=True))
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in _HELD:
                raise
            return busy_count + len(keys) - number
    return busy_count


def _step(
    model: type[Model], names: list[str], keys: list[Any], result: Sweep, *, writes: bool, waits: bool = False
) -> list[Any]:
    """Returns the keys of rows that others hold. With `waits` they are waited for; one that was deleted and made anew
    meanwhile is none that was looked at."""
    raw = {_RAW + name: Cast(name, TextField()) for name in names}
    rows = model._base_manager.filter(pk__in=keys)
    if writes:  # not the key: whoever only refers to a row does not hold it
        rows = rows.select_for_update(skip_locked=not waits, no_key=True, of=("self",))
    # Not the fields themselves, which would be decrypted: changing the key needs no secret in the clear.
    stored = list(rows.order_by("pk").annotate(**raw).values_list("pk", *raw))
    for key, *tokens in stored:
        changes = {}
        for name, token in zip(names, tokens, strict=True):
            try:
                if token and not _is_under_first_key(token):
                    changes[name] = cipher().rotate(token.encode()).decode()
            except InvalidToken:
                result.unreadable.append((key, name))
        if changes and writes:
            values = {name: Value(token, output_field=TextField()) for name, token in changes.items()}
            model._base_manager.filter(pk=key).update(**values)
            result.moved_count += len(changes)
        else:
            result.stale_count += len(changes)
    if not writes or len(stored) == len(keys):
        return []
    seen = {row[0] for row in stored}
    return [key for key in model._base_manager.filter(pk__in=keys).values_list("pk", flat=True) if key not in seen]


def _is_under_first_key(token: str) -> bool:
    try:
        Fernet(settings.FIELD_ENCRYPTION_KEYS[0]).decrypt(token.encode())
    except InvalidToken:
        return False
    return True
