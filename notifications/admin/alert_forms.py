"""Forms of alert receivers and routes. What cannot work is refused with a sentence."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.scopes import people_visible_to, sees_all_corps
from integrations.core.generics import AnyModelForm
from integrations.models import Card, Corp
from notifications.admin import schedule_forms
from notifications.admin.condition_fields import ConditionsField
from notifications.admin.matcher_fields import MatchersField
from notifications.admin.report_forms import latest_tables
from notifications.admin.schedule_forms import ScheduleFormPart
from notifications.admin.subscription_forms import (
    FIELD_CLASSES,
    RECIPIENT_FIELDS,
    RecipientsFormPart,
    audience_from,
    refusal,
)
from notifications.models import AlertReceiver, AlertRoute, AlertRule, ApiToken, Repeat, SilenceWindow
from notifications.subscriptions.recipients import reachability
from notifications.subscriptions.schedules.slots import TIME_FIELDS


class AlertReceiverForm(RecipientsFormPart):
    class Meta:
        model = AlertReceiver
        fields = ("name", "corp", *RECIPIENT_FIELDS)
        field_classes = FIELD_CLASSES
        help_texts = {
            "robot": _(
                "Only for the channel “group robot”: everybody in its group reads it, and nobody there can act."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "corp" not in fields:  # somebody who may only look gets no fields
            return
        self.offer_recipients()
        fields["corp"].queryset = Corp.objects.visible_to(self.person)
        fields["corp"].required = not sees_all_corps(self.person)
        fields["departments"].help_text = _(
            "Whoever is there when an alert is sent, as the last synchronisation of the directory showed it."
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.check_channel(cleaned)
        robot, corp = cleaned.get("robot"), cleaned.get("corp")
        if robot is not None and corp is not None and robot.corp_id != corp.pk:
            self.add_error("robot", _("This robot's group is of another company."))
        if not self.errors:
            self.found = reachability(audience_from(cleaned, corp=corp), seen_by=self.person)
            # People who cannot be reached now may be later: they are named after saving.
            if not self.found.concerns_somebody and not self.found.unreachable_count:
                raise ValidationError(refusal(self.found))
        return cleaned


class AlertRouteForm(AnyModelForm):
    """`person`: the administrator at work, set by the admin."""

    person: User
    matchers = MatchersField(
        label=_("label matchers"),
        help_text=_(
            "One a line, all must fit: severity=critical, team!=web, instance=~db-*|cache-?, job!~test-*. Behind =~ "
            "stands a pattern with * and ?, no regular expression. Empty: every alert."
        ),
    )

    class Meta:
        model = AlertRoute
        fields = (
            *("name", "is_enabled", "position", "matchers", "goes_on", "senders", "receiver"),
            *("severity_label", "critical_values", "warning_values", "default_severity"),
            *("gather_seconds", "repeat_minutes", "notifies_recovery"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "receiver" not in fields:
            return
        fields["receiver"].queryset = AlertReceiver.objects.visible_to(self.person)
        chosen = self.instance.senders.values_list("pk", flat=True) if self.instance.pk else []
        seen = ApiToken.objects.visible_to(self.person).filter(may_alert=True, revoked_at__isnull=True)
        fields["senders"].queryset = seen | ApiToken.objects.filter(pk__in=chosen)
        if self.instance.is_limited_to_senders and not chosen:
            fields["senders"].help_text = _(
                "All its senders were deleted, so it takes nothing. Saved without senders, it takes alerts of every "
                "token that reaches this company."
            )

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if "senders" in self.cleaned_data:
            self.instance.is_limited_to_senders = bool(self.cleaned_data["senders"])
        return cleaned


class LabelsForm(forms.Form):
    """Labels to try routes with."""

    labels = MatchersField(
        required=True,
        label=_("labels of an alert"),
        help_text=_("One a line, for example alertname=DiskFull and severity=critical."),
    )

    def clean_labels(self) -> dict[str, str]:
        rows: list[list[str]] = self.cleaned_data["labels"]
        if any(comparison != "=" for _name, comparison, _value in rows):
            raise ValidationError(_("Write each label as name=value."))
        return {name: value for name, _comparison, value in rows}


# --- The form of an alert rule: its conditions in rows, its times as those of a subscription ---


class AlertRuleForm(ScheduleFormPart):
    """`person`: the administrator at work, set by the admin."""

    person: User
    conditions = ConditionsField(
        label=_("conditions"),
        help_text=_(
            "Each row one condition. “change” is in percent, of the sum against the check before. Between and outside "
            "take two values. “only rows with” narrows the data before: column=value, | between several values of a "
            "column, ; between columns."
        ),
    )
    notify_from = schedule_forms.LocalTimeField(label=capfirst(_("tell from")), required=False)
    notify_until = schedule_forms.LocalTimeField(label=capfirst(_("tell until")), required=False)

    class Meta:
        model = AlertRule
        fields = (
            *("name", "is_enabled", "card", "conditions", "join", "severity", "hold_checks", "no_data_checks"),
            *(
                "split_column",
                "absent_checks",
                "split_attribute",
                "receiver",
                "owner",
                "gather_seconds",
                "repeat_minutes",
                "notifies_recovery",
            ),
            *("notify_from", "notify_until", "notifies_on_workdays_only", *TIME_FIELDS),
        )

        help_texts = {"owner": _("Is told when an alert of this rule reaches nobody. Empty: whoever adds the rule.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "card" not in fields:
            return
        self.offer_times()
        if self.instance._state.adding:
            self.initial.update(repeat=Repeat.CRONTAB, crontab="*/10 * * * *")
        fields["card"].queryset = Card.objects.visible_to(self.person).select_related("source")
        fields["receiver"].queryset = AlertReceiver.objects.visible_to(self.person)
        fields["owner"].queryset = people_visible_to(self.person).filter(is_staff=True) | User.objects.filter(
            pk=self.instance.owner_id
        )
        fields["conditions"].widget.names = self._column_names()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        schedule_forms.check(self, cleaned, now=timezone.now())
        if cleaned.get("split_attribute") and not cleaned.get("split_column"):
            self.add_error(
                "split_column", _("Say which column has the values that people's attribute is compared with.")
            )
        return cleaned

    def _column_names(self) -> list[str]:
        """Of the card as it was fetched last; none for one of which nothing was."""
        tables = latest_tables({"": self.instance.card_id}) if self.instance.card_id else {}
        return list(tables[""].names) if tables else []


class SilenceWindowForm(AnyModelForm):
    weekdays = schedule_forms.WeekdaysField(label=capfirst(_("days of the week")), required=False)
    from_time = schedule_forms.LocalTimeField(label=capfirst(_("from (time of day)")), required=False)
    to_time = schedule_forms.LocalTimeField(label=capfirst(_("until (time of day)")), required=False)

    class Meta:
        model = SilenceWindow
        fields = ("name", "kind", "weekdays", "from_time", "to_time", "starts_at", "ends_at")
        labels = {
            "starts_at": pgettext_lazy("silence window", "From"),
            "ends_at": pgettext_lazy("silence window", "Until"),
        }
