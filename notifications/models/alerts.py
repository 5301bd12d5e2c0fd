"""Alert rules: conditions watched on a card's data, their checks, incidents, and notices about them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Attribute, User
from accounts.users.roles import make_scope_condition
from integrations.core import sentences
from integrations.models import Card, Corp
from integrations.models.jobs import Moment
from notifications.models.recipients import ForCompany, ScopedQuerySet, WithRecipients
from notifications.models.runs import RunStatus
from notifications.models.subscriptions import ScheduledQuerySet, StandingOrder

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.fields import Person
    from notifications.models.inbound import InboundChannel


TITLE_CHARACTERS = 128
KEY_CHARACTERS = 80
CODE_CHARACTERS = 255
WEEK_MINUTES = 7 * 24 * 60
GATHER_SECONDS_AT_MOST = 60 * 60
# WeCom's limit: a response_code works once within this time.
CODE_LIFETIME = timedelta(hours=72)


class Severity(models.TextChoices):
    CRITICAL = "critical", pgettext_lazy("severity", "critical")
    WARNING = "warning", pgettext_lazy("severity", "warning")
    INFO = "info", pgettext_lazy("severity", "information")


class AlertSource(models.Model):
    """Base of alert rules and inbound channels of alerts: how often people are notified."""

    repeat_minutes = models.PositiveIntegerField(
        _("remind every (minutes)"),
        default=0,
        db_default=0,
        validators=[MaxValueValidator(WEEK_MINUTES)],
        help_text=_("While the incident lasts and nobody has taken it. 0: no reminder."),
    )
    notifies_recovery = models.BooleanField(_("notify when it is over"), default=True, db_default=True)
    gather_seconds = models.PositiveIntegerField(
        _("combine for (seconds)"),
        default=60,
        db_default=60,
        validators=[MaxValueValidator(GATHER_SECONDS_AT_MOST)],
        help_text=_("Alerts within this time after a message are sent as one message with a count and a list."),
    )
    # New incidents before this time wait for it, and people get one message about them.
    gather_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


class IncidentQuerySet(ScopedQuerySet["Incident"]):
    def with_people(self) -> Self:
        """Incidents loaded with their channel's owner, the attribute that chooses people, and who acted on them."""
        people = ("channel__owner", "rule__split_attribute", "acknowledged_by", "silenced_by")
        return self.select_related(*people).defer("channel__last_payload")

    def open(self) -> Self:
        return self.filter(status=Incident.Status.OPEN)

    def unacknowledged(self) -> Self:
        return self.filter(acknowledged_at__isnull=True)

    def silent(self, now: datetime) -> Self:
        """Incidents that a person has silenced until later than `now`."""
        return self.filter(silenced_until__gt=now)

    def notice_due(self, now: Moment) -> Self:
        """Incidents with a due notice, and no earlier notice still under way."""
        on_the_way = IncidentEvent.objects.filter(
            incident=OuterRef("pk"), run__status__in=[RunStatus.WAITING, RunStatus.SENDING]
        )
        return self.filter(~Exists(on_the_way), notice_due_at__lte=now)


