"""The folded parts of a page that makes a thing in one form: their fields, and what is set in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.forms import BoundField, CheckboxInput
from django.forms.models import model_to_dict
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from notifications.admin.report_forms import is_key

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import QueryDict
    from django_stubs_ext import StrOrPromise

VALUE_CHARACTERS = 30
# What a list of settings leaves out.
_TEMPLATE_CODE = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)
NAMED_AT_MOST = 4
ROWS_AT_MOST = 100


@dataclass(frozen=True)
class Part:
    """`names`: of its fields, in whichever form of the page has them. `rows`: the prefixes of its formsets, each with
    how many rows it may have before they count as set here: those are made elsewhere on the page."""

    key: str
    title: StrOrPromise
    names: tuple[str, ...]
    rows: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class FoldedPart:
    """`inlines`: the admin's formsets. `summary`: what is set, in one line; empty where all is as it was at first."""

    key: str
    title: StrOrPromise
    fields: list[BoundField]
    inlines: list[Any]
    summary: str
    is_open: bool


def folded(
    parts: Iterable[Part], forms: Sequence[Any], inlines: Sequence[Any], *, is_sent: bool
) -> dict[str, FoldedPart]:
    """By key. One with an error is open. `forms`: None where a part of the page is not there. `is_sent`: whether errors
    are said."""
    found = {}
    for part in parts:
        fields = _fields(part, forms)
        own = [one for one in inlines if one.formset.prefix in dict(part.rows)]
        counts = {one.formset.prefix: sum(map(_is_filled, one.formset.forms)) for one in own}
        summary = _summary(part, fields, counts, {one.formset.prefix: one.formset.model for one in own})
        has_errors = any(field.errors for field in fields) or any(one.formset.total_error_count() for one in own)
        found[part.key] = FoldedPart(part.key, part.title, fields, own, summary, is_sent and has_errors)
    return found


def summaries(
    parts: Iterable[Part], forms: Sequence[Any], values: QueryDict, models: Iterable[type[Model]]
) -> dict[str, str]:
    """By key, of a page as it was sent. `models`: of its formsets."""
    known = {_prefix_of(model): model for model in models}
    counts = {prefix: _count(values, prefix) for prefix in known}
    return {part.key: _summary(part, _fields(part, forms), counts, known) for part in parts}


def _summary(
    part: Part, fields: Iterable[BoundField], counts: Mapping[str, int], models: Mapping[str, type[Model]]
) -> str:
    changed = [_words(field) for field in fields if _is_set(field)]
    for prefix, spared in part.rows:
        if counts.get(prefix, 0) > spared:
            name = models[prefix]._meta.verbose_name_plural
            changed.append(_("%(name)s: %(value)s") % {"name": name, "value": counts[prefix]})
    more = len(changed) - NAMED_AT_MOST
    further = [ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more}] if more > 0 else []
    return " · ".join([*changed[:NAMED_AT_MOST], *further])


def _count(values: QueryDict, prefix: str) -> int:
    total = values.get(f"{prefix}-TOTAL_FORMS", "")
    known = range(min(int(total), ROWS_AT_MOST)) if is_key(total) else range(0)
    return sum(f"{prefix}-{number}-DELETE" not in values for number in known)


def _prefix_of(model: type[Model]) -> str:
    relation: Any = next(field for field in model._meta.fields if field.name in ("report", "rule"))
    return str(relation.remote_field.get_accessor_name())


def _fields(part: Part, forms: Iterable[Any]) -> list[BoundField]:
    by_name = {name: form[name] for form in forms if form is not None for name in form.fields}
    return [by_name[name] for name in part.names if name in by_name]


def _is_set(field: BoundField) -> bool:
    """Whether its value is another one than on the page of a new row."""
    form: Any = field.form
    if form.instance._state.adding:
        usual = form.get_initial_for_field(field.field, field.name)
    else:
        blank = {**model_to_dict(form._meta.model(), fields=[field.name]), **getattr(form, "new_values", {})}
        usual = blank.get(field.name, field.field.initial)
        usual = usual() if callable(usual) else usual
    return bool(field.field.has_changed(usual, _sent(field)))


def _sent(field: BoundField) -> Any:
    """The value as the widget would send it."""
    value = field.value()
    is_several = hasattr(field.field.widget, "decompress")
    return field.field.widget.decompress(value) if is_several and not isinstance(value, list) else value


def _is_filled(row: Any) -> bool:
    is_deleted = row.is_bound and row.prefix and f"{row.prefix}-DELETE" in row.data
    return not is_deleted and (not row.instance._state.adding or row.has_changed())


def _words(field: BoundField) -> str:
    if isinstance(field.field.widget, CheckboxInput):
        return str(field.label) if field.value() else _("%(name)s: %(value)s") % {"name": field.label, "value": _("no")}
    return _("%(name)s: %(value)s") % {"name": field.label, "value": ", ".join(_values(field)) or "—"}


def _values(field: BoundField) -> Iterator[str]:
    """Of a long list how many there are."""
    value = _sent(field)
    several = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(one, tuple | list) for one in several):
        yield str(len(several))
    elif hasattr(field.field, "queryset"):
        chosen = [one for one in several if one]
        known = field.field.queryset.filter(pk__in=[getattr(one, "pk", one) for one in chosen])[:2]
        yield from [str(one) for one in known] if len(chosen) == 1 else [str(len(chosen))]
    elif hasattr(field.field, "choices"):
        labels = {str(key): str(label) for key, label in field.field.choices}
        yield from (labels.get(str(one), str(one)) for one in several)
    else:
        shown = (_TEMPLATE_CODE.sub("…", str(one)) for one in several if one not in (None, ""))
        yield from (Truncator(one).chars(VALUE_CHARACTERS) for one in shown)
