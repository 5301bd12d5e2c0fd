"""Runs (each execution of a subscription, alert or notice), and the claims of ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.roles import sees_all_corps
from integrations.core import sentences
from integrations.models import Corp
from integrations.models.fields import EVERYTHING
from integrations.models.jobs import Moment

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.fields import Person


class RunStatus(models.TextChoices):
    """Of notifications.models.runs.Run, by which queries of other models ask, too."""

    WAITING = "waiting", _("waiting")
    SENDING = "sending", _("sending")
    FINISHED = "finished", _("finished")
    MISSED = "missed", _("missed")
    FAILED = "failed", _("failed")
    # Not worth sending, by what the subscription asks of its data; no failure.
    SKIPPED = "skipped", _("not sent")


# Of a run; one that ended says in `error` whom it did not reach.
_WENT_WRONG = Q(status__in=["missed", "failed"]) | (Q(status="finished") & ~Q(error=""))


class RunQuerySet(models.QuerySet["Run"]):
    def unrendered(self, now: Moment) -> Self:
        """Runs whose rendering task was lost, or failed and may try again."""
        return self.filter(status=Run.Status.WAITING, render_after__lte=now)

    def under_way(self) -> Self:
        """Runs of whole subscriptions that have not ended: of one subscription one at a time."""
        return self.filter(status__in=[Run.Status.WAITING, Run.Status.SENDING]).exclude(trigger__in=Run.PARTIAL)

    def went_wrong(self) -> Self:
        """Runs that were missed, failed, or ended without reaching everybody."""
        return self.filter(_WENT_WRONG)

    def unnotified(self) -> Self:
        """Those of them of which the owner of the subscription, of the alert rule or of what sent the message has not
        been told."""
        wrong = self.went_wrong().filter(owner_notified_at__isnull=True)
        return wrong.exclude(trigger__in=[Run.Trigger.TRIAL, Run.Trigger.NOTICE])

    def visible_to(self, person: Person) -> Self:
        """As their reports; and those of one's own messages to people of every company."""
        return self.filter(run_condition(person))


def run_condition(person: Person, *, path: str = "") -> Q:
    """The condition on a run that `person` may see. `path`: from the filtered model to the run, as `run__`."""
    if sees_all_corps(person):
        return EVERYTHING
    visible = Q(**{f"{path}corp__in": Corp.objects.keys_visible_to(person)})
    if isinstance(person, User):
        visible |= Q(**{f"{path}message__requested_by": person.pk, f"{path}corp__isnull": True})
    return visible


