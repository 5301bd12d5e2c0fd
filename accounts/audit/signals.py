"""Records every save and deletion of tracked models, with the values before and after.

Code that changes rows by update() or bulk_create(), for which Django sends no signals, must record the changes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial
from typing import Any

from django.contrib.admin.models import LogEntry
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, ForeignKey, Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from accounts.audit import services
from accounts.models import AuditEntry
from integrations.models.fields import EncryptedTextField, list_encrypted_columns

TEXT_CHARACTERS = 300
NAMES_AT_MOST = 20
# Attributes set on an instance between the signals before and after it is saved or deleted.
_BEFORE, _CORPS, _NAME = "_audit_before", "_audit_corps", "_audit_name"
# This attribute stays after the save, because many-to-many rows and inlines are written afterwards.
_FORMER_CORPS = "_audit_former_corps"

# Returns the keys of an instance's companies.
FindCorps = Callable[[Any], Iterable[int | None]]


@dataclass(frozen=True)
class TrackedModel:
    """Options of a tracked model (see track_model). `fields`: fields whose changes are recorded."""

    corps: FindCorps
    new_corps: FindCorps
    secrets: frozenset[str]
    name: Callable[[Any], str]
    fields: list[Field[Any, Any]]


_tracked: dict[type[Model], TrackedModel] = {}
# Functions that describe the recorded values of a field, by model and field name (see describe_field).
descriptions: dict[tuple[type[Model], str], Callable[[Any], str]] = {}


def track_model(
    model: type[Model],
    *,
    corps: FindCorps,
    new_corps: FindCorps | None = None,
    left_out: Collection[str] = (),
    secrets: Collection[str] = (),
    m2m: Collection[str] = (),
    name: Callable[[Any], str] = str,
) -> None:
    """Record changes of `model` from now on. Call it in AppConfig.ready(), in the model's app or a higher one.

    `corps`: returns the companies of an instance; `new_corps`: the same for a new instance, with fewer queries.
    `left_out`: fields that are not recorded. `secrets`: fields to mask besides the encrypted ones. `m2m`: many-to-many
    fields to record. `name`: returns the name of an instance for the trail.
    """
    if model in _tracked:
        return
    columns = [column for column in model._meta.concrete_fields if not column.primary_key]
    fields = [column for column in columns if column.name not in left_out]
    _tracked[model] = TrackedModel(corps, new_corps or corps, frozenset(secrets), name, fields)
    for signal, receiver in (
        (pre_save, _before_save),
        (post_save, _after_save),
        (pre_delete, _before_delete),
        (post_delete, _after_delete),
    ):
        signal.connect(receiver, sender=model, dispatch_uid=f"accounts.tracking.{model._meta.label}")
    for field_name in m2m:
        through = getattr(model, field_name).through
        receiver = partial(_after_m2m, model, field_name)
        uid = f"accounts.tracking.{model._meta.label}.{field_name}"
        m2m_changed.connect(receiver, sender=through, weak=False, dispatch_uid=uid)


def list_tracked_models() -> list[type[Model]]:
    """Return the models of all apps for which track_model() was called."""
    return list(_tracked)


def find_corps(instance: Model) -> set[int]:
    """Return the companies of a tracked instance; none for untracked ones."""
    tracked = _tracked.get(type(instance))
    return _drop_none(tracked.corps(instance)) if tracked else set()


def _find_all_corps(instance: Model) -> set[int | None]:
    """Return the companies of an instance, now and before a move. None stands for no company: a move from or to no
    company is recorded without a company, so that only administrators of all companies see it."""
    former = _find_former_corps(instance)
    return former | set(_tracked[type(instance)].corps(instance)) if former else {*find_corps(instance)}


def _find_former_corps(instance: Model) -> set[int | None]:
    """Return the companies that the instance, or a row it points to, had before its foreign key was changed."""
    former: set[int | None] = set(instance.__dict__.get(_FORMER_CORPS, ()))
    for column in instance._meta.concrete_fields:
        related = column.get_cached_value(instance, default=None) if isinstance(column, ForeignKey) else None
        former |= _find_former_corps(related) if related is not None else set()
    return former


def _drop_none(corps: Iterable[int | None]) -> set[int]:
    return {corp for corp in corps if corp is not None}


def record_admin_log_entry(instance: LogEntry, created: bool, **_: Any) -> None:
    """Receive post_save of Django's admin log: record actions other than changes of fields."""
    entry = instance
    if not created or entry.change_message.startswith("["):  # a list of changed fields, which _after_save records
        return
    model = entry.content_type.model_class() if entry.content_type is not None and entry.object_id else None
    subject = _select_rows(model).filter(pk=entry.object_id).first() if model is not None else None
    if entry.is_deletion() and type(subject) in _tracked:  # _after_delete will record it
        return
    if subject is not None:
        services.record(
            action=AuditEntry.Action.DONE, subject=subject, note=entry.change_message, corps=find_corps(subject)
        )


