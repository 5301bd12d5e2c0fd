"""Alert rules: conditions watched on the data of a card, when they are checked, and each check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Attribute, User
from integrations.models import Card
from notifications.models.alert_receivers import AlertReceiver
from notifications.models.alerts import TITLE_CHARACTERS, AlertSource, Severity
from notifications.models.recipients import Succeeded
from notifications.models.runs import Run
from notifications.models.subscriptions import Scheduled, ScheduledQuerySet

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.fields import Person


CHECKS_AT_MOST = 100


class AlertRuleQuerySet(ScheduledQuerySet["AlertRule"]):
    def visible_to(self, person: Person) -> Self:
        """Whoever sees both its receiver and its card: the one names people, the other shows data."""
        return self.filter(
            receiver__in=AlertReceiver.objects.visible_to(person), card__in=Card.objects.visible_to(person)
        )

    def untold(self) -> Self:
        """Broken rules whose owner does not know yet."""
        return self.filter(is_enabled=True, is_broken=True, owner_notified_at__isnull=True, owner__isnull=False)

    def interrupted(self) -> Self:
        """Disabled rules of which checks held in a row: when they are enabled again, that begins anew."""
        return self.filter(is_enabled=False).exclude(holding={}, absent={})

    def by_workdays(self) -> Self:
        """Also those of which people are told on working days only, whenever they are checked."""
        return super().by_workdays() | self.filter(notifies_on_workdays_only=True)


class AlertRule(AlertSource, Scheduled, Succeeded):
    """A condition watched on a card."""

    class Join(models.TextChoices):
        ALL = "all", pgettext_lazy("conditions", "all of them hold")
        ANY = "any", pgettext_lazy("conditions", "any of them holds")

    name = models.CharField(_("name"), max_length=TITLE_CHARACTERS)
    is_enabled = models.BooleanField(pgettext_lazy("switch", "enabled"), default=True)
    receiver = models.ForeignKey(
        AlertReceiver, on_delete=models.PROTECT, related_name="+", verbose_name=_("recipients")
    )
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="+", verbose_name=_("card"))
    owner = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("owner")
    )
    severity = models.CharField(_("severity"), max_length=16, choices=Severity.choices, default=Severity.WARNING)
    # As notifications.alerts.conditions writes them.
    conditions = models.JSONField(_("conditions"), default=list)
    join = models.CharField(_("it fires when"), max_length=3, choices=Join.choices, default=Join.ALL)
    hold_checks = models.PositiveSmallIntegerField(
        _("for so many checks in a row"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(CHECKS_AT_MOST)],
    )
    no_data_checks = models.PositiveSmallIntegerField(
        _("tell of missing data after (checks)"),
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(CHECKS_AT_MOST)],
        help_text=_("A check without data ends no incident."),
    )
    split_column = models.CharField(
        _("split by the column"),
        max_length=128,
        blank=True,
        help_text=_("Each value of it is watched by itself and has incidents of its own. Empty: all rows together."),
    )
    absent_checks = models.PositiveSmallIntegerField(
        _("a value that is no longer there is over after (checks)"),
        default=0,
        validators=[MaxValueValidator(CHECKS_AT_MOST)],
        help_text=_(
            "0: never. Where the data lists problems only, enter 1 or more: after so many checks without the value, "
            "it is over."
        ),
    )
    split_attribute = models.ForeignKey(
        Attribute,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("only people with that value in"),
        help_text=_("Of the people chosen, those alone are told whose attribute has the value of the column."),
    )
    # When people may be told; an incident that opens at another time is told then, if it still lasts.
    notify_from = models.TimeField(_("tell from"), null=True, blank=True)
    notify_until = models.TimeField(_("tell until"), null=True, blank=True)
    notifies_on_workdays_only = models.BooleanField(_("tell on working days only"), default=False)

    # Set by notifications.alerts.evaluation alone.
    checked_slot_at = models.DateTimeField(_("last check"), null=True, editable=False)
    # A digest of what the last check watched: where it is another, checks begin anew.
    watched = models.CharField(max_length=64, default="", db_default="", editable=False)
    # By part: how many checks in a row it held, before it fires; and what the next check compares with.
    holding = models.JSONField(default=dict, editable=False)
    memory = models.JSONField(default=dict, editable=False)
    # By the key of an open incident: in how many checks in a row its value of the split was not in the data.
    absent = models.JSONField(default=dict, editable=False)
    failure_count = models.PositiveIntegerField(default=0, editable=False)
    problem = models.CharField(_("why there was no answer"), max_length=255, blank=True, editable=False)
    # Its data lacks a column or a card that it names: it raises nothing until that is put right. The owner is told once
    # (notifications.alerts.evaluation).
    is_broken = models.BooleanField(default=False, db_default=False, editable=False)
    owner_notified_at = models.DateTimeField(null=True, editable=False)
    owner_notice = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+", editable=False)
    # Of the page that made it: sent twice, it makes one rule.
    form_key = models.CharField(max_length=32, unique=True, null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = AlertRuleQuerySet.as_manager()

    class Meta:
        verbose_name = _("alert rule")
        verbose_name_plural = _("alert rules")
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["next_run_at"], condition=Q(is_enabled=True), name="alert_rule_due"),
            # AlertRuleQuerySet.untold().
            models.Index(
                fields=["id"], condition=Q(is_broken=True, owner_notified_at__isnull=True), name="alert_rule_untold"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete its people with it."""
        found = super().delete(*args, **kwargs)
        AlertReceiver.objects.filter(pk=self.receiver_id).exclude(pk__in=AlertRule.objects.values("receiver")).delete()
        return found


class AlertCheck(models.Model):
    """One check of a rule, once for a slot: it waits for the card's data, then is decided."""

    class Outcome(models.TextChoices):
        WAITING = "waiting", _("waiting")
        FIRING = "firing", pgettext_lazy("check", "holds")
        FINE = "fine", pgettext_lazy("check", "does not hold")
        NO_DATA = "no_data", _("no data")
        LATE = "late", pgettext_lazy("check", "came after a later one")

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="checks", verbose_name=_("alert rule"))
    card = models.ForeignKey(Card, on_delete=models.CASCADE, related_name="+")
    slot_at = models.DateTimeField(_("for"))
    requested_at = models.DateTimeField()
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices, default=Outcome.WAITING)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("check of an alert rule")
        verbose_name_plural = _("checks of alert rules")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["rule", "slot_at"], name="one_check_per_rule_and_slot")]
        indexes = [
            # Who waits for the data of a card; and what waits too long.
            models.Index(fields=["card", "slot_at"], condition=Q(outcome="waiting"), name="alert_check_waiting"),
            models.Index(fields=["requested_at"], name="alert_check_age"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.slot_at:%Y-%m-%d %H:%M}"


# --- When people are told nothing of a rule, however wrong things are: maintenance, nights, holidays of a plant ---


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