class Run(models.Model):
    """One execution of a subscription: for a slot of its schedule, by hand, or as a trial for one person.

    A notice tells a subscription's owner of its runs that were missed, failed or did not reach everybody, an alert
    tells of incidents, and a message is another system's; none of them has a subscription.
    """

    class Trigger(models.TextChoices):
        SCHEDULE = "schedule", _("schedule")
        MANUAL = "manual", _("by hand")
        TRIAL = "trial", _("sent to me")
        RESEND = "resend", _("sent again")
        URL = "url", _("by URL")
        DATA_UPDATE = "data_update", _("after a data update")
        NOTICE = "notice", _("notice to the owner")
        ALERT = "alert", pgettext_lazy("trigger", "alert")
        MESSAGE = "message", _("message of another system")

    # To one person, or to those whom a run did not reach: beside them the whole may run.
    PARTIAL = (Trigger.TRIAL, Trigger.RESEND, Trigger.NOTICE, Trigger.ALERT, Trigger.MESSAGE)

    # Their content is no subscription's.
    OF_THEIR_OWN = (Trigger.NOTICE, Trigger.ALERT, Trigger.MESSAGE)

    Status: TypeAlias = RunStatus

    # What this execution is, so that it exists once: sub:7:<UTC slot>, manual:<form token>, trial:<form token>,
    # resend:<run>:<number> (and :<delivery> where it is one message), api:<subscription>:<random> (a request is kept
    # from running twice by AcceptedRequest), overlap:<run> (the times missed while that run was under way),
    # notice:<first run told of>, incident:<first incident told of>:<fire|repeat-n|recover>, message:<incoming message>,
    # and message:<incoming message>:<number> for each of its further files.
    key = models.CharField(pgettext_lazy("run", "key"), max_length=128, unique=True)
    subscription = models.ForeignKey(
        "notifications.Subscription", on_delete=models.SET_NULL, null=True, related_name="runs", verbose_name=_("push")
    )
    # Of a message of another system: of one with several files each has a run.
    message = models.ForeignKey(
        "notifications.IncomingMessage",
        on_delete=models.PROTECT,
        null=True,
        related_name="runs",
        verbose_name=_("incoming message"),
        db_index=False,
    )
    trigger = models.CharField(_("trigger"), max_length=16, choices=Trigger.choices)
    # The report's company at the time of the claim (empty: every company). It decides who may see the run.
    corp = models.ForeignKey(
        Corp, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("only for the company")
    )
    # What the schedule names; empty where nothing is spread: then it is due at its slot.
    slot_at = models.DateTimeField(_("due"))
    due_at = models.DateTimeField(_("begins"), null=True)
    # More than 1 where one row stands for several times of the schedule: made up for at once, or missed in a row.
    slot_count = models.PositiveIntegerField(_("times of the schedule"), default=1)
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("requested by")
    )
    # By which token it was asked for over the HTTP API.
    api_token = models.ForeignKey(
        "notifications.ApiToken", on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("API token")
    )
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    claimed_at = models.DateTimeField(_("claimed"))
    # Nobody else renders before this time; moved on by whoever starts or enqueues a rendering.
    render_after = models.DateTimeField()
    render_count = models.PositiveIntegerField(default=0)
    rendered_at = models.DateTimeField(_("rendered"), null=True)
    finished_at = models.DateTimeField(_("ended"), null=True)
    recipient_count = models.PositiveIntegerField(_("recipients"), default=0)
    skipped_count = models.PositiveIntegerField(_("skipped"), default=0)
    # A stored sentence (integrations.core.sentences), also of one that ended: whom it did not reach
    # (notifications.delivery.explanations).
    error = models.TextField(_("error"), blank=True)
    # Of its data (notifications.delivery.rendering.report_contents); empty where its report has none.
    fingerprint = models.CharField(max_length=64, blank=True)
    # What this run sends again, to those whom it did not reach; also to those of whom nobody knows.
    resends = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("sends again")
    )
    resends_unknown = models.BooleanField(default=False)
    # The mark of the one message of that run which is sent again; empty: the whole run.
    resends_mark = models.CharField(max_length=32, blank=True, default="", db_default="")
    # Of one that was missed, failed or did not reach everybody: when its subscription's owner was told, and by which
    # notice. Told without a notice: nobody is to be told (notifications.delivery.runs.owner_notices).
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
            # The sweep's queries: RunQuerySet.unrendered(), and runs whose last delivery was settled.
            models.Index(fields=["render_after"], condition=Q(status="waiting"), name="run_waiting"),
            models.Index(fields=["id"], condition=Q(status="sending"), name="run_sending"),
            # Does a subscription have a run under way? RunQuerySet.under_way().
            models.Index(fields=["subscription"], condition=Q(status__in=["waiting", "sending"]), name="run_under_way"),
            # RunQuerySet.unnotified().
            models.Index(
                fields=["id"],
                condition=_WENT_WRONG & Q(owner_notified_at__isnull=True),
                name="run_unnotified",
            ),
            # The log, by day.
            models.Index(fields=["claimed_at"], name="run_claimed"),
            models.Index(fields=["message"], condition=Q(message__isnull=False), name="run_of_message"),
            # What is to be taken back: notifications.delivery.runs.recall.
            models.Index(
                fields=["recall_requested_at"], condition=Q(recall_requested_at__isnull=False), name="run_recalled"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription or self.get_trigger_display()} {timezone.localtime(self.slot_at):%Y-%m-%d %H:%M}"

    @property
    def first_sent(self) -> Run:
        """The run that this one sends again, or that one again; itself where it sends nothing again."""
        run = self
        while run.resends is not None:
            run = run.resends
        return run

    def together(self) -> QuerySet[Run]:
        """The runs that are taken back with it: of an incoming message all, else itself alone."""
        return (
            Run.objects.filter(pk=self.pk) if self.message_id is None else Run.objects.filter(message=self.message_id)
        )

    def resent_by(self) -> list[int]:
        """Ids of the later runs that sent the same again."""
        found, newest = list[int](), [self.first_sent.pk]
        while newest:
            newest = list(Run.objects.filter(resends__in=newest).values_list("pk", flat=True))
            found += newest
        return [pk for pk in found if pk > self.pk]

    @property
    def error_text(self) -> str:
        """Its error in the language in force."""
        return sentences.shown(self.error)


class TickClaim(models.Model):
    """The last period for which a tick was done: of several beats, the one that moves it on does the work."""

    name = models.CharField(max_length=64, primary_key=True)
    period = models.BigIntegerField()

    class Meta:
        verbose_name = _("tick")
        verbose_name_plural = _("ticks")

    def __str__(self) -> str:
        return f"{self.name} {self.period}"