class Incident(models.Model):
    """A time in which something was wrong, perhaps with short breaks. At most one is open per key."""

    class Status(models.TextChoices):
        OPEN = "open", pgettext_lazy("incident", "open")
        RESOLVED = "resolved", pgettext_lazy("incident", "over")

    class Kind(models.TextChoices):
        FIRING = "firing", _("condition")
        NO_DATA = "no_data", _("no data")

    class Notice(models.TextChoices):
        FIRE = "fire", _("alert")
        REPEAT = "repeat", _("reminder")
        RECOVER = "recover", _("recovery")

    # Set only on unsaved incidents that apply_reports takes: whether the rule's previous check reported it, too.
    is_repeated = False
    # Rule or channel, kind, and split value or fingerprint: notifications.alerts.incidents.make_key.
    key = models.CharField(max_length=KEY_CHARACTERS)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices, default=Kind.FIRING)
    channel = models.ForeignKey(
        "notifications.InboundChannel",
        on_delete=models.SET_NULL,
        null=True,
        related_name="incidents",
        verbose_name=_("inbound channel"),
    )
    rule = models.ForeignKey(
        "notifications.AlertRule",
        on_delete=models.SET_NULL,
        null=True,
        related_name="incidents",
        verbose_name=_("alert rule"),
    )
    # For a split rule: the value of the split column.
    part = models.CharField(_("part"), max_length=255, blank=True)
    # The company of the recipients or channel when it opened (empty: every company): it decides who sees the incident.
    corp = models.ForeignKey(
        Corp, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("only for the company")
    )
    # For a rule: the card that is watched. It decides which administrators see the pictures.
    card = models.ForeignKey(Card, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("data"))
    title = models.CharField(_("title"), max_length=TITLE_CHARACTERS)
    summary = models.TextField(_("summary"), blank=True)
    severity = models.CharField(_("severity"), max_length=16, choices=Severity.choices, default=Severity.WARNING)
    labels = models.JSONField(_("labels"), default=dict)
    link = models.CharField(_("link"), max_length=2048, blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.OPEN)
    # starts_at, ends_at: as the source says. opened_at, seen_at, resolved_at: the first and last report, and the end.
    starts_at = models.DateTimeField(_("began"))
    ends_at = models.DateTimeField(_("ended"), null=True)
    # The latest beginning that the source named: an end before it belongs to an earlier stretch.
    stretch_at = models.DateTimeField()
    opened_at = models.DateTimeField(_("opened"))
    seen_at = models.DateTimeField(_("last reported"))
    resolved_at = models.DateTimeField(_("over since"), null=True)
    # An incident closed by hand stays closed, however long its source goes on reporting it.
    is_closed_by_hand = models.BooleanField(default=False, editable=False)
    acknowledged_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("taken by")
    )
    acknowledged_at = models.DateTimeField(_("taken"), null=True)
    silenced_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("silenced by")
    )
    silenced_until = models.DateTimeField(_("silent until"), null=True)
    reopened_count = models.PositiveIntegerField(_("began again"), default=0)
    # Alerts that the sender left out of its message.
    truncated_count = models.PositiveIntegerField(_("left out by the sender"), default=0)
    # The next notice and its time, and the last one. Set only by notifications.alerts.incidents and notify.
    notice_kind = models.CharField(max_length=16, choices=Notice.choices, blank=True)
    notice_due_at = models.DateTimeField(null=True)
    notified_at = models.DateTimeField(_("last notified"), null=True)
    repeat_count = models.PositiveIntegerField(_("reminders"), default=0)
    recovery_count = models.PositiveIntegerField(default=0)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        verbose_name = _("incident")
        verbose_name_plural = _("incidents")
        ordering = ["-pk"]
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=Q(status="open"), name="one_open_incident_per_key")
        ]
        indexes = [
            # The newest incident of a key: notifications.alerts.incidents.apply_reports.
            models.Index(F("key"), F("id").desc(), name="incident_of_key"),
            models.Index(
                fields=["notice_due_at"], condition=Q(notice_due_at__isnull=False), name="incident_notice_due"
            ),
            models.Index(fields=["-id"], condition=Q(status="open"), name="incident_open"),
            # The list by day, and the purge: notifications.delivery.maintenance.
            models.Index(fields=["opened_at"], name="incident_opened"),
            models.Index(fields=["resolved_at"], condition=Q(status="resolved"), name="incident_over"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.status == self.Status.OPEN

    @property
    def source(self) -> AlertRule | InboundChannel | None:
        """The rule or channel that opened it; None if that was deleted."""
        return self.channel if self.rule is None else self.rule

    def is_silenced(self, now: datetime) -> bool:
        return self.silenced_until is not None and self.silenced_until > now


class IncidentEvent(models.Model):
    """A line of an incident's timeline: when, what, and who, if a person did it. A line of the kind NOTIFIED also names
    the run that reports the incident; one run may report many incidents."""

    class Kind(models.TextChoices):
        OPENED = "opened", pgettext_lazy("incident event", "opened")
        REOPENED = "reopened", pgettext_lazy("incident event", "began again")
        NOTIFIED = "notified", pgettext_lazy("incident event", "notified")
        ACKNOWLEDGED = "taken", pgettext_lazy("incident event", "taken")
        SILENCED = "silenced", pgettext_lazy("incident event", "silenced")
        UNSILENCED = "unsilenced", pgettext_lazy("incident event", "silence ended")
        RESOLVED = "resolved", pgettext_lazy("incident event", "over")
        CLOSED = "closed", pgettext_lazy("incident event", "closed by hand")
        REFUSED = "refused", pgettext_lazy("incident event", "click refused")
        LATE = "late", pgettext_lazy("incident event", "clicked after the end")

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="events", verbose_name=_("incident"))
    kind = models.CharField(pgettext_lazy("incident event", "what"), max_length=16, choices=Kind.choices)
    at = models.DateTimeField(_("when"))
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("who"))
    note = models.TextField(_("note"), blank=True)
    # Only of the kind NOTIFIED: the run (until it is purged) and the notice. `number` counts the reminders, and the
    # recoveries, of one incident.
    run = models.ForeignKey("notifications.Run", on_delete=models.SET_NULL, null=True, related_name="incident_events")
    notice = models.CharField(max_length=16, choices=Incident.Notice.choices, blank=True)
    number = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name = _("incident event")
        verbose_name_plural = _("incident events")
        ordering = ["at", "pk"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["incident", "notice", "number"], condition=~Q(notice=""), name="one_notice_of_an_incident"
            )
        ]

    def __str__(self) -> str:
        return f"{self.incident_id} {self.kind}"

    @property
    def note_text(self) -> str:
        """The note in the active language."""
        return sentences.translate_stored(self.note)


