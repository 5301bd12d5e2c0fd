"""Recipient and channel fields, for subscriptions and alert receivers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.directory.form_fields import DepartmentsField
from accounts.models import User
from accounts.users.scopes import people_visible_to
from integrations.core.page_versions import VersionedForm
from notifications.admin import schedule_forms
from notifications.admin.attribute_rule_fields import RulesField
from notifications.admin.schedule_forms import ScheduleFormPart
from notifications.delivery.rendering.report_contents import expected_contents
from notifications.models import Channel, OwnRowsRule, Repeat, Report, Robot, RulesMatch, Subscription
from notifications.sources import Audience, Expected
from notifications.subscriptions.attribute_rules import rules_of
from notifications.subscriptions.recipients import INCOMPLETE, SET_ON_PERSON, Reachability, reachability
from notifications.subscriptions.schedules.slots import TIME_FIELDS

if TYPE_CHECKING:
    from integrations.models import Corp

RECIPIENT_FIELDS = (
    *("to_everyone", "users", "groups", "departments", "with_subdepartments", "rules_match"),
    *("channel", "robot", "fallback_channel"),
)
# As a fieldset shows them.
WHO_FIELDS = ("to_everyone", "users", "groups", "departments", "with_subdepartments", "rules", "rules_match")
CHANNEL_FIELDS = ("channel", "robot", "fallback_channel")
FIELD_CLASSES = {"departments": DepartmentsField}


class RecipientsFormPart(VersionedForm):
    """`person`: the administrator at work, set by the admin. After cleaning, `found` says who would be reached.

    A form that has this part names RECIPIENT_FIELDS and FIELD_CLASSES in its Meta.
    """

    person: User
    found: Reachability | None = None
    rules = RulesField(
        label=_("attribute rules"),
        required=False,
        help_text=_(
            "Whoever matches when a run begins. “is one of”: several values, with semicolons between them. “contains”: "
            "of a text a part, of several values one. Capital and small letters are the same."
        ),
    )

    def values_of(self, row: Any) -> dict[str, Any]:
        return {**super().values_of(row), "rules": RulesField().prepare_value(rules_of(row))}

    def offer_recipients(self) -> None:
        """What this administrator may choose. Whoever is chosen already may stay, also where unseen."""
        fields: dict[str, Any] = self.fields
        is_known = self.instance.pk is not None
        fields["robot"].queryset = Robot.objects.visible_to(self.person)
        fields["rules_match"].required = False  # left out, it stays as it is
        if is_known:
            self.initial["rules"] = list(rules_of(self.instance))
        chosen = self.instance.users.values_list("pk", flat=True) if is_known else []
        fields["users"].queryset = people_visible_to(self.person) | User.objects.filter(pk__in=chosen)
        chosen = self.instance.departments.values_list("pk", flat=True) if is_known else []
        fields["departments"].offer(seen_by=self.person, chosen=list(chosen))

    def check_channel(self, cleaned: dict[str, Any]) -> None:
        """A robot stands where a robot is chosen, and nowhere else."""
        if cleaned.get("channel") != Channel.ROBOT:
            cleaned["robot"] = None
        elif cleaned.get("robot") is None and "robot" not in self.errors:
            self.add_error("robot", _("Choose the robot of the group."))
        if cleaned.get("channel") != Channel.WECOM:
            cleaned["fallback_channel"] = ""


def audience_from(cleaned: dict[str, Any], *, corp: Corp | None) -> Audience:
    """The people whom a form's values choose. `corp`: the only company that is meant."""
    return Audience(
        user_ids=[person.pk for person in cleaned.get("users", ())],
        group_ids=[group.pk for group in cleaned.get("groups", ())],
        to_everyone=bool(cleaned.get("to_everyone")),
        corp_id=None if corp is None else corp.pk,
        department_ids=[department.pk for department in cleaned.get("departments", ())],
        with_subdepartments=bool(cleaned.get("with_subdepartments")),
        rules=tuple(cleaned.get("rules", ())),
        rules_match=cleaned.get("rules_match") or RulesMatch.ALL,
        channel=cleaned.get("channel") or Channel.WECOM,
        fallback_channel=cleaned.get("fallback_channel", ""),
        robot_id=cleaned["robot"].pk if cleaned.get("robot") else None,
    )


# --- Forms of the admin: what cannot work is refused at saving, with a sentence ---


