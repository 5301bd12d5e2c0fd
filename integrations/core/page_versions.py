"""Page versions: whoever saves a page after somebody else did is told so, and decides whether to save over it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.db import models, transaction
from django.utils import formats, timezone
from django.utils.crypto import salted_hmac
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _

from integrations.core.generics import AnyInlineFormSet, AnyModelForm
from integrations.hooks import Hook

if TYPE_CHECKING:
    from django.forms.formsets import ManagementForm
    from django.http import QueryDict

VERSION = "page_version"
_SECONDS = re.compile(r"[0-9]{1,10}")
_KEY = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class Saved:
    """Who saved something last, and when. `by`: empty for the program itself, as a command on the server."""

    by: str
    at: datetime


# Asked who saved one of these rows, or parts on their pages, last since a time. None: nobody knows.
last_saved: Hook[[Sequence[models.Model], datetime], Saved | None] = Hook()


class VersionField(forms.CharField):
    """The version that the page was opened with. It never counts as a change of the row."""

    def __init__(self) -> None:
        super().__init__(required=False, widget=forms.HiddenInput)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class VersionedForm(AnyModelForm):
    """A form that refuses to overwrite unseen what somebody else saved after the page was opened.

    The page carries its version: the time, and a keyed digest of the values that it shows. A digest needs no column,
    and also counts what services write past `save()`, such as the end of a leaver's sign-in. What the second person
    typed stays in the page, which comes back with the new version: saving it again saves over what was saved.

    `version_columns`: columns that no page shows, such as a secret. `unversioned_fields`: fields that are not compared.
    `edits_rows`: whether the page has rows of its own, which `values_of` includes. `is_second`: whether somebody else
    saved meanwhile.
    """

    version_columns: ClassVar[tuple[str, ...]] = ()
    unversioned_fields: ClassVar[frozenset[str]] = frozenset()
    edits_rows: ClassVar[bool] = False
    is_second = False
    page_version = VersionField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            del self.fields[VERSION]

    def get_initial_for_field(self, field: Any, field_name: str) -> Any:
        """Reckon the version when the page is rendered: the fields are complete then."""
        if field_name == VERSION:
            return "" if self.is_bound else _stamped(self.version_of(self.instance))
        return super().get_initial_for_field(field, field_name)

    def values_of(self, row: Any) -> dict[str, Any]:
        """Return what the page shows of `row`: of chosen rows the keys."""
        names = {*self.fields, *self.version_columns} - self.unversioned_fields
        values = {one.name: one.value_from_object(row) for one in row._meta.concrete_fields if one.name in names}
        for one in row._meta.many_to_many:
            if one.name in names:
                values[one.name] = sorted(getattr(row, one.name).values_list("pk", flat=True))
        return values

    def version_of(self, row: models.Model) -> str:
        """Return a digest of the values that the page shows. It tells nothing of a secret."""
        values = sorted(self.values_of(row).items())
        return salted_hmac("integrations.page_version", repr((row._meta.label, row.pk, values))).hexdigest()

    def saved_rows(self) -> Sequence[models.Model]:
        """Return the rows on whose pages the same values are saved."""
        return [self.instance]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if VERSION in self.fields:
            self._check_version()
        return cleaned

    def _check_version(self) -> None:
        """Lock the row until the form is saved (the admin saves in one transaction), and compare the versions."""
        is_changed = self.edits_rows or self.has_changed()
        before = "" if is_changed else self.version_of(self.instance)
        rows = type(self.instance)._default_manager.filter(pk=self.instance.pk)
        with transaction.atomic():
            row = rows.select_for_update(of=("self",)).first()
        if row is None:
            self.add_error(None, _("Somebody deleted this meanwhile."))
            return
        self._take_over(row)
        version = self.version_of(row)
        opened_at, _dot, opened = self.cleaned_data.get(VERSION, "").partition(".")
        if version in (opened, before):  # a form that changes nothing overwrites nothing
            return
        self.is_second = True
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict, the data of a request
        data[self.add_prefix(VERSION)] = _stamped(version)
        self.data = data
        since = datetime.fromtimestamp(int(opened_at) if _SECONDS.fullmatch(opened_at) else 0, UTC)
        told = _("%(who)s What you typed is kept below and not saved yet. Save once more to put it in place of that.")
        sentence = told % {"who": who_saved(last_saved.first(self.saved_rows(), since))}
        way_out = _("Show what is saved now, without my changes")
        self.add_error(None, format_html('{} <a href="">{}</a>', sentence, way_out))

    def _take_over(self, row: models.Model) -> None:
        """Save what nobody fills in as it is now, not as it was when the request began: ended sessions stay ended."""
        filled_in = {name for name, field in self.fields.items() if not field.disabled}
        unread = self.instance.get_deferred_fields()
        for column in row._meta.concrete_fields:
            if column.name not in filled_in and column.attname not in unread:
                setattr(self.instance, column.attname, getattr(row, column.attname))


def _stamped(version: str) -> str:
    return f"{int(timezone.now().timestamp())}.{version}"


def who_saved(saved: Saved | None) -> str:
    """Say in a sentence who saved something after the page was opened. None: nobody knows."""
    if saved is None:
        return _("Somebody else saved this after you had opened the page.")
    by = _("%(person)s saved this at %(at)s, after you had opened the page.")
    if not saved.by:
        by = _("The program itself (a command, or a background task) saved this at %(at)s, after you had opened it.")
    return by % {"person": saved.by, "at": formats.date_format(timezone.localtime(saved.at), "DATETIME_FORMAT")}


class VersionedFormSet(AnyInlineFormSet):
    """The rows of such a page. A row that somebody else removed comes back as a new one if the page is saved again."""

    @cached_property
    def management_form(self) -> ManagementForm:
        if self.is_bound:
            self._renew_removed_rows()
        return super().management_form

    def _renew_removed_rows(self) -> None:
        """Move rows that are gone behind those that are saved, which Django expects first, and clear their keys."""
        sent: QueryDict = self.data  # type: ignore[assignment]  # the data of a request
        rows: dict[int, dict[str, list[str]]] = {}
        data = sent.copy()
        for name in sent:
            number, _dash, ending = name.removeprefix(f"{self.prefix}-").partition("-")
            if name.startswith(f"{self.prefix}-") and number.isdecimal():
                rows.setdefault(int(number), {})[ending] = data.pop(name)
        keys = {row["id"][0] for row in rows.values() if _KEY.fullmatch(row.get("id", [""])[0])}
        model: Any = self.model
        there = {str(key) for key in model._base_manager.filter(pk__in=keys).values_list("pk", flat=True)}
        if not keys - there:
            return
        kept: list[dict[str, list[str]]] = []
        for _number, row in sorted(rows.items()):
            is_gone = row.get("id", [""])[0] in keys - there
            if not is_gone or "DELETE" not in row:
                kept.append({**row, "id": [""]} if is_gone else row)
        kept.sort(key=lambda row: row.get("id") in (None, [""]))
        for place, row in enumerate(kept):
            for ending, values in row.items():
                data.setlist(f"{self.prefix}-{place}-{ending}", values)
        data[f"{self.prefix}-TOTAL_FORMS"] = str(len(kept))
        data[f"{self.prefix}-INITIAL_FORMS"] = str(sum(row.get("id") not in (None, [""]) for row in kept))
        self.data = data