def _select_rows(model: type[Model]) -> QuerySet[Any]:
    """Select rows without encrypted columns: a secret that cannot be decrypted must not prevent the recording."""
    return model._base_manager.defer(*list_encrypted_columns(model))


# --- Saving ----------------------------------------------------------------------------------------------------------


def _before_save(sender: type[Model], instance: Model, raw: bool, update_fields: Any = None, **_: Any) -> None:
    if raw or instance._state.adding:
        return
    tracked = _tracked[sender]
    deferred = instance.get_deferred_fields()
    columns = [
        column
        for column in tracked.fields
        if column.attname not in deferred
        and (update_fields is None or column.name in update_fields or column.attname in update_fields)
    ]
    if not columns:  # no field that is recorded
        return
    rows = sender._base_manager.filter(pk=instance.pk).values(*(column.attname for column in columns))
    before = next(iter(rows), {})  # values() also reads secrets that no key can decrypt
    setattr(instance, _BEFORE, before)
    points_elsewhere = any(
        isinstance(column, ForeignKey) and _is_different(before[column.attname], getattr(instance, column.attname))
        for column in columns
        if column.attname in before
    )
    stored = _select_rows(sender).filter(pk=instance.pk).first() if points_elsewhere else None
    if stored is not None:  # else the companies stay the same
        setattr(instance, _FORMER_CORPS, _find_former_corps(instance) | set(tracked.corps(stored)))


def _after_save(sender: type[Model], instance: Model, created: bool, raw: bool, **_: Any) -> None:
    if raw:
        return
    tracked = _tracked[sender]
    before = instance.__dict__.pop(_BEFORE, {})
    corps: set[int | None]
    if created:
        action, changes = AuditEntry.Action.CREATED, _list_values(tracked, instance, is_before=False)
        corps = {*_drop_none(tracked.new_corps(instance))}
    else:
        loaded = [column for column in tracked.fields if column.attname in before]
        changed = [
            column for column in loaded if _is_different(before[column.attname], getattr(instance, column.attname))
        ]
        if not changed:
            return
        action, corps = AuditEntry.Action.CHANGED, _find_all_corps(instance)
        changes = [
            [
                column.name,
                _convert_value(tracked, column, before[column.attname]),
                _convert_value(tracked, column, getattr(instance, column.attname), instance),
            ]
            for column in changed
        ]
    services.record(action=action, subject=instance, name=tracked.name(instance), changes=changes, corps=corps)


def _is_different(before: Any, after: Any) -> bool:
    if hasattr(after, "resolve_expression"):  # an expression such as F(), whose result is not known here
        return False
    return bool(before != after and not (before in (None, "") and after in (None, "")))


# --- Deleting --------------------------------------------------------------------------------------------------------