class SubscriptionForm(RecipientsFormPart, ScheduleFormPart):
    class Meta:
        model = Subscription
        fields = (
            *("name", "report", "message_form", "priority", *RECIPIENT_FIELDS, *TIME_FIELDS),
            *("skips_empty", "skips_unchanged", "stale_after_minutes", "if_stale"),
            *("grace_minutes", "lifetime_hours", "pauses_after_failures", "is_enabled", "is_paused"),
        )
        field_classes = FIELD_CLASSES
        help_texts = {
            "stale_after_minutes": _(
                "As old as that when it is due, by the card's column of the data's time, or by what a web service "
                "says; other data is as of when it is fetched. Empty: data is never stale."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "report" not in fields:  # somebody who may only look gets no fields
            return
        self.offer_recipients()
        self.offer_times()
        if self.instance._state.adding:
            self.initial.update(repeat=Repeat.DAILY, local_time=schedule_forms.USUAL_TIME)
        fields["report"].queryset = Report.objects.visible_to(self.person)
        for name in ("if_stale", "pauses_after_failures"):
            fields[name].required = False  # left out, it stays as it is

    def clean_pauses_after_failures(self) -> int:
        typed: int | None = self.cleaned_data["pauses_after_failures"]
        return self.instance.pauses_after_failures if typed is None else typed

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        schedule_forms.check(self, cleaned, now=timezone.now())
        self.check_channel(cleaned)
        self._check_robot(cleaned.get("robot"), cleaned.get("report"))
        self._check_recipients(cleaned)
        return cleaned

    def _check_robot(self, robot: Robot | None, report: Report | None) -> None:
        """Its group is of the report's company."""
        if robot is None or report is None:
            return
        if report.corp_id not in {None, robot.corp_id}:
            self.add_error("robot", _("This robot's group is of another company than the report."))
        elif self.has_own_rows(report):
            self.add_error("robot", _("Everybody in the group would read the same: own rows cannot go to a robot."))

    def has_own_rows(self, report: Report) -> bool:
        return OwnRowsRule.objects.filter(report=report).exists()

    def expected(self, cleaned: dict[str, Any]) -> Expected:
        """Return what it would send."""
        order = Subscription(report=cleaned["report"], owner=self.instance.owner)
        return expected_contents(order, timezone.now())

    def _check_recipients(self, cleaned: dict[str, Any]) -> None:
        if "report" not in cleaned or "robot" in self.errors:
            return
        audience = audience_from(cleaned, corp=cleaned["report"].corp)
        audience = replace(audience, subscription_id=self.instance.pk)
        self.found = reachability(audience, seen_by=self.person, expected=self.expected(cleaned))
        # A disabled one may be saved in any case: or a company that was disabled could not be tidied up after.
        if cleaned.get("is_enabled") and not self.found.concerns_somebody:
            raise ValidationError(refusal(self.found))


def refusal(found: Reachability) -> list[str]:
    """Why nobody would get anything, a sentence for each person named."""
    if not found.unreachable_count:
        sentence = str(
            _(
                "Nobody would receive this. Choose people, groups, departments or attribute rules, or everyone linked "
                "to WeCom."
            )
        )
        return [sentence, *about_departments(found)]
    count = found.unreachable_count
    first = ngettext(
        "Nobody would receive this: the %(count)d chosen person cannot be reached.",
        "Nobody would receive this: none of the %(count)d chosen people can be reached.",
        count,
    )
    return [first % {"count": count}, *unreachable_lines(found), *about_departments(found)]


def unreachable_lines(found: Reachability, *, may_open: bool = False) -> list[str]:
    """The people named in `found` with their reasons, how many more there are, and where to put it right. `may_open`:
    whether the reader may open pages of people, to which the names then lead."""
    lines = []
    for who in found.unreachable:
        line = str(_("%(name)s: %(reason)s")) % {"name": who.name, "reason": who.recipient.reason_text}
        url = reverse("admin:accounts_user_change", args=[who.recipient.user_id])
        is_link = may_open and who.recipient.reason in SET_ON_PERSON
        lines.append(format_html('<a href="{}">{}</a>', url, line) if is_link else line)
    more = found.unreachable_count - len(found.unreachable)
    if more:
        lines.append(ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more})
    if not INCOMPLETE.isdisjoint(found.reasons):
        lines.append(str(_("WeCom company name and WeCom account are set on the person's page, under Users.")))
    return lines


def about_departments(found: Reachability) -> list[str]:
    """What else the chosen departments mean: who of them is nobody here, and which are not there any more."""
    sentences = []
    if found.unlinked_count:
        sentence = ngettext(
            "%(count)d member of the chosen departments is not linked with a user here and receives nothing.",
            "%(count)d members of the chosen departments are not linked with users here and receive nothing.",
            found.unlinked_count,
        )
        sentences.append(sentence % {"count": found.unlinked_count})
    if found.removed:
        sentence = str(_("Not there any more in WeCom, and reaching nobody: %(departments)s."))
        sentences.append(sentence % {"departments": str(_(", ")).join(found.removed)})
    return sentences
