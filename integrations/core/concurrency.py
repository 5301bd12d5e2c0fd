"""Optimistic locking of admin forms: whoever saves second is told who changed what."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Any, ClassVar

from django import forms
from django.core import signing
from django.db import models, transaction
from django.forms.models import model_to_dict
from django.utils import formats, timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from integrations.core.generics import AnyModelForm
from integrations.hooks import Hook

_SALT = "integrations.seen"
CHOSEN_SHOWN = 5
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """Who saved something last, and when. `by`: empty for the program itself, as a command on the server."""

    by: str
    at: datetime


# Asked who saved one of these columns of the row last, in one query. None: nobody knows.
last_saved: Hook[[models.Model, Collection[str]], Saved | None] = Hook()


def who_saved(row: models.Model, names: Collection[str]) -> str:
    """A sentence about whoever saved one of these columns last."""
    return who(last_saved.first(row, names))


def who(saved: Saved | None) -> str:
    """A sentence about whoever saved something after the page was opened. None: nobody knows."""
    if saved is None:
        return _("Somebody else saved this after you had opened the page.")
    by = _("%(person)s saved this at %(at)s, after you had opened the page.")
    if not saved.by:
        by = _("The program itself (a command, or a background task) saved this at %(at)s, after you had opened it.")
    at = timezone.localtime(saved.at)
    return by % {"person": saved.by, "at": formats.date_format(at, "DATETIME_FORMAT")}


def sealed(instance: models.Model, values: Values) -> str:
    """`values` of a row, as the page carries them from its opening to its saving. Nothing secret may be among them."""
    return signing.dumps(values, salt=_salt(instance), compress=True)


def opened(instance: models.Model, seal: str) -> Values | None:
    """The values that `sealed` made `seal` of; None where it has not."""
    try:
        values = signing.loads(seal, salt=_salt(instance))
    except signing.BadSignature:
        return None
    return values if isinstance(values, dict) else None


def plain(values: Values) -> Values:
    """As JSON can hold them: times as text."""
    return {name: value.isoformat() if isinstance(value, date | time) else value for name, value in values.items()}


def _digest(secret: Any) -> str:
    """Tells whether a secret is still the same, and nothing of it."""
    return salted_hmac(_SALT, str(secret or "")).hexdigest()


def _salt(instance: models.Model) -> str:
    return f"{_SALT}:{instance._meta.label_lower}:{instance.pk}"


class SeenField(forms.CharField):
    """Carried by the page, no value of the row: it never counts as changed, though each page seals anew."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class SeenForm(AnyModelForm):
    """A form that remembers the values with which it was opened, those of many-to-many fields included.

    `seen_columns` of the row are remembered, too: each stands for columns that no page shows, such as a Secret.
    `seen_secrets`: columns with a secret, of which the page carries a keyed digest and nothing else.
    `unseen_fields`: those that the form compares by itself. `is_second`: whether somebody else saved meanwhile.
    """

    seen_columns: ClassVar[Mapping[str, Collection[str]]] = MappingProxyType({})
    seen_secrets: ClassVar[tuple[str, ...]] = ()
    unseen_fields: ClassVar[frozenset[str]] = frozenset()
    is_second = False
    seen = SeenField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            del self.fields["seen"]
            return
        self.fields["seen"].initial = sealed(self.instance, self._values_of(self.instance))

    def _values_of(self, row: models.Model) -> Values:
        """What the page remembers of the row, as JSON can hold it. Of chosen rows the keys, in order."""
        options, names = row._meta, set(self.fields) - self.unseen_fields
        columns = [field.name for field in options.fields if field.name in names]
        chosen = [field.name for field in options.many_to_many if field.name in names]
        return {
            **plain(model_to_dict(row, columns)),
            **{name: getattr(row, name) for name in self.seen_columns},
            **{name: _digest(getattr(row, name)) for name in self.seen_secrets},
            **{name: sorted(getattr(row, name).values_list("pk", flat=True)) for name in chosen},
        }

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if "seen" in self.fields:
            self._compare()
        return cleaned

    def _compare(self) -> None:
        seen, saved = self._seen(), self._saved()
        if saved is None:
            self.add_error(None, _("Somebody deleted this meanwhile."))
            return
        if seen is None:
            self._show_anew(saved)
            self.add_error(
                None, _("This page was open for too long to tell what others changed. Check and save again.")
            )
            return
        changed = {name: value for name, value in saved.items() if name in seen and seen[name] != value}
        if all(name in self.fields and self._is_same(name, changed[name]) for name in changed):
            return
        self.is_second = True
        self._report_changes(seen, saved, changed)

    def _seen(self) -> Values | None:
        """The values with which the page was opened; None where they are not ours."""
        return opened(self.instance, self.cleaned_data.get("seen") or "")

    def _saved(self) -> Values | None:
        """The values as they are saved now, locked until the form's own are: the admin saves in one transaction."""
        rows = type(self.instance)._default_manager.filter(pk=self.instance.pk)
        with transaction.atomic():
            row = rows.select_for_update(of=("self",)).first()
        if row is None:
            return None
        self._take_over(row)
        return self._values_of(row)

    def _take_over(self, row: models.Model) -> None:
        """What nobody fills in is saved as it is now, not as it was when the request began: that sessions were ended
        since then, or that a secret was replaced, stays so."""
        filled_in = {name for name, field in self.fields.items() if not field.disabled}
        unread = self.instance.get_deferred_fields()
        for column in row._meta.concrete_fields:
            if column.name not in filled_in and column.attname not in unread:
                setattr(self.instance, column.attname, getattr(row, column.attname))

    def _is_same(self, name: str, saved: Any) -> bool:
        """Whether the form holds what is saved."""
        field = self.fields[name]
        if isinstance(field, forms.ModelMultipleChoiceField):
            mine = self.cleaned_data.get(name)
            return mine is not None and sorted(one.pk for one in mine) == saved
        saved = field.clean(saved) if isinstance(field, forms.ModelChoiceField) else self._revived(name, saved)
        return bool(self.cleaned_data.get(name, self) == saved)

    def _revived(self, name: str, value: Any) -> Any:
        """A value that is remembered as text, such as a time, as the row has it."""
        return self.instance._meta.get_field(name).to_python(value) if isinstance(value, str) else value

    def _report_changes(self, seen: Values, saved: Values, changed: Values) -> None:
        sentences = [self._sentence(name, seen[name], value) for name, value in changed.items() if name in self.fields]
        if not sentences:
            sentences = [_("values that are not shown, such as the Secret")]
        both = [name for name in changed if name in self.fields and self._is_touched(name, seen[name])]
        self._show_anew(saved, [name for name in changed if name in self.fields and name not in both])
        names = {column for name in changed for column in (name, *self.seen_columns.get(name, ()))}
        message = _(
            "%(who)s Nothing of yours was saved. What changed: %(changes)s. "
            "What you had left alone shows the new value now. Check, then save again."
        )
        self.add_error(None, message % {"who": self._who(names), "changes": "; ".join(sentences)})
        for name in both:
            self.add_error(
                name, _("Saved by somebody else meanwhile: %(value)s") % {"value": self._shown(name, saved[name])}
            )

    def _who(self, names: Collection[str]) -> str:
        return who_saved(self.instance, names)

    def _is_touched(self, name: str, seen: Any) -> bool:
        field = self.fields[name]
        typed = field.widget.value_from_datadict(self.data, self.files, self.add_prefix(name))
        return field.has_changed(self._revived(name, seen), typed)

    def _show_anew(self, saved: Values, names: list[str] | None = None) -> None:
        """Have the page that comes back remember what is saved now, and show it in the fields of `names`."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict, the data of a request
        data[self.add_prefix("seen")] = sealed(self.instance, saved)
        for name in names or []:
            field, prefix = self.fields[name], self.add_prefix(name)
            value = field.prepare_value(self._revived(name, saved[name]))
            if isinstance(field, forms.BooleanField):
                data.setlist(prefix, ["on"] if value else [])
            elif isinstance(field.widget, forms.MultiWidget):
                widget: Any = field.widget
                for ending, part in zip(widget.widgets_names, widget.decompress(value), strict=True):
                    data[f"{prefix}{ending}"] = "" if part is None else str(part)
            elif isinstance(value, list | tuple):
                data.setlist(prefix, value)
            else:
                data[prefix] = "" if value is None else value
        self.data = data

    def _sentence(self, name: str, before: Any, after: Any) -> str:
        return _("%(field)s: %(before)s → %(after)s") % {
            "field": self.fields[name].label,
            "before": self._shown(name, before),
            "after": self._shown(name, after),
        }

    def _shown(self, name: str, value: Any) -> str:
        field = self.fields[name]
        if isinstance(value, bool):
            return _("yes") if value else _("no")
        if isinstance(field, forms.ModelMultipleChoiceField):
            offered: models.QuerySet[Any] = field.queryset  # type: ignore[assignment]  # set by each form
            named = offered.filter(pk__in=value).order_by("pk")[:CHOSEN_SHOWN]
            more = ["…"] if len(value) > len(named) else []
            return _(", ").join([*map(field.label_from_instance, named), *more]) or "—"
        if isinstance(field, forms.ModelChoiceField) and value is not None:
            return str(self.instance._meta.get_field(name).related_model._default_manager.filter(pk=value).first())
        text = str(field.prepare_value(value)) if value not in (None, "", []) else ""
        return f"“{text[:80]}”" if text else "—"
