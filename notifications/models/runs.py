"""Runs: executions of subscriptions, and sendings of alerts, notices and messages of other systems."""

from __future__ import annotations

from typing import Self, TypeAlias

from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.roles import sees_rows_without_corp
from integrations.core import sentences
from integrations.models import Corp
from integrations.models.fields import EVERYTHING, Person
from integrations.models.jobs import Moment

# The longest Idempotency-Key.
KEY_CHARACTERS = 200


class RunStatus(models.TextChoices):
    """The statuses of Run, defined apart because queries of other models use them."""

    WAITING = "waiting", _("waiting")
    SENDING = "sending", _("sending")
    FINISHED = "finished", _("finished")
    MISSED = "missed", _("missed")
    FAILED = "failed", _("failed")
    # Not sent because of the conditions of the subscription; this is no failure.
    SKIPPED = "skipped", _("not sent")


# A finished run that did not reach everybody says so in `error`.
_WENT_WRONG = Q(status__in=["missed", "failed"]) | (Q(status="finished") & ~Q(error=""))


class RunQuerySet(models.QuerySet["Run"]):
    def unrendered(self, now: Moment) -> Self:
        """Filter runs whose rendering task was lost, or failed and may be tried again."""
        return self.filter(status=Run.Status.WAITING, render_after__lte=now)

    def under_way(self) -> Self:
        """Filter whole runs that have not ended. A subscription has one at a time."""
        return self.filter(status__in=[Run.Status.WAITING, Run.Status.SENDING]).exclude(trigger__in=Run.PARTIAL)

    def went_wrong(self) -> Self:
        """Filter runs that were missed, failed, or ended without reaching everybody."""
        return self.filter(_WENT_WRONG)

    def unnotified(self) -> Self:
        """Filter runs that went wrong, whose owner (of subscription, rule, token or channel) is not notified yet."""
        wrong = self.went_wrong().filter(owner_notified_at__isnull=True)
        return wrong.exclude(trigger__in=[Run.Trigger.TRIAL, Run.Trigger.NOTICE])

    def visible_to(self, person: Person) -> Self:
        """Filter runs of visible companies, and runs of messages that `person` sent to all companies."""
        return self.filter(run_condition(person))


def run_condition(person: Person, *, path: str = "") -> Q:
    """Return the condition that `person` may see a run. `path`: from the filtered model to the run, such as `run__`."""
    if sees_rows_without_corp(person):
        return EVERYTHING
    visible = Q(**{f"{path}corp__in": Corp.objects.keys_visible_to(person)})
    if isinstance(person, User):
        visible |= Q(**{f"{path}message__requested_by": person.pk, f"{path}corp__isnull": True})
    return visible