class AlertCard(models.Model):
    """The state of a sent card of WeCom about incidents, since its first click or change; not a Card, which is data.
    Stale: it may be out of date."""

    delivery = models.OneToOneField("Delivery", on_delete=models.CASCADE, related_name="+")
    # Digest of the state that it shows: notifications.alerts.notices.make_digest.
    shown = models.CharField(max_length=64, blank=True)
    is_stale = models.BooleanField(default=True)
    # When the card is due. Claiming the card sets this to the end of the worker's lease; marking the card stale or
    # postponing it changes it again. So a worker that finds another value than it read has lost the card.
    next_try_at = models.DateTimeField()
    try_count = models.PositiveIntegerField(default=0)
    # Each response_code lets the card be changed once. One comes with the message, another with each click. Items:
    # `code`; as ISO 8601 `received_at` and `used_at` (null until used). Only alerts.card_updates writes, with a lock.
    codes = models.JSONField(default=list)

    class Meta:
        verbose_name = _("alert card")
        verbose_name_plural = _("alert cards")
        default_permissions = ()
        indexes = [models.Index(fields=["next_try_at"], condition=Q(is_stale=True), name="alert_card_stale")]

    def __str__(self) -> str:
        return str(self.delivery_id)

    def find_usable_codes(self, now: datetime) -> list[dict[str, Any]]:
        """Return the unused codes that WeCom still takes, the newest first."""
        unused = [(datetime.fromisoformat(one["received_at"]), one) for one in self.codes if one["used_at"] is None]
        found = sorted(unused, key=lambda pair: pair[0])[::-1]
        return [one for received_at, one in found if received_at > now - CODE_LIFETIME]


CHECKS_AT_MOST = 100


class AlertRuleQuerySet(ScheduledQuerySet["AlertRule"]):
    def visible_to(self, person: Person) -> Self:
        """Rules whose company and card `person` sees, because the rule names people and the card shows data."""
        return self.filter(make_scope_condition(person), card__in=Card.objects.visible_to(person))

    def unnotified(self) -> Self:
        """Broken rules whose owner is not notified yet."""
        return self.filter(is_enabled=True, is_broken=True, owner_notified_at__isnull=True, owner__isnull=False)

    def interrupted(self) -> Self:
        """Disabled rules with counts of checks in a row, which begin anew when the rule is enabled again."""
        return self.filter(is_enabled=False).exclude(holding={}, absent={})

    def depending_on_workdays(self) -> Self:
        """Rules whose times or notices depend on the calendar of working days."""
        return super().depending_on_workdays() | self.filter(notifies_on_workdays_only=True)


