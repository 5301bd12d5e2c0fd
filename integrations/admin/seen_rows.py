"""Two who change the rows of one page: whoever saves second is told what the first did with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.forms.formsets import DELETION_FIELD_NAME
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from integrations.core import concurrency, row_merge
from integrations.core.concurrency import Saved, SeenField
from integrations.core.generics import AnyInlineFormSet

if TYPE_CHECKING:
    from django.contrib.admin.options import InlineModelAdmin
    from django.db.models import Model
    from django.http import HttpRequest

    from integrations.core.row_merge import Merged, Rows, Sent

    InlineBase = InlineModelAdmin[Any, Any]
else:
    InlineBase = object

# A browser sends nothing of these where none is ticked.
BOXES = (forms.CheckboxInput, forms.CheckboxSelectMultiple)


class SeenFormSet(AnyInlineFormSet):
    """Rows of a page that remember what they were when it was opened, beside the count of them.

    `filled`: the fields of which a new row has one, else it is an empty one; by the first a row is called.
    `is_compared`: whether the person may change rows. `is_second`: whether somebody else changed rows meanwhile.
    """

    filled: ClassVar[tuple[str, ...]] = ("name",)
    is_compared = True
    is_second = False
    _problem = ""

    @cached_property
    def management_form(self) -> Any:
        form: Any = super().management_form
        if self._remembers:
            seal = concurrency.sealed(self.instance, self._saved_rows())
            form.fields["seen"] = SeenField(required=False, widget=forms.HiddenInput, initial=seal)
        return form

    def full_clean(self) -> None:
        if self.is_bound and self.data and self._remembers:
            self._compare()
        super().full_clean()

    def clean(self) -> None:
        if self._problem:
            raise ValidationError(self._problem)
        super().clean()

    @property
    def _row_meta(self) -> Any:
        model: Any = self.model
        return model._meta

    @property
    def _remembers(self) -> bool:
        return self.is_compared and self.instance.pk is not None

    @cached_property
    def _fields(self) -> dict[str, forms.Field]:
        """What a person fills in, in each row."""
        hidden = {self.fk.name, self._row_meta.pk.name, DELETION_FIELD_NAME}
        return {name: field for name, field in self.empty_form.fields.items() if name not in hidden}

    def _saved_rows(self) -> Rows:
        return row_merge.rows_of(self.get_queryset().all(), list(self._fields))

    def _compare(self) -> None:
        saved = self._saved_rows()
        seen = concurrency.opened(self.instance, self.data.get(f"{self.prefix}-seen", ""))
        if seen is None:
            if saved:
                self._show(list(self._sent()), saved)
                self._problem = _("This page was open for too long to tell what others changed. Check and save again.")
            return
        found = row_merge.merge(self._sent(), seen=seen, saved=saved, as_sent=self._as_sent)
        if not found.is_news:
            return
        self.is_second = True
        self._show(found.sent, saved)
        names = {key: self._name_of(row) for key, row in {**seen, **saved}.items()}
        who = concurrency.who(page_saved([self.instance.pk], type(self.instance)))
        self._problem = message(who, f"{self._row_meta.verbose_name_plural}: {said(found, names)}")

    def _show(self, rows: list[Sent], saved: Rows) -> None:
        """Have the page come back with these rows, and remember what is saved now."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict, the data of a request
        row_merge.write(data, str(self.prefix), rows)
        data[f"{self.prefix}-seen"] = concurrency.sealed(self.instance, saved)
        self.data = data
        for made in ("forms", "management_form"):
            self.__dict__.pop(made, None)

    def _sent(self) -> Iterator[Sent]:
        boxes = [name for name, field in self._fields.items() if isinstance(_widget(field), BOXES)]
        return row_merge.sent(self.data, self.prefix, self.filled, boxes)  # type: ignore[arg-type]  # see _show

    def _as_sent(self, row: dict[str, Any]) -> Sent:
        """As a browser sends a row that nobody touched."""
        found: Sent = {}
        for name, value in row.items():
            field = self._fields[name]
            widget: Any = _widget(field)
            kind, shown = type(widget), field.prepare_value(self._revived(name, value))
            if issubclass(kind, forms.MultiWidget):
                parts = zip(widget.widgets_names, widget.widgets, widget.decompress(shown), strict=True)
                found |= {f"{name}{ending}": [str(one.format_value(part) or "")] for ending, one, part in parts}
            elif issubclass(kind, forms.CheckboxInput):
                found[name] = ["on"] if value else []
            elif issubclass(kind, forms.CheckboxSelectMultiple):
                found[name] = [one for one in widget.format_value(shown) if one]
            elif issubclass(kind, forms.Select):
                found[name] = widget.format_value(shown)
            else:
                found[name] = [str(widget.format_value(shown) or "")]
        return found

    def _revived(self, name: str, value: Any) -> Any:
        return self._row_meta.get_field(name).to_python(value) if isinstance(value, str) else value

    def _name_of(self, row: dict[str, Any]) -> str:
        return str(row.get(self.filled[0]) or "—")


class SeenRows(InlineBase):
    """For an inline of the admin whose formset is a SeenFormSet."""

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        formset.is_compared = self.has_change_permission(request, obj)
        return formset


def page_saved(keys: Collection[int], model: type[Model]) -> Saved | None:
    """Who saved the page of one of these rows last."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(model), object_id__in=[str(key) for key in keys]
    )
    last = entries.select_related("user").order_by("-pk").first()
    return None if last is None else Saved(str(last.user), last.action_time)


def message(who: str, changes: str) -> str:
    """`who`: a sentence about whoever saved first. `changes`: what they did with the rows."""
    told = _(
        "%(who)s Nothing of yours was saved. What changed: %(changes)s. Rows that you had left alone show what is "
        "saved now, yours stand as you wrote them. Check, then save again."
    )
    return told % {"who": who, "changes": changes}


def said(found: Merged, names: dict[str, str]) -> str:
    """What somebody else did with which rows. `names`: of the rows, by their keys."""
    return ", ".join(
        [
            *(_("%(row)s added") % {"row": names[key]} for key in found.added),
            *(_("%(row)s changed") % {"row": names[key]} for key in found.changed),
            *(_("%(row)s taken away") % {"row": names[key]} for key in found.removed),
        ]
    )


def _widget(field: forms.Field) -> Any:
    """Without the links of the admin around it."""
    return getattr(field.widget, "widget", field.widget)
