"""The form of an alert rule: its conditions in rows, its times as those of a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.visibility import people_visible_to
from integrations.models import Card
from notifications import schedule_form
from notifications.conditions_field import ConditionsField
from notifications.models import AlertReceiver, AlertRule, Repeat, SilenceWindow
from notifications.report_form import latest_tables
from notifications.schedule import TIME_FIELDS
from notifications.schedule_form import ScheduleFormPart

if TYPE_CHECKING:
    SilenceWindowModelForm = forms.ModelForm[SilenceWindow]
else:
    SilenceWindowModelForm = forms.ModelForm


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
    tells_from = schedule_form.LocalTimeField(label=capfirst(_("tell from")), required=False)
    tells_to = schedule_form.LocalTimeField(label=capfirst(_("tell until")), required=False)

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
                "tells_recovery",
            ),
            *("tells_from", "tells_to", "tells_on_workdays_only", *TIME_FIELDS),
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
        schedule_form.check(self, cleaned, now=timezone.now())
        if cleaned.get("split_attribute") and not cleaned.get("split_column"):
            self.add_error(
                "split_column", _("Say which column has the values that people's attribute is compared with.")
            )
        return cleaned

    def _column_names(self) -> list[str]:
        """Of the card as it was fetched last; none for one of which nothing was."""
        tables = latest_tables({"": self.instance.card_id}) if self.instance.card_id else {}
        return list(tables[""].names) if tables else []


class SilenceWindowForm(SilenceWindowModelForm):
    weekdays = schedule_form.WeekdaysField(label=capfirst(_("days of the week")), required=False)
    from_time = schedule_form.LocalTimeField(label=capfirst(_("from (time of day)")), required=False)
    to_time = schedule_form.LocalTimeField(label=capfirst(_("until (time of day)")), required=False)

    class Meta:
        model = SilenceWindow
        fields = ("name", "kind", "weekdays", "from_time", "to_time", "starts_at", "ends_at")
        labels = {
            "starts_at": pgettext_lazy("silence window", "From"),
            "ends_at": pgettext_lazy("silence window", "Until"),
        }
