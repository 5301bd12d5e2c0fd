"""The support bundle: a zip file with versions, settings, errors and states. Secrets are left out or masked."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from importlib.metadata import distributions
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import redis
from django.conf import settings
from django.core import checks
from django.db import Error, connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count
from django.utils import timezone, translation

from guanwecom import environment
from guanwecom.operations import health, upgrade
from integrations.companies.diagnosis.checks import export_text
from integrations.core import installation
from integrations.core.redis import valkey
from integrations.models import CallbackEvent, CardData, Corp, Heartbeat, Installation, SyncRun
from integrations.models.fields import Unreadable, find_encrypted_columns
from notifications.delivery.attachments import CHARTS_QUEUE
from notifications.models import Attempt, Delivery, Run

ERRORS_AT_MOST = 200
# Names of variables whose values are secrets, except for scheme, host and port of addresses.
_SECRET_NAME = re.compile(r"SECRET|KEY|TOKEN|PASSWORD|DSN|URL|HEADERS|CREDENTIAL")
# In characters. Shorter values are no secrets, and masking them would damage other words.
_SHORTEST_SECRET = 6
MASK = "***"


def build_bundle() -> bytes:
    """Return the zip file. If the database fails, about.json has the reason, and its files are left out."""
    # All secrets, also passwords in addresses: first those of the settings, then those of the database.
    secrets = {settings.SECRET_KEY, settings.METRICS_TOKEN, settings.EMAIL_HOST_PASSWORD}
    secrets |= {*settings.FIELD_ENCRYPTION_KEYS, str(connection.settings_dict.get("PASSWORD") or "")}
    sentinels: dict[str, Any] = settings.VALKEY_OPTIONS.get("sentinel_kwargs", {})
    secrets |= {_extract_password(settings.VALKEY_URL), str(sentinels.get("password") or "")}
    failure = ""
    try:
        for model, names in find_encrypted_columns().items():
            if model is CallbackEvent:  # its rows are many, and deleted soon
                continue
            for row in model._base_manager.values_list(*names).iterator():
                texts = {value for value in row if value and not isinstance(value, Unreadable)}
                secrets |= texts | set(map(_extract_password, texts))
    except Error as error:
        failure = f"{type(error).__name__}: {error}"
    # No file has secrets on purpose, but answers of other systems may contain some.
    longest_first = sorted((secret for secret in secrets if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, translation.override("en"):
        now = timezone.now()
        parts = _describe_installation(now, failure)
        if not failure:  # the database's secrets are known, so they can be masked
            parts |= _describe_database(now)
        for name, text in parts.items():
            masked = text
            for secret in longest_first:
                for spelling in {secret, quote(secret, safe=""), json.dumps(secret, ensure_ascii=False)[1:-1]}:
                    masked = masked.replace(spelling, MASK)
            archive.writestr(name, masked)
    return file.getvalue()


def _write_json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"


def _describe_installation(now: datetime, failure: str) -> dict[str, str]:
    """Return versions and settings by file name. `failure`: the database's error. After one, nothing is queried."""
    row = installation.load_installation() if not failure else Installation()
    about = {
        "made_at": now.isoformat(timespec="seconds"),
        "guanwecom": settings.VERSION,
        "is_copy": None if failure else installation.belongs_to_copy(row),
        "highest_version": row.version,
        "backed_up_at": row.backed_up_at,
        "python": platform.python_version(),
        "system": platform.platform(),
        "database": failure or f"{connection.vendor} {'.'.join(map(str, connection.get_database_version()))}",
        "free_bytes_of_database": None if failure else upgrade.find_free_bytes(),
        "valkey": _ask_valkey(lambda: str(valkey().info("server").get("redis_version", ""))),
        "packages": {each.name: each.version for each in sorted(distributions(), key=lambda each: each.name.lower())},
    }
    variables = {}
    for name in sorted(environment.read_names):
        value = os.environ.get(name, "")
        if f"{name}_FILE" in os.environ:
            variables[name] = "(set by a file)"
        elif not value:
            variables[name] = "(not set)"
        elif not _SECRET_NAME.search(name):
            variables[name] = value
        else:
            address = ""
            with suppress(ValueError):  # no address
                parts = urlsplit(value)
                if parts.scheme and parts.hostname:
                    address = f" ({parts.scheme}://{parts.hostname}:{parts.port})"
            variables[name] = f"(set{address})"
    return {"about.json": _write_json(about), "settings.json": _write_json(variables)}


def _describe_database(now: datetime) -> dict[str, str]:
    """Return texts by file name: the engine's state and the last errors, with codes, times and ids, but without
    messages and answers of other systems."""
    heartbeats = Heartbeat.objects.order_by("kind", "name").values("kind", "name", "queues", "beat_at")
    queues = [*(queue.name for queue in settings.CELERY_TASK_QUEUES), CHARTS_QUEUE]
    failed_outcomes = [Attempt.Outcome.REFUSED, Attempt.Outcome.NOT_SENT, Attempt.Outcome.UNCLEAR]
    attempts = Attempt.objects.filter(outcome__in=failed_outcomes).order_by("-pk")
    runs = Run.objects.went_wrong().order_by("-pk").only("trigger", "slot_at", "status", "error")
    data = CardData.objects.filter(status=CardData.Status.FAILED).order_by("-pk")
    syncs = SyncRun.objects.filter(status="failed").order_by("-pk")
    parts = {
        "migrations.json": {
            "applied": sorted(map(".".join, MigrationRecorder(connection).applied_migrations())),
            "pending": sorted({step.migration for step in upgrade.make_plan().steps}),
        },
        "engine.json": health.describe_for_monitors(health.read_state()),
        "queues.json": {
            "waiting_tasks": {name: _ask_valkey(partial(valkey().llen, name)) for name in queues},
            "runs": dict(Run.objects.order_by().values_list("status").annotate(Count("pk"))),
            "deliveries": dict(Delivery.objects.unsettled().order_by().values_list("status").annotate(Count("pk"))),
        },
        "heartbeats.json": list(heartbeats),
        "errors.json": {
            "attempts": list(
                attempts.values("delivery_id", "number", "started_at", "outcome", "errcode", "duration_ms")[
                    :ERRORS_AT_MOST
                ]
            ),
            "runs": [
                {
                    "id": run.pk,
                    "trigger": run.trigger,
                    "slot_at": run.slot_at,
                    "status": run.status,
                    "error": run.error_text,
                }
                for run in runs[:ERRORS_AT_MOST]
            ],
            "card_data": list(
                data.values("card_id", "requested_at", "problem_code", "took_milliseconds")[:ERRORS_AT_MOST]
            ),
            "directory": list(syncs.values("pk", "corp_id", "requested_at", "status")[:ERRORS_AT_MOST]),
        },
        "checks.json": [f"{found.id}: {found.msg}" for found in checks.run_checks(databases=["default"])],
    }
    texts = {name: _write_json(content) for name, content in parts.items()}
    return texts | {
        f"diagnosis/{corp.pk}.txt": export_text(corp, now=now) + "\n" for corp in Corp.objects.order_by("pk")
    }


def _ask_valkey(ask: Callable[[], object]) -> object:
    """Return the answer of `ask`, or the name of the error if Valkey fails."""
    try:
        return ask()
    except redis.RedisError as error:
        return type(error).__name__


def _extract_password(address: str) -> str:
    try:
        return unquote(urlsplit(address).password or "")
    except ValueError:
        return ""
