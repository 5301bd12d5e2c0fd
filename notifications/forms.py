"""Forms of the admin: what cannot work is refused at saving, with a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.department_choice import DepartmentsField
from accounts.models import User
from accounts.visibility import people_visible_to
from notifications import schedule_form
from notifications.attribute_rules import rules_of
from notifications.models import Channel, OwnRowsRule, Repeat, Report, Robot, RulesMatch, Subscription
from notifications.recipients import Audience, Reachability, reachability
from notifications.rules_field import RulesField

if TYPE_CHECKING:
    SubscriptionModelForm = forms.ModelForm[Subscription]
else:
    SubscriptionModelForm = forms.ModelForm

USUAL_ZONES = (
    "Asia/Shanghai",
    "Asia/Hong_Kong",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Europe/Berlin",
    "America/New_York",
    "UTC",
)


class SubscriptionForm(SubscriptionModelForm):
    """`person`: the administrator at work, set by the admin. After cleaning, `found` says who would be reached."""

    person: User
    found: Reachability | None = None
    time_zone = forms.ChoiceField(label=capfirst(_("time zone")), initial="Asia/Shanghai")
    local_time = schedule_form.LocalTimeField(label=capfirst(_("at")), required=False)
    weekdays = schedule_form.WeekdaysField(label=capfirst(_("days of the week")), required=False)
    month_day = forms.ChoiceField(
        label=capfirst(_("day of the month")),
        required=False,
        help_text=_("A month that has no such day has its last day instead."),
    )
    rules = RulesField(
        label=_("attribute rules"),
        required=False,
        help_text=_(
            "Whoever matches when a run begins. “is one of”: several values, with semicolons between them. “contains”: "
            "of a text a part, of several values one. Capital and small letters are the same."
        ),
    )

    class Meta:
        model = Subscription
        fields = (
            *("name", "report", "message_form", "priority", "channel", "robot", "fallback_channel"),
            *("to_everyone", "users", "groups", "departments", "with_subdepartments", "rules_match"),
            *("repeat", "local_time", "weekdays", "month_day", "crontab", "free_days", "time_zone", "jitter_seconds"),
            *("skips_empty", "skips_unchanged", "stale_after_minutes", "if_stale"),
            *("valid_from", "valid_to", "grace_minutes", "lifetime_hours", "is_enabled", "is_paused"),
        )
        field_classes = {"departments": DepartmentsField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "report" not in fields:  # somebody who may only look gets no fields
            return
        fields["time_zone"].choices = time_zone_choices()
        fields["month_day"].choices = schedule_form.month_day_choices()
        if self.instance._state.adding:
            self.initial.update(repeat=Repeat.DAILY, local_time=schedule_form.USUAL_TIME)
        fields["report"].queryset = Report.objects.visible_to(self.person)
        fields["robot"].queryset = Robot.objects.visible_to(self.person)
        for name in ("valid_from", "valid_to"):
            fields[name].help_text = _("In the site's time zone, %(zone)s.") % {"zone": settings.TIME_ZONE}
        for name in ("rules_match", "if_stale"):
            fields[name].required = False  # left out, it stays as it is
        if self.instance.pk:
            self.initial["rules"] = list(rules_of(self.instance))
        # Whoever is chosen already may stay, also where this administrator does not see the person.
        chosen = self.instance.users.values_list("pk", flat=True) if self.instance.pk else []
        fields["users"].queryset = people_visible_to(self.person) | User.objects.filter(pk__in=chosen)
        chosen = self.instance.departments.values_list("pk", flat=True) if self.instance.pk else []
        fields["departments"].offer(seen_by=self.person, chosen=list(chosen))

    def clean_crontab(self) -> str:
        return " ".join(str(self.cleaned_data["crontab"]).split())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        schedule_form.check(self, cleaned, now=timezone.now())
        self._check_channel(cleaned)
        self._check_recipients(cleaned)
        return cleaned

    def _check_channel(self, cleaned: dict[str, Any]) -> None:
        """A robot stands where a robot is chosen, and nowhere else; its group is of the report's company."""
        robot, report = cleaned.get("robot"), cleaned.get("report")
        if cleaned.get("channel") != Channel.ROBOT:
            cleaned["robot"] = None
        elif robot is None:
            if "robot" not in self.errors:
                self.add_error("robot", _("Choose the robot of the group."))
        elif report is not None and report.corp_id not in {None, robot.corp_id}:
            self.add_error("robot", _("This robot's group is of another company than the report."))
        elif report is not None and OwnRowsRule.objects.filter(report=report).exists():
            self.add_error("robot", _("Everybody in the group would read the same: own rows cannot go to a robot."))
        if cleaned.get("channel") != Channel.WECOM:
            cleaned["fallback_channel"] = ""

    def _check_recipients(self, cleaned: dict[str, Any]) -> None:
        if "report" not in cleaned or "robot" in self.errors:
            return
        audience = replace(audience_from(cleaned), subscription_id=self.instance.pk)
        self.found = reachability(audience, seen_by=self.person)
        # A disabled one may be saved in any case: or a company that was disabled could not be tidied up after.
        if cleaned.get("is_enabled") and not self.found.concerns_somebody:
            raise ValidationError(refusal(self.found))


def audience_from(cleaned: dict[str, Any]) -> Audience:
    """The people whom a form's values choose."""
    return Audience(
        user_ids=[person.pk for person in cleaned.get("users", ())],
        group_ids=[group.pk for group in cleaned.get("groups", ())],
        to_everyone=bool(cleaned.get("to_everyone")),
        corp_id=cleaned["report"].corp_id,
        department_ids=[department.pk for department in cleaned.get("departments", ())],
        with_subdepartments=bool(cleaned.get("with_subdepartments")),
        rules=tuple(cleaned.get("rules", ())),
        rules_match=cleaned.get("rules_match") or RulesMatch.ALL,
        channel=cleaned.get("channel") or Channel.WECOM,
        fallback_channel=cleaned.get("fallback_channel", ""),
        robot_id=cleaned["robot"].pk if cleaned.get("robot") else None,
    )


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


def unreachable_lines(found: Reachability) -> list[str]:
    """The people named in `found` with their reasons, how many more there are, and where to put it right."""
    lines = [str(_("%(name)s: %(reason)s")) % {"name": who.name, "reason": who.reason} for who in found.unreachable]
    more = found.unreachable_count - len(found.unreachable)
    if more:
        lines.append(ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more})
    if any(who.is_incomplete for who in found.unreachable):
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


def time_zone_choices() -> list[tuple[str, str]]:
    """Usual zones first, then all others by name."""
    others = sorted(available_timezones() - set(USUAL_ZONES))
    return [(name, name) for name in (*USUAL_ZONES, *others)]
