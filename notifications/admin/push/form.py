"""The form of a push: a subscription and the report that it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar

from django import forms
from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from integrations.core.admin_pages import VERSION
from notifications.admin import subscription_forms
from notifications.admin.base import is_key
from notifications.admin.push.one_page import DraftedForm
from notifications.admin.reports import AS_OWNER, PARTS, PICTURE_FIELDS, SEEN_BY, ReportForm, read_parts
from notifications.delivery.attachments import RecipientPages
from notifications.delivery.rendering.report_contents import ReportParts, expect_contents, expect_saved_contents
from notifications.models import Channel, MessageForm, OwnRowsRule, Repeat, Report, Subscription
from notifications.sources import NO_CONTENTS
from notifications.subscriptions.recipients import count_reachability
from notifications.subscriptions.schedules import TIME_FIELDS

# A content field that every page sends. If it is missing, the content is not changed.
CONTENT_MARKER = "title"
FOR_ALL, FOR_THIS = "all", "this"


class ContentForm(ReportForm):
    """The report form as part of a push's page. Its version field is renamed, as the push has one, too."""

    def add_prefix(self, field_name: str) -> str:
        return "content_version" if field_name == VERSION else super().add_prefix(field_name)


class PushForm(DraftedForm, subscription_forms.RecipientsFormPart, subscription_forms.ScheduleFormPart):
    """The form of a push. `content`: the report's form on the same page; None if the person may not edit the report or
    did not submit it. `others`: key and name of each other push with the same report. `copied_parts`: set while saving
    if this push gets its own copy of the report. A report and a subscription have no field name in common."""

    # The report is compared separately, in `_check_same_content`.
    unversioned_fields = frozenset({"report"})
    # Builds the formsets of the page; set by the admin.
    make_formsets: ClassVar[Callable[[Subscription], Iterable[Any]]]
    content: ContentForm | None = None
    copied_parts: CopiedKeys | None = None
    # Whether a change of a shared report applies to all its pushes or to this push only.
    content_for = forms.ChoiceField(
        label=_("changes of the content"),
        choices=[
            (FOR_ALL, _("change it for all of them")),
            (FOR_THIS, _("for this push only: it gets a copy of its own")),
        ],
        widget=forms.RadioSelect,
        required=False,
    )

    class Meta:
        model = Subscription
        fields = (
            *("name", "report", "message_form", "priority", *subscription_forms.RECIPIENT_FIELDS, *TIME_FIELDS),
            *("skips_empty", "skips_unchanged", "stale_after_minutes", "if_stale"),
            *("grace_minutes", "lifetime_hours", "pauses_after_failures", "is_enabled", "is_paused"),
        )
        field_classes = subscription_forms.FIELD_CLASSES
        help_texts = {
            "stale_after_minutes": _(
                "Data that is older than this when the push is due is stale. Its time comes from its time column "
                "or the web service, else from the fetch. Empty: data is never stale."
            )
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.others: list[tuple[int, str]] = []
        fields: dict[str, Any] = self.fields
        if "report" not in fields:  # the form has no fields for people who may only view
            return
        self.offer_recipients()
        self.offer_times()
        # Show an error for text that is too long instead of cutting it when it is pasted.
        fields["name"].widget.attrs.pop("maxlength", None)
        if self.instance._state.adding:
            self.initial.update(repeat=Repeat.DAILY, local_time=subscription_forms.USUAL_TIME, is_enabled=False)
            self.initial["on_date"] = timezone.localdate() + timedelta(days=1)
        for name in ("if_stale", "pauses_after_failures", "report"):
            fields[name].required = False  # if it is not submitted, the stored value stays
        visible = fields["report"].queryset = Report.objects.visible_to(self.person)
        report: Report | None = None
        if self.instance._state.adding:  # the report in the form or URL, if the person may see it
            source: Mapping[str, Any] = self.data if self.is_bound else self.initial
            key = str(getattr(source.get("report"), "pk", source.get("report")) or "")
            report = visible.filter(pk=int(key)).first() if is_key(key) else None
        else:
            report = self.instance.report
        permission = "notifications.add_report" if report is None else "notifications.change_report"
        if self.person.has_perm(permission) and (not self.is_bound or CONTENT_MARKER in self.data):
            form = type("PersonalContentForm", (ContentForm,), {"person": self.person})
            content: ContentForm = form(self.data if self.is_bound else None, instance=report, label_suffix="")
            content.subscription_on_page = self.instance.pk
            content.is_for_copy = self.data.get("content_for") == FOR_THIS
            self.clear_draft_errors(content)
            self.content = self.part = content
            fields["report"].widget = forms.HiddenInput()
        if report is not None:
            others = Subscription.objects.filter(report=report).exclude(pk=self.instance.pk)
            self.others = list(others.order_by("name").values_list("pk", "name"))
        # The page creates formsets only for this report, and none if it is None.
        self.instance.edited_report = self.content.instance if self.content is not None else None

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude the report, because a new push is validated before its report is saved."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # the stubs do not know it
        return {*excluded, "report"}

    def may_copy(self) -> bool:
        return bool(self.others) and self.person.has_perm("notifications.add_report")

    def clean_pauses_after_failures(self) -> int:
        typed: int | None = self.cleaned_data["pauses_after_failures"]
        return self.instance.pauses_after_failures if typed is None else typed

    def clean(self) -> dict[str, Any]:
        """Validate with the unsaved report set, because recipient checks read its corp."""
        cleaned = self.cleaned_data
        if self.content is not None:
            self.content.is_valid()
            cleaned["report"] = self.content.instance  # also with errors, so that recipients are still shown
            sent = str(self.data.get("report") or "")
            # A page opened before this push got its own report would change the shared one.
            if not self.instance._state.adding and is_key(sent) and int(sent) != self.instance.report_id:
                message = _("This push sends another content since the page was opened. Reload it.")
                raise forms.ValidationError(message, code="other-content")
            if cleaned.get("message_form") == MessageForm.FILE and not self.data.get("picture_bi_id"):
                self.add_error("message_form", _("A PDF file is made of a page of the BI: choose its picture first."))
        elif cleaned.get("report") is None:
            cleaned.pop("report", None)
            self.add_error("report", _("Choose what is sent."))
        cleaned = super().clean() or cleaned
        self.check_schedule(cleaned, now=timezone.now())
        self.check_channel(cleaned)
        if "report" in cleaned:
            self._check_recipients(cleaned)
        return cleaned

    def _check_recipients(self, cleaned: dict[str, Any]) -> None:
        """Refuse a robot of another company or for a report with own rows, and an enabled push without recipients."""
        report, robot, is_saved = cleaned["report"], cleaned.get("robot"), self.content is None
        if robot is not None and report.corp_id not in {None, robot.corp_id}:
            self.add_error("robot", _("This robot's group is of another company than the report."))
        elif robot is not None and (
            OwnRowsRule.objects.filter(report=report).exists() if is_saved else self.parts_and_problem[0].own_rows
        ):
            self.add_error("robot", _("Everybody in the group would read the same: own rows cannot go to a robot."))
        if "robot" in self.errors:
            return
        audience = replace(
            subscription_forms.build_audience(cleaned, corp=report.corp), subscription_id=self.instance.pk
        )
        now = timezone.now()
        if is_saved:
            expected = expect_saved_contents(Subscription(report=report, owner=self.instance.owner), now)
        elif self.parts_and_problem[1]:  # the form is not complete yet
            expected = NO_CONTENTS
        else:
            parts = self.parts_and_problem[0]
            push = Subscription(time_zone=cleaned.get("time_zone") or settings.TIME_ZONE)
            owner_id = self.person.pk if self.data.get(SEEN_BY) == AS_OWNER else None
            tables = parts.find_latest_tables() if parts.own_rows else {}
            pages = partial(RecipientPages, parts.report, now, owner_id=owner_id)
            expected = expect_contents(parts, tables, push, now, pages if parts.report.has_picture else lambda: None)
        self.found = count_reachability(audience, seen_by=self.person, expected=expected)
        # A disabled push may have no recipients: otherwise pushes of a disabled company could not be edited.
        if cleaned.get("is_enabled") and not self.found.concerns_somebody:
            raise forms.ValidationError(subscription_forms.explain_refusal(self.found))

    @cached_property
    def parts_and_problem(self) -> tuple[ReportParts, str]:
        """The submitted report, and the first error of its rows or its page picture."""
        report: Report = self.instance.edited_report
        parts, problem = read_parts(report, type(self).make_formsets(self.instance))
        form = self.content
        if form is not None and not problem:
            wrong = [name for name in PICTURE_FIELDS if name in form.errors]
            problem = next((f"{form[name].label}: {form.errors[name][0]}" for name in wrong), "")
        return parts, problem


Row = TypeVar("Row", bound=Model)
# For each model of a report's parts, the key of the original → the key of its copy.
CopiedKeys = Mapping[type[Any], Mapping[int, int]]
NAME_CHARACTERS = 128


@transaction.atomic
def copy_report(report: Report) -> tuple[Report, CopiedKeys]:
    """Copy a report with its cards, charts, own-row rules and page picture, as stored in the database."""
    copied = _without_key(Report.objects.get(pk=report.pk))
    # Only the owner may share what the owner sees.
    copied.picture_shown_as = copied.picture_ended_by = copied.picture_ended_at = None
    copied.save()
    parts: dict[type[Any], dict[int, int]] = {model: {} for model in PARTS}
    for model, keys in parts.items():
        for part in model._default_manager.filter(report=report.pk).order_by("pk"):
            old, new = part.pk, _without_key(part)
            new.report = copied
            new.save()
            keys[old] = new.pk
    return copied, parts


@transaction.atomic
def share_push(subscription: Subscription, *, owner: User) -> Subscription:
    """Make another push of the same report with the same schedule, for other people: it names none yet. It is disabled
    and belongs to `owner`."""
    count = Subscription.objects.filter(report=subscription.report_id).count()
    shared = _start_copy(subscription, owner, f" ({count + 1})")
    shared.to_everyone, shared.robot = False, None
    if shared.channel == Channel.ROBOT:
        shared.channel = Channel.WECOM
    shared.save()
    return shared


def _start_copy(subscription: Subscription, owner: User, ending: str) -> Subscription:
    """Return an unsaved, disabled copy with a name that ends with `ending`."""
    copied = _without_key(Subscription.objects.get(pk=subscription.pk))
    copied.name = f"{subscription.name[: NAME_CHARACTERS - len(ending)]}{ending}"
    copied.owner, copied.is_enabled, copied.is_paused, copied.next_run_at = owner, False, False, None
    copied.failures_paused_at = copied.failures_counted_from = copied.form_key = None
    return copied


@transaction.atomic
def copy_push(subscription: Subscription, *, owner: User) -> Subscription:
    """Copy a push with its report, recipients and schedule. The copy is disabled and belongs to `owner`."""
    copied = _start_copy(subscription, owner, gettext(" (copy)"))
    copied.report, _keys = copy_report(subscription.report)
    copied.save()
    for name in ("users", "groups", "departments"):
        getattr(copied, name).set(getattr(subscription, name).all())
    for rule in subscription.attribute_rules.all():
        new = _without_key(rule)
        new.subscription = copied
        new.save()
    return copied


def _without_key(row: Row) -> Row:
    """Turn a loaded row into an unsaved one."""
    row.pk = None
    row._state.adding = True
    return row