def _before_delete(sender: type[Model], instance: Model, **_: Any) -> None:
    """Remember companies and name, which may depend on rows that are deleted together with the instance."""
    setattr(instance, _CORPS, _find_all_corps(instance))
    setattr(instance, _NAME, _tracked[sender].name(instance))


def _after_delete(sender: type[Model], instance: Model, **_: Any) -> None:
    tracked = _tracked[sender]
    changes = _list_values(tracked, instance, is_before=True)
    corps, name = instance.__dict__.pop(_CORPS, set()), instance.__dict__.pop(_NAME)
    services.record(action=AuditEntry.Action.DELETED, subject=instance, name=name, changes=changes, corps=corps)


def _list_values(tracked: TrackedModel, instance: Model, *, is_before: bool) -> list[services.Change]:
    """List the loaded values that are neither empty nor the default, as changes from or to nothing."""
    changes: list[services.Change] = []
    for column in tracked.fields:
        value = instance.__dict__.get(column.attname)
        if value in (None, "", []) or value == column.get_default() or hasattr(value, "resolve_expression"):
            continue
        recorded = _convert_value(tracked, column, value, instance)
        changes.append([column.name, recorded, None] if is_before else [column.name, None, recorded])
    return changes


# --- Many to many ----------------------------------------------------------------------------------------------------


def _after_m2m(
    owner_model: type[Model], name: str, /, *, instance: Model, action: str, reverse: bool, pk_set: Any, **_: Any
) -> None:
    if action not in {"post_add", "post_remove", "pre_clear"}:
        return
    if reverse:
        owners = _select_rows(owner_model)
        owners = owners.filter(**{name: instance}) if pk_set is None else owners.filter(pk__in=pk_set)
        for owner in owners:
            _record_m2m(owner, name, [instance], is_added=action == "post_add")
        return
    keys = getattr(instance, name).values_list("pk", flat=True) if pk_set is None else pk_set
    others = list(_select_rows(getattr(owner_model, name).rel.model).filter(pk__in=list(keys)))
    if others:
        _record_m2m(instance, name, others, is_added=action == "post_add")


def _record_m2m(owner: Model, name: str, others: list[Model], *, is_added: bool) -> None:
    names = [str(other) for other in others[:NAMES_AT_MOST]]
    if len(others) > NAMES_AT_MOST:
        names.append("…")
    corps = _find_all_corps(owner)
    for other in others:
        corps |= find_corps(other) if other._meta.label_lower == "integrations.corp" else set()
    change = [name, None, names] if is_added else [name, names, None]
    services.record(action=AuditEntry.Action.CHANGED, subject=owner, changes=[change], corps=corps)


# --- Values ----------------------------------------------------------------------------------------------------------


def _convert_value(tracked: TrackedModel, column: Field[Any, Any], value: Any, instance: Model | None = None) -> Any:
    """Convert a value for the trail: to JSON, with secrets masked, related rows named, and long texts cut. `instance`:
    the object with this value, which may have the related row cached."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(column, EncryptedTextField) or column.name in tracked.secrets:
        return services.MASK if value else ""
    if isinstance(column, ForeignKey):
        related = column.get_cached_value(instance, default=None) if instance is not None else None
        if related is None or related.pk != value or related.get_deferred_fields():
            related = _select_rows(column.related_model).filter(pk=value).first()
        return _clip(str(related)) if related is not None else f"#{value}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return [_clip(str(item)) for item in value[:NAMES_AT_MOST]]
    return _clip(str(value))


def _clip(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else f"{text[: TEXT_CHARACTERS - 1]}…"


def label_field(model: type[Model], name: str) -> str:
    """Return the field's verbose name, or `name` if the model no longer has the field."""
    try:
        return str(getattr(model._meta.get_field(name), "verbose_name", name))
    except FieldDoesNotExist:
        return name


def describe_field(model: type[Model], name: str, description: Callable[[Any], str]) -> None:
    """Let `description` put the recorded values of a field into words for the page of the trail."""
    descriptions[model, name] = description
