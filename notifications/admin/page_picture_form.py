"""The picture of a page of the BI as a part of a content's page: its form, and whose view of the page is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.forms import modelform_factory
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from integrations.core.generics import AnyModelForm
from integrations.core.page_versions import VersionedFormSet
from notifications.delivery.runs import page_rights
from notifications.models import PagePicture, Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accounts.models import User

PREFIX = "page_picture"
FIELDS = ("kind", "bi_id", "name", "width", "theme", "is_cropped")
_RIGHTS = ("shown_as", "ended_by", "ended_at")


class Seen(forms.ChoiceField):
    """With whose rights the page is seen. Offered to the owner alone."""

    AS_RECIPIENTS, AS_OWNER = "recipients", "owner"

    def __init__(self) -> None:
        choices = [
            (self.AS_RECIPIENTS, _("each recipient with their own rights in the BI")),
            (self.AS_OWNER, _("all recipients as I see it")),
        ]
        super().__init__(label=_("what they see"), choices=choices, widget=forms.RadioSelect, required=False)


class PagePictureForm(AnyModelForm):
    """`person`: the administrator at work, set by the formset with the report."""

    person: User
    seen_by = Seen()

    class Meta:
        model = PagePicture
        fields = FIELDS

    def begin(self, report: Report, person: User) -> None:
        """Offer the owner's view to the owner alone."""
        self.person = person
        if page_rights.may_show_as(report, person):
            is_mine = self.instance.shown_as_id == person.pk
            self.initial["seen_by"] = Seen.AS_OWNER if is_mine else Seen.AS_RECIPIENTS
        else:
            del self.fields["seen_by"]

    @property
    def consequence(self) -> str:
        """What it means to show it as oneself sees it."""
        return page_rights.consequence(self.person)

    def save(self, commit: bool = True) -> PagePicture:
        """Whose view it shows is written by page_rights alone, also where it changed since the page was opened."""
        if self.instance.pk is not None:
            self.instance.refresh_from_db(fields=_RIGHTS)
        picture: PagePicture = super().save(commit)
        if commit and "seen_by" in self.fields:
            self._show(picture)
        return picture

    def _show(self, picture: PagePicture) -> None:
        is_wanted = self.cleaned_data.get("seen_by") == Seen.AS_OWNER
        if is_wanted and picture.shown_as_id != self.person.pk:
            page_rights.show_as_owner(picture, by=self.person)
        elif not is_wanted and picture.shown_as_id is not None:
            page_rights.show_as_recipients(picture)


class PagePictureFormSet(VersionedFormSet):
    """At most one. A page that was sent without this part leaves it as it is. `person`: the administrator at work, set
    by the admin."""

    person: User

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        if data is not None and f"{PREFIX}-TOTAL_FORMS" not in data:
            data = {**data.dict(), f"{PREFIX}-TOTAL_FORMS": "0", f"{PREFIX}-INITIAL_FORMS": "0"}
        super().__init__(data, *args, **kwargs)

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        form.begin(self.instance, self.person)


_PreviewedForm = modelform_factory(PagePicture, fields=FIELDS)


def is_wanted(values: Mapping[str, Any]) -> bool:
    """Whether a content's page as it was sent names a page of the BI."""
    return bool(values.get(f"{PREFIX}-0-bi_id")) and not values.get(f"{PREFIX}-0-DELETE")


def is_owners(values: Mapping[str, Any]) -> bool:
    """Whether the page asks to show it to all as the person at work sees it."""
    return str(values.get(f"{PREFIX}-0-seen_by", "")) == Seen.AS_OWNER


def previewed(values: Mapping[str, Any]) -> PagePicture | None:
    """The unsaved picture that the values of a page name; None where they name none, or a wrong one."""
    form = _PreviewedForm(values, prefix=f"{PREFIX}-0")
    return form.save(commit=False) if is_wanted(values) and form.is_valid() else None


def note_edit(report: Report, edited: Iterable[Any], by: User) -> list[int]:
    """Call it before the forms and formsets of an edit are saved: where somebody else than its owner changes anything,
    the owner's view of the page is shown no more. Returns the run that tells the owner."""
    is_edited = report.pk is not None and any(one is not None and one.has_changed() for one in edited)
    return page_rights.note_edit(report, by=by, now=timezone.now()) if is_edited else []
