"""The address of a database as single fields: kind, host, port, name, user and password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from integrations.admin.form_fields import TidyField, WriteOnlyInput
from integrations.clients.late import Late
from integrations.clients.sources.sql_url import DRIVERS
from integrations.core.generics import AnyModelForm
from integrations.models.fields import Unreadable

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy import URL
else:
    sqlalchemy = Late("sqlalchemy")

# Kinds that are written in fields, with the port that each usually has. Others are written as one address.
PORTS: Mapping[str, int] = {"postgresql": 5432, "mysql": 3306}
BY_ADDRESS = ""
NAMES = ("db_kind", "db_host", "db_port", "db_name", "db_user", "db_password")


class DatabaseFields(AnyModelForm):
    """For a form of a model with the column `sql_url`. The password is write-only: left empty, the saved one stays, as
    long as kind, host, port and user do."""

    db_kind = forms.ChoiceField(
        label=capfirst(_("kind of database")),
        required=False,
        choices=[
            ("postgresql", "PostgreSQL"),
            ("mysql", "MySQL / MariaDB"),
            (BY_ADDRESS, _("another one: by its address below")),
        ],
    )
    db_host = TidyField(label=capfirst(_("host")), required=False, max_length=253)
    db_port = forms.IntegerField(
        label=capfirst(_("port")),
        required=False,
        min_value=1,
        max_value=65535,
        help_text=_("Empty: the usual one, 5432 of PostgreSQL and 3306 of MySQL."),
    )
    db_name = TidyField(label=capfirst(_("database")), required=False, max_length=128)
    db_user = TidyField(
        label=capfirst(_("user")), required=False, max_length=128, help_text=_("Best one that may only read.")
    )
    db_password = forms.CharField(label=capfirst(_("password")), required=False, widget=WriteOnlyInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "db_kind" not in self.fields:
            return
        saved = saved_address(self.instance)
        if saved is None:
            kind = BY_ADDRESS if self.instance.sql_url else "postgresql"
            self.initial.setdefault("db_kind", kind)
            return
        self.initial.update(
            db_kind=kind_of(saved),
            db_host=saved.host,
            db_port=saved.port,
            db_name=saved.database,
            db_user=saved.username,
        )
        self.fields["db_password"].help_text = _("Saved. Leave this empty to keep it.") if saved.password else ""

    def typed_address(self) -> str:
        """The address of which the fields consist, with the saved password where it stays; empty where none of them was
        changed, or the database is written by its address. Adds errors to the fields."""
        cleaned, is_changed = self.cleaned_data, not set(NAMES).isdisjoint(self.changed_data)
        if "db_kind" not in self.fields or not cleaned.get("db_kind") or not is_changed:
            return ""
        missing = [name for name in ("db_host", "db_name") if not cleaned.get(name) and name not in self.errors]
        for name in missing:
            self.add_error(name, ValidationError(_("Fill this in."), code="required"))
        if missing or not set(NAMES).isdisjoint(self.errors):
            return ""
        address = sqlalchemy.URL.create(
            cleaned["db_kind"],
            username=cleaned["db_user"] or None,
            password=cleaned["db_password"] or None,
            host=cleaned["db_host"],
            port=cleaned["db_port"],
            database=cleaned["db_name"],
        )
        return self._with_saved_password(address).render_as_string(hide_password=False)

    def _with_saved_password(self, address: URL) -> URL:
        """Whoever may change a source must not have its password sent elsewhere."""
        saved = saved_address(self.instance)
        if saved is None or not saved.password or address.password:
            return address
        if _place(saved) != _place(address):
            message = _("Enter the password again: with this change it would be sent elsewhere.")
            self.add_error("db_password", ValidationError(message, code="moved"))
            return address
        return address.set(password=saved.password, query=saved.query)


def saved_address(row: Any) -> URL | None:
    """The saved address, where fields can show it; None of another kind, and of what no key opens."""
    if not row.sql_url or isinstance(row.sql_url, Unreadable):
        return None
    try:
        address = sqlalchemy.make_url(row.sql_url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return None
    return address if kind_of(address) else None


def kind_of(address: URL) -> str:
    """One of PORTS; BY_ADDRESS of any other database."""
    kind = DRIVERS.get(address.drivername, address.drivername).partition("+")[0]
    return kind if kind in PORTS else BY_ADDRESS


def _place(address: URL) -> tuple[str, str, int, str]:
    """Where the password goes, and whose it is."""
    kind = kind_of(address)
    return kind, (address.host or "").lower(), address.port or PORTS[kind], address.username or ""
