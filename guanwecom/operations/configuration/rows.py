"""Writes one row of a configuration with its children, and says what that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Field, ManyToManyField, Model

from guanwecom.operations.configuration import values as plain
from guanwecom.operations.configuration.kinds import Child, Kind
from guanwecom.operations.configuration.values import ADDRESS, MissingError, Names
from integrations.clients.sources import sql_url
from integrations.models import BiConnection, Corp, DataSource, VerificationFile
from integrations.models.datasources import SourceKind
from notifications.alerts import evaluation
from notifications.delivery.runs import page_rights
from notifications.models import AlertRule, Report, Subscription, WorkdayCalendar
from notifications.models.subscriptions import Scheduled
from notifications.subscriptions.schedules import slots

PassOver = Callable[[MissingError], bool]
# By which columns the way is known on which a row's secrets are sent, and which secrets these are.
_WAYS: dict[type[Model], tuple[tuple[str, ...], tuple[str, ...]]] = {
    Corp: (("api_base_url", "ca_bundle"), ("secret", "contacts_secret")),
    BiConnection: (("base_url", "ca_bundle"), ("api_password", "app_token")),
    DataSource: (("http_url", "ca_bundle"), ("http_headers",)),
}


class Change(Enum):
    NONE = "unchanged"
    NEW = "new"
    CHANGED = "changed"


@dataclass(frozen=True)
class Item:
    """`fields`: of one that changes, (name, before, after) as the file has them. `secrets`: labels of those that are
    empty."""

    section: str
    name: str
    change: Change
    fields: list[tuple[str, Any, Any]]
    secrets: list[str]


def load(kind: Kind, name: str, values: dict[str, Any], names: Names, pass_over: PassOver, *, now: datetime) -> Item:
    """Write the row of this name, or make it. Raises ValidationError, MissingError and django.db.IntegrityError."""
    row = names.find(kind, name)
    is_new = row is None
    before = {} if is_new else plain.written(row, kind, names)
    row = kind.model() if row is None else row
    _refuse_unknown(kind, values)
    _refuse_other(row, kind)
    _fill(row, kind, values, names, pass_over)
    _check(row, kind, before)
    _refuse_other_way(row, before)
    if isinstance(row, Subscription | AlertRule) and _is_rescheduled(row, values, before):
        slots.reschedule(row, now=now)
    row.save()
    if isinstance(row, AlertRule):
        evaluation.renew(row, now=now)
    if isinstance(row, WorkdayCalendar):
        slots.reschedule_by_workdays(now=now)
    _refuse_other(row, kind)
    if is_new:
        names.add(row, name)
    _fill_many(row, kind, values, names, pass_over)
    for child in kind.children:
        if child.name in values and values[child.name] != before.get(child.name, []):
            _replace(row, child, values[child.name], names, pass_over, now)
    changes = [(key, before.get(key), value) for key, value in values.items() if before.get(key) != value]
    change = Change.NEW if is_new else Change.CHANGED if changes else Change.NONE
    if isinstance(row, Subscription | Report) and change is not Change.NONE:
        # A file names other people, or another page, than whoever shows all of them what they see themselves.
        page_rights.note_edit(row.report if isinstance(row, Subscription) else row, by=None, now=now)
    return Item(kind.section, name, change, changes if before else [], _empty_secrets(row))


def _refuse_unknown(kind: Kind, values: dict[str, Any]) -> None:
    known = {field.name for field in plain.columns(kind)} | {child.name for child in kind.children}
    known |= {ADDRESS} if kind.model is DataSource else set()
    if unknown := sorted(str(name) for name in values.keys() - known):
        raise ValidationError(f"unknown: {', '.join(unknown)}")


def _refuse_other(row: Any, kind: Kind) -> None:
    """One that no export holds."""
    if not row._state.adding and not kind.rows(kind.model._default_manager.filter(pk=row.pk)).exists():
        raise ValidationError("it is no part of a configuration")


def _refuse_other_way(row: Any, before: dict[str, Any]) -> None:
    """As the forms do: otherwise a file could have a stored secret sent to an address of its own."""
    columns, names = _WAYS.get(type(row), ((), ()))
    if not before or not any(getattr(row, name) for name in names):
        return
    message = "stored secrets would be sent another way: change it on its page, and enter them again there"
    moved = {name: message for name in columns if before[name] != getattr(row, name)}
    if moved:
        raise ValidationError(moved)


def _fill(row: Any, kind: Kind | Child, values: dict[str, Any], names: Names, pass_over: PassOver) -> None:
    for field in plain.columns(kind):
        if field.name in values and not isinstance(field, ManyToManyField):
            setattr(row, field.name, _read(field, values, names, pass_over))
    if isinstance(row, DataSource) and values.get(ADDRESS, "") != plain.address_of(row):
        # Another database: the password that is stored is not for it.
        row.sql_url = values[ADDRESS]


def _fill_many(row: Any, kind: Kind, values: dict[str, Any], names: Names, pass_over: PassOver) -> None:
    for field in plain.columns(kind):
        if field.name in values and isinstance(field, ManyToManyField):
            getattr(row, field.name).set(_read(field, values, names, pass_over))


def _read(field: Field[Any, Any], values: dict[str, Any], names: Names, pass_over: PassOver) -> Any:
    try:
        return plain.read(values[field.name], field, names, pass_over)
    except ValidationError as error:
        raise ValidationError({field.name: error.messages}) from error
    except (ValueError, TypeError) as error:
        raise ValidationError({field.name: "not understood"}) from error


def _check(row: Any, kind: Kind | Child, before: dict[str, Any]) -> None:
    """As a form would; secrets are entered later."""
    if isinstance(row, Corp) and row.was_enabled and before and before["corpid"] != row.corpid:
        raise ValidationError({"corpid": "it cannot change once the company was enabled"})
    counted = {field.name for field in plain.columns(kind)}
    others = {field.name for field in row._meta.concrete_fields} - counted
    row.full_clean(exclude=others)


def _is_rescheduled(row: Scheduled, values: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether a column changes that its times depend on."""
    names = {*slots.TIME_FIELDS, "is_enabled"}
    return any(values.get(name) != before.get(name) for name in names if name in values) or row.pk is None


