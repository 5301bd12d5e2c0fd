"""When certificates end, and how old secrets are: read from what is stored, without asking another server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from django.conf import settings
from django.db.models import TextField
from django.db.models.functions import Cast

from accounts.audit.signals import tracked_models
from accounts.models import AuditEntry
from integrations.clients.clock import read_boot_clock
from integrations.core.key_rotation import encrypted_columns
from integrations.models import BiConnection, Corp, DataSource, SiteAddress

# Looking through the audit trail is not for every scrape.
SECRETS_READ_SECONDS = 600.0


@dataclass(frozen=True)
class Certificate:
    """`kind`: site, mail_door, valkey, wecom, bi or source. `name`: a site's host, the key of a row, or empty."""

    kind: str
    name: str
    ends_at: datetime


@dataclass(frozen=True)
class Secret:
    """`kind`: the model and its column, as corp.secret. `set_at`: its last change that the audit trail knows."""

    kind: str
    row_id: int
    set_at: datetime


def certificates() -> Iterator[Certificate]:
    """Of the site addresses as they were last seen, the mail door, Valkey's authority and those that companies, the BI
    and sources have of their own. What cannot be read is left out."""
    for address in SiteAddress.objects.order_by("pk"):
        if address.certificate_ends_at is not None:
            yield Certificate("site", address.domain, address.certificate_ends_at)
    for kind, path in (("mail_door", settings.MAIL_DOOR_CERTIFICATE), ("valkey", settings.VALKEY_CA_BUNDLE)):
        yield from _first_end(kind, "", _read(path))
    for kind, model in (("wecom", Corp), ("bi", BiConnection), ("source", DataSource)):
        rows = model._default_manager.exclude(ca_bundle="").values_list("pk", "ca_bundle")
        for pk, bundle in rows:
            yield from _first_end(kind, str(pk), bundle)


def _first_end(kind: str, name: str, pem: str) -> Iterator[Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    except ValueError:
        return
    if found:
        yield Certificate(kind, name, min(one.not_valid_after_utc for one in found))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace") if path else ""
    except OSError:
        return ""


@dataclass(frozen=True)
class _Read:
    secrets: tuple[Secret, ...]
    until: float


_last: list[_Read] = []


def secrets() -> tuple[Secret, ...]:
    """Every stored secret whose last change stands in the audit trail. What this process read is kept for
    SECRETS_READ_SECONDS."""
    now = read_boot_clock()
    if not (_last and now < _last[0].until):
        _last[:] = [_Read(tuple(_secrets()), now + SECRETS_READ_SECONDS)]
    return _last[0].secrets


def forget() -> None:
    """Forget what this process read."""
    _last.clear()


def _secrets() -> Iterator[Secret]:
    columns = encrypted_columns()
    for model in tracked_models():
        for column in columns.get(model, []):
            # Not the field itself, which would be decrypted.
            raw = model._base_manager.annotate(raw=Cast(column, TextField()))
            present = set(raw.exclude(raw="").values_list("pk", flat=True))
            changes = AuditEntry.objects.filter(model=model._meta.label_lower, object_id__in=present)
            named = changes.annotate(text=Cast("changes", TextField())).filter(text__contains=f'["{column}"')
            latest = {entry.object_id: entry.at for entry in named.order_by("pk").only("object_id", "at")}
            for pk, at in latest.items():
                if pk is not None:
                    yield Secret(f"{model._meta.model_name}.{column}", pk, at)
