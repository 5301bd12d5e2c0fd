"""System checks for combinations of settings that cannot work. `manage.py check` runs them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection

from integrations.clients.sources.addresses import is_driver_installed
from integrations.models import CallbackEvent, SiteAddress
from integrations.models.fields import Unreadable, find_encrypted_columns


@checks.register()
def check_mail_door_settings(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Report contradictions in the settings of the mail door, the SMTP server that accepts mails for channels."""
    door_host, _port = settings.MAIL_DOOR_LISTEN
    is_local = door_host in {"localhost", "::1"} or door_host.startswith("127.")
    certificate = settings.MAIL_DOOR_CERTIFICATE
    combinations = [
        (
            "E009",
            settings.MAIL_DOOR_KEY and not certificate,
            "MAIL_DOOR_KEY is set without a certificate.",
            "Name the file of the certificate in MAIL_DOOR_CERTIFICATE, or leave both empty.",
        ),
        (
            "E010",
            settings.MAIL_DOOR_TLS_FROM_START and not certificate,
            "MAIL_DOOR_TLS_FROM_START is on without a certificate.",
            "TLS needs a certificate: name it and its key in MAIL_DOOR_CERTIFICATE and MAIL_DOOR_KEY.",
        ),
        # Without TLS, only this machine may send passwords, unless a setting allows others.
        (
            "E011",
            not (is_local or certificate or settings.MAIL_DOOR_PLAIN_SIGN_IN),
            "MAIL_DOOR_LISTEN lets other machines connect, but none of them can sign in.",
            "Name a certificate in MAIL_DOOR_CERTIFICATE, or set MAIL_DOOR_PLAIN_SIGN_IN=true for a network whose "
            "every machine may read passwords.",
        ),
    ]
    return [
        checks.Error(message, hint=hint, id=f"integrations.{number}")
        for number, is_wrong, message, hint in combinations
        if is_wrong
    ]


@checks.register()
def check_sql_drivers(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Report drivers of additional databases that are not installed."""
    return [
        checks.Error(
            f"DATA_SQL_DRIVERS names {name}, for which nothing is installed.",
            hint="Install its package for SQLAlchemy and its driver into this Python, or correct the name: "
            "dialect+driver, such as oracle+oracledb. See docs/en/data-sources.md.",
            id="integrations.E007",
        )
        for name in settings.DATA_SQL_DRIVERS
        if not is_driver_installed(name)
    ]


@checks.register(checks.Tags.database)
def check_stored_secrets(databases: Any = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """Report stored secrets that no key decrypts, apart from those of callback events, which are too many to check."""
    if not databases:
        return []
    counts: Counter[str] = Counter()
    for model, names in find_encrypted_columns().items():
        if model is CallbackEvent or model._meta.db_table not in connection.introspection.table_names():
            continue
        rows = model._base_manager.values_list(*names)
        counts[model._meta.label] += sum(any(isinstance(value, Unreadable) for value in row) for row in rows)
    return [
        checks.Warning(
            f"{label}: secrets of {count} rows cannot be read with the present FIELD_ENCRYPTION_KEYS.",
            hint="Add the lost key behind the present ones, or enter the secrets again in the administration. "
            "`manage.py reencrypt_secrets --check` names them; see docs/en/secrets.md.",
            id="integrations.W003",
        )
        for label, count in counts.items()
        if count
    ]


@checks.register()
def check_host_cookies(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Report site addresses without https: browsers drop __Host- cookies there, so nobody could sign in."""
    if not settings.HOST_COOKIES:
        return []
    try:
        plain = list(SiteAddress.objects.without_https().order_by("url").values_list("url", flat=True)[:3])
    except DatabaseError:  # before the first migration, or without a database: nothing to compare
        return []
    return [
        checks.Error(
            f"HOST_COOKIES is on, and the site address {url} is not https.",
            hint="Nobody could sign in there. Set HOST_COOKIES=false, or save this address with https:// first.",
            id="integrations.E008",
        )
        for url in plain
    ]


@checks.register(checks.Tags.database)
def recommend_host_cookies(databases: Any = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """Recommend HOST_COOKIES once every site address is https."""
    addresses = SiteAddress.objects
    if not databases or settings.HOST_COOKIES or settings.ENVIRONMENT != "production":
        return []
    if SiteAddress._meta.db_table not in connection.introspection.table_names():
        return []
    if addresses.without_https().exists() or not addresses.exists():
        return []
    return [
        checks.Warning(
            "Every site address is https, and HOST_COOKIES is off.",
            hint="Set HOST_COOKIES=true: then no sibling domain can plant cookies. Everybody signs in once more.",
            id="integrations.W004",
        )
    ]