def _replace(row: Any, child: Child, found: Any, names: Names, pass_over: PassOver, now: datetime) -> None:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValidationError({child.name: "expected a list of rows"})
    made_before = list(plain.children_of(row, child))
    if len(made_before) != 1 or len(found) != 1:
        plain.children_of(row, child).delete()
        made_before = []
    for one in found:
        # One that becomes another stays the same row: with it stands what no file holds (page_rights).
        made = made_before.pop() if made_before else child.model(**{child.parent: row})
        _fill(made, child, one, names, pass_over)
        if isinstance(made, VerificationFile):
            made.uploaded_at = now
        _check(made, child, {})
        made.save()


def _empty_secrets(row: Model) -> list[str]:
    if isinstance(row, DataSource):
        return list(_secrets_of_source(row))
    return [str(field.verbose_name) for field in plain.secrets(type(row)) if not getattr(row, field.attname)]


def _secrets_of_source(source: DataSource) -> Iterator[str]:
    """An address whose user has no password, and headers, where there may be some."""
    if source.kind == SourceKind.SQL and not sql_url.has_password(source.sql_url):
        yield str(source._meta.get_field("sql_url").verbose_name)
    if source.kind == SourceKind.JSON and not source.http_headers:
        yield str(source._meta.get_field("http_headers").verbose_name)


def texts(error: ValidationError) -> list[str]:
    """One line for each complaint, with its column."""
    if hasattr(error, "error_dict"):
        return [f"{name}: {text}" for name, found in error.message_dict.items() for text in found]
    return error.messages
