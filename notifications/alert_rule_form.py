"""The form of an alert rule: its conditions in lines, its times as those of a subscription."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from integrations.models import Card
from notifications import schedule_form
from notifications.alerts import condition_words, conditions
from notifications.alerts.conditions import ConditionError
from notifications.models import AlertReceiver, AlertRule, Repeat
from notifications.schedule import TIME_FIELDS
from notifications.schedule_form import ScheduleFormPart


class ConditionsField(forms.CharField):
    """Cleans to what AlertRule.conditions keeps."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 10_000, **kwargs})
        self.widget.attrs.update(rows=4, spellcheck="false")

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(condition_words.line_of(one) for one in conditions.from_rows(value))
        return value

    def clean(self, value: Any) -> list[dict[str, Any]]:
        text = super().clean(value)
        try:
            return conditions.to_rows(condition_words.parse(text))
        except ConditionError as error:
            raise ValidationError(condition_words.sentence(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return conditions.to_rows(condition_words.parse(data or "")) != (initial or [])
        except ConditionError:
            return True


class AlertRuleForm(ScheduleFormPart):
    """`person`: the administrator at work, set by the admin."""

    person: User
    conditions = ConditionsField(
        label=_("conditions"),
        help_text=_(
            "One a line: any, all, sum, avg, min, max, count or change (in percent, against the check before), then a "
            "column, then >, >=, <, <=, =, !=, between … and …, outside … and …, is null or changed. After “where” "
            "only rows with these values count. For example: sum 销售额 < 1000 where 城市=上海|北京"
        ),
    )
    tells_from = schedule_form.LocalTimeField(label=capfirst(_("tell from")), required=False)
    tells_to = schedule_form.LocalTimeField(label=capfirst(_("tell until")), required=False)

    class Meta:
        model = AlertRule
        fields = (
            *("name", "is_enabled", "card", "conditions", "join", "severity", "hold_checks", "no_data_checks"),
            *("split_column", "split_attribute", "receiver", "gather_seconds", "repeat_minutes", "tells_recovery"),
            *("tells_from", "tells_to", "tells_on_workdays_only", *TIME_FIELDS),
        )

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

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        schedule_form.check(self, cleaned, now=timezone.now())
        if cleaned.get("split_attribute") and not cleaned.get("split_column"):
            self.add_error(
                "split_column", _("Say which column has the values that people's attribute is compared with.")
            )
        return cleaned
