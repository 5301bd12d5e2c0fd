"""What a backup says of itself: version, migrations, by which keys its secrets are encrypted, checksum."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.translation import gettext as _

from guanwecom.operations.backup.errors import BackupError
from integrations.core.key_rotation import encrypted_columns
from integrations.models import CallbackEvent

FORMAT = 1
# Rows of events and of what came in last are many, and pass.
_PASSING = {CallbackEvent}
UNREADABLE = "none"
_FINGERPRINT = b"guanwecom backup: fingerprint of a key"


def fingerprint(key: str) -> str:
    """Names a key and says nothing of it."""
    return hmac.new(key.encode(), _FINGERPRINT, hashlib.sha256).hexdigest()[:16]


@dataclass(frozen=True)
class Manifest:
    """`migrations`: names by app. `secrets`: by model and key (its fingerprint, or UNREADABLE), how many values it
    encrypts. `sha256`, `bytes`: of the dump."""

    version: str
    made_at: str
    server_version: str
    migrations: dict[str, list[str]]
    secrets: dict[str, dict[str, int]]
    sha256: str
    bytes: int
    format: int = FORMAT

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, sort_keys=True) + "\n"

    def missing_keys(self) -> dict[str, dict[str, int]]:
        """What the present FIELD_ENCRYPTION_KEYS do not open: numbers of values by model, by key."""
        known = {fingerprint(key) for key in settings.FIELD_ENCRYPTION_KEYS} | {UNREADABLE}
        missing: dict[str, dict[str, int]] = {}
        for label, counts in self.secrets.items():
            for key, count in counts.items():
                if key not in known:
                    missing.setdefault(key, {})[label] = count
        return missing


def read(text: str) -> Manifest:
    """Raises BackupError."""
    try:
        values = json.loads(text)
        if values.get("format") != FORMAT:
            text = _("The file has the format %(format)s; this version reads %(known)s.")
            raise BackupError(text % {"format": values.get("format"), "known": FORMAT})
        return Manifest(**values)
    except (ValueError, TypeError, AttributeError) as error:
        raise BackupError(_("The manifest of this file cannot be read: it is no backup of guanwecom.")) from error


def of_database() -> Mapping[str, Any]:
    """All but the dump's own. To be called in the transaction whose snapshot is dumped."""
    applied: dict[str, list[str]] = {}
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        applied.setdefault(app, []).append(name)
    return {
        "version": settings.VERSION,
        "made_at": timezone.now().isoformat(timespec="seconds"),
        "server_version": ".".join(map(str, connection.get_database_version())),
        "migrations": applied,
        "secrets": _secrets(),
    }


def _secrets() -> dict[str, dict[str, int]]:
    keys = [(fingerprint(key), Fernet(key)) for key in settings.FIELD_ENCRYPTION_KEYS]
    found: dict[str, dict[str, int]] = {}
    for model, names in encrypted_columns().items():
        if model in _PASSING:
            continue
        counts: Counter[str] = Counter()
        for name in names:
            rows = model._base_manager.annotate(raw=Cast(name, TextField())).exclude(raw="")
            counts.update(_key_of(keys, token) for token in rows.values_list("raw", flat=True).iterator() if token)
        if counts:
            found[model._meta.label] = dict(sorted(counts.items()))
    return found


def _key_of(keys: list[tuple[str, Fernet]], token: str) -> str:
    for name, key in keys:
        try:
            key.decrypt(token.encode())
        except InvalidToken:
            continue
        return name
    return UNREADABLE
