"""Rows of tests, each written in one statement. Like bulk services, these writes bypass the audit trail."""

from collections.abc import Iterable
from typing import TypeVar

from django.db.models import ManyToManyField, Model

Row = TypeVar("Row", bound=Model)


def put(row: Row) -> Row:
    """Write a new row without calling save(). Return it with its key."""
    type(row)._base_manager.bulk_create([row])
    return row


def join(row: Model, name: str, others: Iterable[Model]) -> None:
    """Write the members of the many-to-many field `name` of a new row."""
    field = row._meta.get_field(name)
    assert isinstance(field, ManyToManyField)
    through = field.remote_field.through
    assert through is not None
    own, other = field.m2m_column_name(), field.m2m_reverse_name()
    through._base_manager.bulk_create(
        through(**{own: row.pk, other: key}) for key in dict.fromkeys(one.pk for one in others)
    )
