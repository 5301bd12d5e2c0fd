"""When people are told nothing of a rule, however wrong things are: maintenance, nights, holidays of a plant."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from notifications.models.alert_rules import AlertRule


class SilenceWindow(models.Model):
    """A named stretch of time, once or every week, in which the rule tells nothing. What still lasts is told after."""

    class Kind(models.TextChoices):
        WEEKLY = "weekly", pgettext_lazy("silence window", "every week")
        ONCE = "once", pgettext_lazy("silence window", "once")

    rule = models.ForeignKey(
        AlertRule, on_delete=models.CASCADE, related_name="silence_windows", verbose_name=_("alert rule")
    )
    name = models.CharField(_("name"), max_length=64)
    kind = models.CharField(_("how often"), max_length=16, choices=Kind.choices, default=Kind.WEEKLY)
    # Weekly, in the rule's time zone: numbers of ISO 8601 with commas; an end before the start is on the next day.
    weekdays = models.CharField(_("days of the week"), max_length=13, blank=True)
    from_time = models.TimeField(_("from (time of day)"), null=True, blank=True)
    to_time = models.TimeField(_("until (time of day)"), null=True, blank=True)
    # Once.
    starts_at = models.DateTimeField(_("from"), null=True, blank=True)
    ends_at = models.DateTimeField(_("until"), null=True, blank=True)

    class Meta:
        verbose_name = _("silence window")
        verbose_name_plural = _("silence windows")
        ordering = ["pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.kind == self.Kind.WEEKLY and not (self.weekdays and self.from_time and self.to_time):
            raise ValidationError(_("Every week: choose days, and from when until when."))
        if self.kind == self.Kind.ONCE and not (self.starts_at and self.ends_at and self.starts_at < self.ends_at):
            raise ValidationError(_("Once: say from when until when; the end must be later than the start."))

    @property
    def weekday_numbers(self) -> set[int]:
        return {int(number) for number in self.weekdays.split(",") if number}