class Run(models.Model):
    """An execution of a subscription: for a slot of its schedule, by hand, or as a trial for one person.

    Notices to owners, alerts about incidents and messages of other systems are runs without a subscription.
    """

    class Trigger(models.TextChoices):
        SCHEDULE = "schedule", _("schedule")
        MANUAL = "manual", _("by hand")
        TRIAL = "trial", _("trial")
        RESEND = "resend", _("sent again")
        URL = "url", _("by URL")
        DATA_UPDATE = "data_update", _("after a data update")
        NOTICE = "notice", _("notice to the owner")
        ALERT = "alert", pgettext_lazy("trigger", "alert")
        MESSAGE = "message", _("message of another system")

    # Triggers of runs that do not go to all recipients of a push. A whole run of the push may be under way meanwhile.
    PARTIAL = (Trigger.TRIAL, Trigger.RESEND, Trigger.NOTICE, Trigger.ALERT, Trigger.MESSAGE)

    # Triggers of runs whose content comes from no subscription.
    WITHOUT_SUBSCRIPTION = (Trigger.NOTICE, Trigger.ALERT, Trigger.MESSAGE)

    Status: TypeAlias = RunStatus

    # Identifies the execution, so that it exists once: sub:7:<UTC slot>, manual:<form token>, trial:<form token>,
    # resend:<run>:<number> (and :<delivery> for one message), api:<subscription>:<random> (`request_key` keeps
    # a request from running twice), overlap:<run> (times missed while that run was under way), notice:<first reported
    # run>, incident:<first reported incident>:<fire|repeat-n|recover[-n]>, message:<incoming message>, and
    # message:<incoming message>:<number> for each further file.
    key = models.CharField(pgettext_lazy("run", "key"), max_length=128, unique=True)
    subscription = models.ForeignKey(
        "notifications.Subscription", on_delete=models.SET_NULL, null=True, related_name="runs", verbose_name=_("push")
    )
    # The message of another system. Each further file of it has its own run.
    message = models.ForeignKey(
        "notifications.IncomingMessage",
        on_delete=models.PROTECT,
        null=True,
        related_name="runs",
        verbose_name=_("incoming message"),
        db_index=False,
    )
    trigger = models.CharField(_("trigger"), max_length=16, choices=Trigger.choices)
    # The report's company when the run was made (empty: every company). It decides who may see the run.
    corp = models.ForeignKey(
        Corp, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("only for the company")
    )
    # `slot_at`: the time of the schedule. `due_at`: later, if the schedule spreads its runs; empty: due at `slot_at`.
    slot_at = models.DateTimeField(_("due"))
    due_at = models.DateTimeField(_("begins"), null=True)
    # More than 1 if the run covers several scheduled times: it is sent once for all, or all were missed in a row.
    slot_count = models.PositiveIntegerField(_("scheduled times"), default=1)
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("requested by")
    )
    # The recipient of a trial; empty: the person who requested it.
    tried_on = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("trial sent to")
    )
    # The token of the HTTP API that requested it.
    api_token = models.ForeignKey(
        "notifications.ApiToken", on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("API token")
    )
    # Kept for 24 hours if the API request had an Idempotency-Key: the key, a SHA-256 of method, path and body, and the
    # exact answer. Written in the transaction of the run, so that a crash leaves no half-done request.
    request_key = models.CharField(max_length=KEY_CHARACTERS, blank=True, default="", db_default="", editable=False)
    request_fingerprint = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    request_answer = models.TextField(blank=True, default="", db_default="", editable=False)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    # When the run was made.
    claimed_at = models.DateTimeField(_("claimed"))
    # If the run still waits then, the sweep queues its rendering again. Queueing and rendering set a later time.
    render_after = models.DateTimeField()
    render_count = models.PositiveIntegerField(default=0)
    rendered_at = models.DateTimeField(_("rendered"), null=True)
    finished_at = models.DateTimeField(_("ended"), null=True)
    recipient_count = models.PositiveIntegerField(_("recipients"), default=0)
    skipped_count = models.PositiveIntegerField(_("skipped"), default=0)
    # A stored sentence (integrations.core.sentences). In a finished run it names the people whom the run did not reach
    # (notifications.delivery.explanations).
    error = models.TextField(_("error"), blank=True)
    # Digest of the data of the run (notifications.delivery.rendering.report_contents); empty without cards.
    fingerprint = models.CharField(max_length=64, blank=True)
    # The run that this one sends again to people not reached, optionally also to people with unknown outcome.
    resends = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("resend of")
    )
    resends_unknown = models.BooleanField(default=False)
    # The mark of the one message that is sent again; empty: the whole run.
    resends_mark = models.CharField(max_length=32, blank=True, default="", db_default="")
    # For a run that went wrong: when the owner was notified, and by which notice. Set without a notice if nobody is to
    # be notified (notifications.delivery.runs.owner_notices).
    owner_notified_at = models.DateTimeField(_("owner notified"), null=True)
    owner_notice = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        related_name="notified_runs",
        verbose_name=_("notice to the owner"),
    )
    recall_requested_at = models.DateTimeField(_("taken back"), null=True)
    recall_requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("taken back by")
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-pk"]
        indexes = [
            # For the sweep: RunQuerySet.unrendered(), and runs whose last delivery was settled.
            models.Index(fields=["render_after"], condition=Q(status="waiting"), name="run_waiting"),
            models.Index(fields=["id"], condition=Q(status="sending"), name="run_sending"),
            # RunQuerySet.under_way() of a subscription.
            models.Index(fields=["subscription"], condition=Q(status__in=["waiting", "sending"]), name="run_under_way"),
            # RunQuerySet.unnotified().
            models.Index(
                fields=["id"], condition=_WENT_WRONG & Q(owner_notified_at__isnull=True), name="run_unnotified"
            ),
            # The log, by day.
            models.Index(fields=["claimed_at"], name="run_claimed"),
            models.Index(fields=["message"], condition=Q(message__isnull=False), name="run_of_message"),
            # For notifications.delivery.runs.recall.
            models.Index(
                fields=["recall_requested_at"], condition=Q(recall_requested_at__isnull=False), name="run_recalled"
            ),
            # For the expiry of idempotency keys: notifications.delivery.runs.triggers.
            models.Index(fields=["claimed_at"], condition=~Q(request_key=""), name="run_of_a_request"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["api_token", "request_key"],
                condition=~Q(request_key=""),
                name="one_run_per_idempotency_key",
            )
        ]

    def __str__(self) -> str:
        return f"{self.subscription or self.get_trigger_display()} {timezone.localtime(self.slot_at):%Y-%m-%d %H:%M}"

    @property
    def original_run(self) -> Run:
        """The run of which this is a resend, perhaps over several resends; the run itself if it is no resend."""
        run = self
        while run.resends is not None:
            run = run.resends
        return run

    def find_runs_of_message(self) -> QuerySet[Run]:
        """Return the runs to recall together: all runs of its incoming message; without a message, this run alone."""
        same = Q(pk=self.pk) if self.message_id is None else Q(message=self.message_id)
        return Run.objects.filter(same)

    def find_later_resends(self) -> list[int]:
        """Return the ids of the later resends of the same original run."""
        found, newest = list[int](), [self.original_run.pk]
        while newest:
            newest = list(Run.objects.filter(resends__in=newest).values_list("pk", flat=True))
            found += newest
        return [pk for pk in found if pk > self.pk]

    @property
    def error_text(self) -> str:
        """The error in the active language."""
        return sentences.translate_stored(self.error)
