"""Rows for benchmarks.pages: an installation some years old, made by SQL in PostgreSQL. All names are invented.

Every table that an administrator can list has rows. Keys ascend with time, as if rows had been written in order.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from django.apps import apps
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import DateTimeField, Field, Model

HOST = "localhost:3001"
PASSWORD = "a long enough password"
ROOT, OPERATOR = "root", "operator"
EMPLOYEE = "person40"
TABLES = Path(__file__).with_name("page_rows.toml")
# The groups, attributes and entries that migrations make have keys below this.
KEYS_OF_MIGRATIONS = 100
# Each group of people has its own messages. A run has MESSAGES messages for PER_RUN people.
GROUPS, MESSAGES, PER_RUN = 40, 7, 50
# Messages of each group in the last run, which goes to everybody.
PER_BROADCAST = 3


@dataclass(frozen=True)
class Size:
    """Size of an installation. `runs`: of all pushes together, each to PER_RUN people; one more goes to everybody."""

    people: int
    pushes: int
    runs: int

    @property
    def receipts(self) -> int:
        return self.runs * PER_RUN + self.people

    @property
    def placeholders(self) -> dict[str, int]:
        """Return the values of the ${} names in TABLES."""
        some_pushes = max(100, self.pushes // 20)
        return {
            **{"people": self.people, "some_people": self.people // 100, "many": self.people * 2},
            **{"in_group": self.people // GROUPS, "pushes": self.pushes, "some_pushes": some_pushes},
            **{"card_data": some_pushes * 8, "runs": self.runs, "runs_and_last": self.runs + 1},
            **{"incidents": self.runs // 2, "earlier_deliveries": self.runs * MESSAGES},
            **{"deliveries": self.runs * MESSAGES + GROUPS * PER_BROADCAST},
            **{"earlier_receipts": self.runs * PER_RUN, "receipts": self.receipts},
        }


def fill(size: Size) -> None:
    """Write rows into every table of a migrated, empty database, and the users who open the pages."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # the values are made so that foreign keys hold
        for table in tomllib.loads(TABLES.read_text(encoding="utf-8"))["table"]:
            rows, *values = (
                Template(text).substitute(size.placeholders) for text in (table["rows"], *table["columns"].values())
            )
            _write(cursor, table["model"], int(rows), dict(zip(table["columns"], values, strict=True)))
    _make_administrators()
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE CURRENT_USER SET max_parallel_workers_per_gather = 0")  # see benchmarks.pages
        cursor.execute("VACUUM ANALYZE")  # as PostgreSQL does by itself after a while


def _write(cursor: Any, label: str, rows: int, values: Mapping[str, str]) -> None:
    """Write `rows` rows, numbered by `n` from 1. `values`: SQL by column; else the model's default, else NULL."""
    model = apps.get_model(label)
    fields = [one for one in model._meta.concrete_fields if not one.generated]
    parameters: list[Any] = []
    expressions = [values.get(one.column) or _write_default(one, model, parameters) for one in fields]
    names = ", ".join(f'"{one.column}"' for one in fields)
    cursor.execute(
        f'INSERT INTO "{model._meta.db_table}" ({names}) SELECT {", ".join(expressions)}'  # noqa: S608  # our own words
        " FROM generate_series(1, %s) n",
        [*parameters, rows],
    )
    if model._meta.auto_field is not None:
        sequence = [model._meta.db_table, model._meta.auto_field.column, rows + KEYS_OF_MIGRATIONS]
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, %s), %s)", sequence)


def _write_default(field: Field[Any, Any], model: type[Model], parameters: list[Any]) -> str:
    if field.primary_key:
        return "n"
    if isinstance(field, DateTimeField) and not field.null and not field.has_default():
        return "now()"
    value = None if field.null and not field.has_default() else field.get_default()
    if value is None:
        return "NULL"
    parameters.append(field.get_db_prep_save(value, connection))
    return f"%s::{field.db_type(connection)}"


def _make_administrators() -> None:
    """Make a superuser and an administrator of two companies with every permission, and give one person a password."""
    from django.contrib.auth.models import Permission

    from accounts.models import User
    from integrations.models import Corp, SiteAddress

    people = User.objects
    password = make_password(PASSWORD)
    people.create(username=ROOT, password=password, is_staff=True, is_superuser=True)
    operator = people.create(username=OPERATOR, password=password, is_staff=True)
    operator.user_permissions.set(Permission.objects.all())
    operator.managed_corps.set(Corp.objects.filter(pk__in=[2, 3]))
    people.filter(username=EMPLOYEE).update(password=password)
    SiteAddress.objects.filter(is_default=True).update(url=f"http://{HOST}/")
