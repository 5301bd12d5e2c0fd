"""Rows as plain values, and back: numbers, texts, lists, and the names of the rows that they refer to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, Field, ForeignKey, JSONField, ManyToManyField, Model, TimeField
from django.utils.dateparse import parse_datetime, parse_time

from accounts.models import User
from guanwecom.operations.configuration.kinds import BY_MODEL, Child, Kind
from integrations.clients.sources import sql_url
from integrations.models import DataSource, Department
from integrations.models.fields import EncryptedTextField, Unreadable

# Of a data source: the address of its database without password and options.
ADDRESS = "sql_address"


class MissingError(Exception):
    """A row that the file names is not there. `what`: its kind and name, for the operator."""

    def __init__(self, what: str, *, is_person: bool) -> None:
        super().__init__(what)
        self.what, self.is_person = what, is_person


class Names:
    """The name of each row, and the row of each name; equal names are told apart by a number, oldest first."""

    def __init__(self) -> None:
        self._of: dict[type[Model], dict[Any, str]] = {}
        self._row: dict[type[Model], dict[str, Any]] = {}

    def of(self, row: Model) -> str:
        return self._known(type(row))[row.pk]

    def row(self, model: type[Model], name: str) -> Any:
        """Raises MissingError."""
        self._known(model)
        try:
            return self._row[model][name]
        except KeyError:
            what = f"{model._meta.verbose_name} {name}"
            raise MissingError(what, is_person=model in {User, Department}) from None

    def find(self, kind: Kind, name: str) -> Any | None:
        self._known(kind.model)
        return self._row[kind.model].get(name)

    def add(self, row: Model, name: str) -> None:
        self._known(type(row))[row.pk] = name
        self._row[type(row)][name] = row

    def _known(self, model: type[Model]) -> dict[Any, str]:
        if model not in self._of:
            self._of[model], self._row[model] = {}, {}
            for name, row in _named(model):
                self.add(row, name)
        return self._of[model]


def _named(model: type[Model]) -> Iterator[tuple[str, Any]]:
    if model is User:
        yield from ((row.username, row) for row in User.objects.only("username"))
    elif model is Department:
        for department in Department.objects.select_related("corp"):
            yield f"{department.corp.name} / {department.wecom_department_id}", department
    else:
        kind, seen = BY_MODEL[model], Counter[str]()
        for row in model._default_manager.order_by("pk"):
            name = kind.name_of(row)
            seen[name] += 1
            yield (name if seen[name] == 1 else f"{name} #{seen[name]}"), row


# --- Columns ----------------------------------------------------------------------------------------------------------


def columns(kind: Kind | Child) -> list[Field[Any, Any]]:
    """Those that count, in the order of the model."""
    also: frozenset[str] = kind.also if isinstance(kind, Kind) else frozenset()
    parent = kind.parent if isinstance(kind, Child) else ""
    found = [*kind.model._meta.concrete_fields, *kind.model._meta.many_to_many]
    return [
        field
        for field in found
        if (field.editable or field.name in also)
        and field.name not in {*kind.left_out, parent}
        and not isinstance(field, EncryptedTextField)
        and not (field.primary_key and not field.is_relation)
    ]


def secrets(model: type[Model]) -> list[Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if isinstance(field, EncryptedTextField)]


# --- Out --------------------------------------------------------------------------------------------------------------


def written(row: Any, kind: Kind | Child, names: Names) -> dict[str, Any]:
    """The columns of a row, and its children, as the file has them."""
    values = {field.name: _written(row, field, names) for field in columns(kind)}
    if isinstance(row, DataSource):
        values[ADDRESS] = address_of(row)
    for child in kind.children if isinstance(kind, Kind) else ():
        values[child.name] = [written(one, child, names) for one in children_of(row, child)]
    return values


def children_of(row: Any, child: Child) -> Any:
    """In their order."""
    ordering = child.model._meta.ordering or ["pk"]
    return child.model._default_manager.filter(**{child.parent: row}).order_by(*ordering, "pk")


def address_of(source: DataSource) -> str:
    """Of its database, as a page may show it: neither password nor options."""
    return "" if isinstance(source.sql_url, Unreadable) else sql_url.without_password(source.sql_url)


def _written(row: Any, field: Field[Any, Any], names: Names) -> Any:
    if isinstance(field, ManyToManyField):
        return sorted(names.of(one) for one in getattr(row, field.name).all())
    if isinstance(field, ForeignKey):
        found = getattr(row, field.name)
        return None if found is None else names.of(found)
    value = getattr(row, field.attname)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(field, TimeField):
        return None if value is None else value.isoformat()
    return _sorted(value) if isinstance(field, JSONField) else value


def _sorted(value: Any) -> Any:
    """PostgreSQL keeps no order of names, so the file has one."""
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


# --- In ---------------------------------------------------------------------------------------------------------------


def read(value: Any, field: Field[Any, Any], names: Names, pass_over: Callable[[MissingError], bool]) -> Any:
    """A value of the file as the column takes it; of many a list of rows. `pass_over`: whether it is left out.

    Raises MissingError and ValidationError.
    """
    if isinstance(field, ManyToManyField):
        if not isinstance(value, list):
            raise ValidationError("expected a list of names")
        found = (_found(one, field, names, pass_over) for one in value)
        return [one for one in found if one is not None]
    if isinstance(field, ForeignKey):
        return None if value is None else _found(value, field, names, pass_over if field.null else lambda _error: False)
    if value is not None and isinstance(field, DateTimeField):
        return parse_datetime(str(value))
    if value is not None and isinstance(field, TimeField):
        return parse_time(str(value))
    return value if isinstance(field, JSONField) else field.to_python(value)


def _found(name: Any, field: Any, names: Names, pass_over: Callable[[MissingError], bool]) -> Any:
    try:
        return names.row(field.related_model, str(name))
    except MissingError as error:
        if pass_over(error):
            return None
        raise