class AlertRule(WithRecipients, ForCompany, AlertSource, StandingOrder):
    """A condition watched on a card, and who is notified. `corp`: the company of the recipients, not of the card."""

    class Join(models.TextChoices):
        ALL = "all", pgettext_lazy("conditions", "all of them hold")
        ANY = "any", pgettext_lazy("conditions", "any of them holds")

    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="+", verbose_name=_("data"))
    severity = models.CharField(_("severity"), max_length=16, choices=Severity.choices, default=Severity.WARNING)
    # Written by notifications.alerts.conditions.
    conditions = models.JSONField(_("conditions"), default=list)
    join = models.CharField(_("it fires when"), max_length=3, choices=Join.choices, default=Join.ALL)
    hold_checks = models.PositiveSmallIntegerField(
        _("checks in a row before it fires"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(CHECKS_AT_MOST)],
    )
    no_data_checks = models.PositiveSmallIntegerField(
        _("notify of missing data after (checks)"),
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(CHECKS_AT_MOST)],
        help_text=_("A check without data does not end an incident."),
    )
    split_column = models.CharField(
        _("split by column"),
        max_length=128,
        blank=True,
        help_text=_("Each value of it is watched separately and has its own incidents. Empty: all rows together."),
    )
    absent_checks = models.PositiveSmallIntegerField(
        _("end an incident if its value is missing for (checks)"),
        default=0,
        validators=[MaxValueValidator(CHECKS_AT_MOST)],
        help_text=_(
            "0: never. If the data lists only problems, enter 1 or more: after this many checks without the value, "
            "its incident ends."
        ),
    )
    split_attribute = models.ForeignKey(
        Attribute,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("notify only people with that value in"),
        help_text=_("Of the chosen people, only those are notified whose attribute has the value of the column."),
    )
    # When people may be notified. An incident that opens at another time is reported at notify_from if it still lasts.
    notify_from = models.TimeField(_("notify from"), null=True, blank=True)
    notify_until = models.TimeField(_("notify until"), null=True, blank=True)
    notifies_on_workdays_only = models.BooleanField(_("notify on working days only"), default=False)

    # Set only by notifications.alerts.evaluation.
    checked_slot_at = models.DateTimeField(_("last check"), null=True, editable=False)
    # A digest of what the last check watched: if it changes, counting begins anew.
    watched = models.CharField(max_length=64, default="", db_default="", editable=False)
    # By part. `holding`: in how many checks in a row its condition held. `memory`: numbers for the next comparison.
    holding = models.JSONField(default=dict, editable=False)
    memory = models.JSONField(default=dict, editable=False)
    # By key of an open incident: in how many checks in a row its split value was missing from the data.
    absent = models.JSONField(default=dict, editable=False)
    failure_count = models.PositiveIntegerField(default=0, editable=False)
    problem = models.CharField(_("why there was no data"), max_length=255, blank=True, editable=False)
    # The data lacks a card or column that the rule names: it opens no incident until that is repaired. The owner is
    # notified once (notifications.alerts.evaluation).
    is_broken = models.BooleanField(default=False, db_default=False, editable=False)
    owner_notified_at = models.DateTimeField(null=True, editable=False)

    rule_column = "alert_rule"  # the foreign key of AttributeRule to this model
    objects = AlertRuleQuerySet.as_manager()

    class Meta:
        verbose_name = _("alert rule")
        verbose_name_plural = _("alert rules")
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["next_run_at"], condition=Q(is_enabled=True), name="alert_rule_due"),
            # AlertRuleQuerySet.unnotified().
            models.Index(
                fields=["id"], condition=Q(is_broken=True, owner_notified_at__isnull=True), name="alert_rule_untold"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def only_corp_id(self) -> int | None:
        return self.corp_id


class AlertCheck(models.Model):
    """A check of a rule for a slot, made once: it waits for the card's data, then is decided."""

    class Outcome(models.TextChoices):
        WAITING = "waiting", _("waiting")
        FIRING = "firing", pgettext_lazy("check", "holds")
        FINE = "fine", pgettext_lazy("check", "does not hold")
        NO_DATA = "no_data", _("no data")
        LATE = "late", pgettext_lazy("check", "arrived after a later check")

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="checks", verbose_name=_("alert rule"))
    card = models.ForeignKey(Card, on_delete=models.CASCADE, related_name="+")
    slot_at = models.DateTimeField(_("scheduled for"))
    requested_at = models.DateTimeField()
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices, default=Outcome.WAITING)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("check of an alert rule")
        verbose_name_plural = _("checks of alert rules")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["rule", "slot_at"], name="one_check_per_rule_and_slot")]
        indexes = [
            # For checks that wait for a card's data, and for checks that are old.
            models.Index(fields=["card", "slot_at"], condition=Q(outcome="waiting"), name="alert_check_waiting"),
            models.Index(fields=["requested_at"], name="alert_check_age"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.slot_at:%Y-%m-%d %H:%M}"


# --- Silences: maintenance, nights, holidays of a plant ---


class SilenceWindow(models.Model):
    """A named time, once or weekly, without notices. Incidents that outlast it are reported afterwards."""

    class Kind(models.TextChoices):
        WEEKLY = "weekly", pgettext_lazy("silence window", "every week")
        ONCE = "once", pgettext_lazy("silence window", "once")

    rule = models.ForeignKey(
        AlertRule, on_delete=models.CASCADE, related_name="silence_windows", verbose_name=_("alert rule")
    )
    name = models.CharField(_("name"), max_length=64)
    kind = models.CharField(_("how often"), max_length=16, choices=Kind.choices, default=Kind.WEEKLY)
    # Weekly, in the rule's time zone: ISO 8601 numbers separated by commas; an end before the start is on the next day.
    weekdays = models.CharField(_("days of the week"), max_length=13, blank=True)
    from_time = models.TimeField(_("from (time of day)"), null=True, blank=True)
    to_time = models.TimeField(_("until (time of day)"), null=True, blank=True)
    # Once.
    starts_at = models.DateTimeField(pgettext_lazy("silence window", "from"), null=True, blank=True)
    ends_at = models.DateTimeField(pgettext_lazy("silence window", "until"), null=True, blank=True)

    class Meta:
        verbose_name = _("silence window")
        verbose_name_plural = _("silence windows")
        ordering = ["pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.kind == self.Kind.WEEKLY and not (self.weekdays and self.from_time and self.to_time):
            raise ValidationError(_("Every week: choose the days, and the times when the silence begins and ends."))
        if self.kind == self.Kind.ONCE and not (self.starts_at and self.ends_at and self.starts_at < self.ends_at):
            raise ValidationError(_("Once: enter the start and a later end."))

    @property
    def weekday_numbers(self) -> set[int]:
        return {int(number) for number in self.weekdays.split(",") if number}
