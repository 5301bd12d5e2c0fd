"""System checks of the push engine's settings. `manage.py check` runs them."""

from __future__ import annotations

from typing import Any

import redis
from django.core import checks

from integrations.core.redis import valkey


@checks.register(checks.Tags.database)
def valkey_keeps_all_or_nothing(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Asks the server, so `manage.py migrate` and `manage.py check --database default` run it."""
    try:
        found = _valkey_settings()
    except redis.RedisError:  # that it is away shows elsewhere
        return []
    messages: list[checks.CheckMessage] = []
    if found["maxmemory-policy"] != "noeviction":
        messages.append(
            checks.Warning(
                f"Valkey evicts keys (maxmemory-policy {found['maxmemory-policy']}).",
                hint="Calls would be counted too low and tasks lost, unnoticed. Set maxmemory-policy noeviction.",
                id="notifications.W001",
            )
        )
    if found["save"] and found["appendonly"] != "yes":
        messages.append(
            checks.Warning(
                "Valkey keeps snapshots and no log: after a crash it comes back old.",
                hint='Sign-ins, sessions and tasks of minutes before would come back. Set appendonly yes, or save "".',
                id="notifications.W002",
            )
        )
    return messages


def _valkey_settings() -> dict[str, str]:
    """Where CONFIG is not allowed, as with services that are rented, `save` is unknown and empty."""
    store = valkey()
    try:
        answer: dict[bytes, bytes] = store.config_get("maxmemory-policy", "save", "appendonly")  # type: ignore[assignment]
        return {_text(name): _text(value) for name, value in answer.items()}
    except redis.ResponseError:
        policy = str(store.info("memory")["maxmemory_policy"])
        return {"maxmemory-policy": policy, "save": "", "appendonly": "no"}


def _text(word: bytes | str) -> str:
    return word.decode() if isinstance(word, bytes) else word
