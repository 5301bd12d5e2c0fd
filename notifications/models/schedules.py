"""Abstract model: schedule, shared by subscriptions and alert rules."""

from __future__ import annotations

from typing import Self, TypeVar

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from notifications.models.lookups import Moment

# An hour: what is due at nine still comes before ten.
MAX_JITTER_SECONDS = 60 * 60 - 1

M = TypeVar("M", bound=models.Model, covariant=True)


class Repeat(models.TextChoices):
    """How a schedule is written: by a preset, or by whoever knows crontabs."""

    DAILY = "daily", _("every day")
    WEEKLY = "weekly", _("on days of the week")
    MONTHLY = "monthly", _("once a month")
    CRONTAB = "crontab", _("by a crontab")


class MonthDay(models.TextChoices):
    """The days of a month that are not simply a number."""

    LAST = "last", _("the last day")
    FIRST_WORKDAY = "first_workday", _("the first working day")
    LAST_WORKDAY = "last_workday", _("the last working day")


WORKDAYS_OF_MONTH = (MonthDay.FIRST_WORKDAY, MonthDay.LAST_WORKDAY)


class FreeDays(models.TextChoices):
    """What becomes of a time on a day on which China does not work."""

    SEND = "send", _("send all the same")
    SKIP = "skip", _("leave out: only on working days")
    NEXT = "next", _("send on the next working day")


class ScheduledQuerySet(models.QuerySet[M]):
    def due(self, now: Moment) -> Self:
        return self.filter(is_enabled=True, next_run_at__lte=now)

    def without_times(self) -> Self:
        """Enabled without an end, and yet nothing is to come: their times failed to be worked out."""
        return self.filter(is_enabled=True, next_run_at__isnull=True, valid_to__isnull=True)

    def by_workdays(self) -> Self:
        """Those in whose times the calendar of working days has a say."""
        return self.exclude(~Q(month_day__in=WORKDAYS_OF_MONTH), free_days=FreeDays.SEND)


class Scheduled(models.Model):
    """Has times (notifications.subscriptions.schedules.slots). Whatever is scheduled has `is_enabled`, too."""

    repeat = models.CharField(_("how often"), max_length=16, choices=Repeat.choices, default=Repeat.CRONTAB)
    local_time = models.TimeField(_("at"), null=True, blank=True)
    # Numbers of ISO 8601 (1 is Monday), ascending, with commas.
    weekdays = models.CharField(_("days of the week"), max_length=13, blank=True)
    # A number from 1 to 31, or one of MonthDay.
    month_day = models.CharField(_("day of the month"), max_length=16, blank=True)
    free_days = models.CharField(
        _("on holidays and free weekends"),
        max_length=8,
        choices=FreeDays.choices,
        default=FreeDays.SEND,
        help_text=_("By the calendar of China: weekends on which work is made up for are working days."),
    )
    crontab = models.CharField(
        _("crontab"),
        max_length=128,
        blank=True,
        help_text=_("Five crontab fields: minute, hour, day of month, month, day of week. For example 0 9 * * 1-5."),
    )
    jitter_seconds = models.PositiveIntegerField(
        _("spread (seconds)"),
        default=0,
        validators=[MaxValueValidator(MAX_JITTER_SECONDS)],
        help_text=_(
            "Each time begins up to so much later, so that not everything is sent at once. WeCom asks not to send "
            "exactly on the hour or the half hour."
        ),
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="Asia/Shanghai")
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True)
    valid_to = models.DateTimeField(_("valid to"), null=True, blank=True)
    # Set by notifications.subscriptions.schedules.slots and whoever claims it alone: when it is due, spread included.
    # Empty when no further slot exists.
    next_run_at = models.DateTimeField(_("next run"), null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    @property
    def is_by_workdays(self) -> bool:
        """Whether the calendar of working days has a say in its times."""
        return self.free_days != FreeDays.SEND or self.month_day in WORKDAYS_OF_MONTH

    @property
    def weekday_numbers(self) -> set[int]:
        return {int(number) for number in self.weekdays.split(",") if number}
