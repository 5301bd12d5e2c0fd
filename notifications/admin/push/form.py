"""The form of a push: a subscription, with the content that it sends as a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.conf import settings
from django.forms.utils import ErrorDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from integrations.core.page_versions import VERSION
from notifications.admin import page_picture_form
from notifications.admin.push.copies import CopiedReport
from notifications.admin.report_forms import ReportForm, cards_in, is_key, removed_rules, rules_in, tables_to_try
from notifications.admin.report_preview import PreviewRefusedError, own_rows_in
from notifications.admin.subscription_forms import SubscriptionForm
from notifications.delivery.rendering.page_pictures import RecipientPages
from notifications.delivery.rendering.report_contents import Order, ReportParts, expect
from notifications.models import MessageForm, OwnRowsRule, Report, Subscription
from notifications.sources import NOT_KNOWN, Expected

if TYPE_CHECKING:
    from django.http import QueryDict

    from accounts.models import User

# One of the content's fields that every page sends: without it the content is left as it is.
CONTENT_IS_SENT = "title"


class ContentFor(forms.ChoiceField):
    """Whether a change of a content that several pushes send is meant for all of them."""

    ALL, THIS = "all", "this"

    def __init__(self) -> None:
        choices = [
            (self.ALL, _("change it for all of them")),
            (self.THIS, _("keep theirs as it is; this push gets a copy")),
        ]
        super().__init__(label=_("changes of the content"), choices=choices, widget=forms.RadioSelect, required=False)


class ContentForm(ReportForm):
    """The content as a part of a push's page, which carries its version beside that of the push."""

    def add_prefix(self, field_name: str) -> str:
        return "content_version" if field_name == VERSION else super().add_prefix(field_name)


class PushForm(SubscriptionForm):
    """`content`: the form of the report, whose fields stand in the same page; None where the person may not write it,
    or where it was not sent. `others`: the names of further pushes that send the same report. `copied`: set while
    saving, where this push gets a content of its own. `draft`: what the person left on the page, with which it begins.

    Names of fields do not collide: a report has none that a subscription has.
    """

    # Which content it sends is compared apart from it.
    unversioned_fields = frozenset({"report"})
    draft: QueryDict | None = None
    content: ContentForm | None = None
    copied: CopiedReport | None = None
    content_for = ContentFor()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.draft is not None:
            kwargs["data"] = self.draft
        super().__init__(*args, **kwargs)
        if self.draft is not None:
            self._errors = ErrorDict()  # what is still missing is no mistake yet
        self.instance.draft_at_work = self.draft
        self.others: list[str] = []
        if "report" not in self.fields:  # somebody who may only look gets no fields
            return
        # What is too long is said, not cut while it is pasted.
        self.fields["name"].widget.attrs.pop("maxlength", None)
        if self.instance._state.adding:
            self.initial["is_enabled"] = False
        found = self._report()
        self.content = self._content(found)
        if found is not None:
            others = Subscription.objects.filter(report=found).exclude(pk=self.instance.pk)
            self.others = list(others.order_by("name").values_list("name", flat=True))
        report: Any = self.fields["report"]
        report.required = False
        if self.content is not None:
            report.widget = forms.HiddenInput()
        # The formsets of the page belong to it; without it there are none.
        self.instance.content_at_work = self.content.instance if self.content is not None else None

    def is_valid(self) -> bool:
        return super().is_valid() and (self.content is None or self.content.is_valid())

    def _get_validation_exclusions(self) -> set[str]:
        """The report of a new push is not saved yet when the push is checked."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # the stubs do not know it
        return {*excluded, "report"}

    def is_copy_wanted(self) -> bool:
        """Whether this push is to have a content of its own from now on."""
        return self.may_copy() and self.data.get("content_for") == ContentFor.THIS

    def may_copy(self) -> bool:
        return bool(self.others) and self.person.has_perm("notifications.add_report")

    def clean(self) -> dict[str, Any]:
        """With the report as it would be saved: the checks of recipients ask it for its company."""
        cleaned = self.cleaned_data
        if self.content is not None:
            self.content.is_valid()
            cleaned["report"] = self.content.instance  # also with errors: who would be reached is shown all the same
            self._check_same_content()
            if cleaned.get("message_form") == MessageForm.FILE and not page_picture_form.is_wanted(self.data):
                self.add_error("message_form", _("A PDF file is made of a page of the BI: choose its picture first."))
        elif cleaned.get("report") is None:
            cleaned.pop("report", None)
            self.add_error("report", _("Choose what is sent."))
        return super().clean()

    def _check_same_content(self) -> None:
        """A page that was open before this push got a content of its own must not change that of the others."""
        sent = str(self.data.get("report") or "")
        if not self.instance._state.adding and is_key(sent) and int(sent) != self.instance.report_id:
            message = _("This push sends another content since the page was opened. Reload it.")
            raise forms.ValidationError(message, code="other-content")

    def has_own_rows(self, report: Report) -> bool:
        """Of what is saved and not taken away, and of what is sent."""
        saved = OwnRowsRule.objects.filter(report=report.pk) if report.pk else OwnRowsRule.objects.none()
        if self.content is None:
            return saved.exists()
        return bool(rules_in(self.data)) or saved.exclude(pk__in=removed_rules(self.data)).exists()

    def expected(self, cleaned: dict[str, Any]) -> Expected:
        if self.content is None:
            return super().expected(cleaned)
        now, values, report = timezone.now(), self.data, self.content.instance
        try:
            own_rows = own_rows_in(values)
        except PreviewRefusedError:  # not written to its end
            return NOT_KNOWN
        known = cards_in(values) if own_rows else {}
        found = tables_to_try(known, self.person, report)
        tables = {alias: table for alias, table in found.items() if table is not None}
        order = Order(MessageForm.TEXTCARD, now, cleaned.get("time_zone") or settings.TIME_ZONE)
        picture = page_picture_form.previewed(values)
        owner_id = self.person.pk if page_picture_form.is_owners(values) else None

        def pages() -> RecipientPages | None:
            return None if picture is None else RecipientPages(picture, now, owner_id=owner_id)

        return expect(ReportParts(report, own_rows=own_rows), tables, order, pages)

    def _report(self) -> Report | None:
        """The report that the page is about: as it was sent, as the address names it, or that of the subscription."""
        if not self.instance._state.adding:
            return cast("Report", self.instance.report)
        source: Mapping[str, Any] = self.data if self.is_bound else self.initial
        key = str(getattr(source.get("report"), "pk", source.get("report")) or "")
        visible = Report.objects.visible_to(self.person)
        return visible.filter(pk=int(key)).first() if is_key(key) else None

    def _content(self, report: Report | None) -> ContentForm | None:
        permission = "notifications.add_report" if report is None else "notifications.change_report"
        if not self.person.has_perm(permission) or (self.is_bound and CONTENT_IS_SENT not in self.data):
            return None
        form = _personal(self.person)
        content = form(self.data if self.is_bound else None, instance=report)
        content.spared_subscription = self.instance.pk
        content.is_for_copy = self.data.get("content_for") == ContentFor.THIS
        if self.draft is not None:
            content._errors = ErrorDict()  # type: ignore[attr-defined]  # the stubs do not know it
        return content


def _personal(person: User) -> type[ContentForm]:
    return type("PersonalContentForm", (ContentForm,), {"person": person})
