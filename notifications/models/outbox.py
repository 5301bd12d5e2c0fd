"""The outbox: runs, deliveries (calls to WeCom), attempts, and receipts (one per person)."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.scopes import people_visible_to
from integrations.models import Corp
from notifications import sentences
from notifications.models.lookups import Moment
from notifications.models.queues import CorpQueue
from notifications.models.recipients import Channel
from notifications.models.robots import Robot
from notifications.models.scoping import scope_condition, sees_all_corps
from notifications.models.subscriptions import MessageForm, Priority, Subscription

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from integrations.models.scoping import Person


# How long the same bytes may be sent again after an unclear attempt. WeCom drops identical JSON for 4 hours at most.
REPEAT_SECONDS = int(3.5 * 3600)


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

    def untold(self) -> Self:
        """Those of them of which the owner of the subscription, or of the alert rule, has not been told."""
        wrong = self.went_wrong().filter(owner_told_at__isnull=True)
        return wrong.exclude(trigger__in=[Run.Trigger.TRIAL, Run.Trigger.NOTICE])

    def visible_to(self, person: Person) -> Self:
        return self.filter(scope_condition(person))


class Run(models.Model):
    """One execution of a subscription: for a slot of its schedule, by hand, or as a trial for one person.

    A notice tells a subscription's owner of its runs that were missed, failed or did not reach everybody, an alert
    tells of incidents; neither has a subscription.
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

    # To one person, or to those whom a run did not reach: beside them the whole may run.
    PARTIAL = (Trigger.TRIAL, Trigger.RESEND, Trigger.NOTICE, Trigger.ALERT)

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENDING = "sending", _("sending")
        FINISHED = "finished", _("finished")
        MISSED = "missed", _("missed")
        FAILED = "failed", _("failed")
        # Not worth sending, by what the subscription asks of its data; no failure.
        SKIPPED = "skipped", _("not sent")

    # What this execution is, so that it exists once: sub:7:<UTC slot>, manual:<form token>, trial:<form token>,
    # resend:<run>:<number>, api:<subscription>:<random> (a request is kept from running twice by AcceptedRequest),
    # overlap:<run> (the times missed while that run was under way), notice:<first run told of>,
    # incident:<first incident told of>:<fire|repeat-n|recover>.
    key = models.CharField(_("key"), max_length=128, unique=True)
    subscription = models.ForeignKey(
        Subscription, on_delete=models.SET_NULL, null=True, related_name="runs", verbose_name=_("subscription")
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
    # A stored sentence (notifications.sentences), also of one that ended: whom it did not reach
    # (notifications.delivery.rendering.run_errors).
    error = models.TextField(_("error"), blank=True)
    # Of its data (notifications.reports.skip_rules); empty where its report has none.
    fingerprint = models.CharField(max_length=64, blank=True)
    # What this run sends again, to those whom it did not reach; also to those of whom nobody knows.
    resends = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("sends again")
    )
    resends_unknown = models.BooleanField(default=False)
    # Of one that was missed, failed or did not reach everybody: when its subscription's owner was told, and by which
    # notice. Told without a notice: nobody is to be told (notifications.delivery.runs.owner_notices).
    owner_told_at = models.DateTimeField(_("owner told"), null=True)
    owner_notice = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="told_runs", verbose_name=_("notice to the owner")
    )
    recall_asked_at = models.DateTimeField(_("taken back"), null=True)
    recall_asked_by = models.ForeignKey(
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
            # RunQuerySet.untold().
            models.Index(
                fields=["id"],
                condition=_WENT_WRONG & Q(owner_told_at__isnull=True),
                name="run_untold",
            ),
            # The log, by day.
            models.Index(fields=["claimed_at"], name="run_claimed"),
            # What is to be taken back: notifications.delivery.runs.recall.
            models.Index(fields=["recall_asked_at"], condition=Q(recall_asked_at__isnull=False), name="run_recalled"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription or self.key} {timezone.localtime(self.slot_at):%Y-%m-%d %H:%M}"

    @property
    def error_text(self) -> str:
        """Its error in the language in force."""
        return sentences.shown(self.error)


def new_mark() -> str:
    """A mark unique to one delivery: unguessable, and letters and digits only."""
    return secrets.token_hex(16)


class FrozenContent(models.Model):
    """What the deliveries of one slice of a run say whole, with the tables: their page shows it, to their recipients.

    Written with the deliveries, never changed, purged with the run.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="contents", verbose_name=_("run"))
    # notifications.reports.contents: frozen() and thawed().
    document = models.BinaryField()

    class Meta:
        verbose_name = _("content of messages")
        verbose_name_plural = _("contents of messages")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.run_id}/{self.pk}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def sendable(self, now: datetime) -> Self:
        """Pending deliveries that may be tried now; what is disabled or paused waits until it is enabled or goes on.

        Why no join? PostgreSQL checks a conditional update's own conditions again after waiting for a lock, but not
        those inside a subquery on the same table, which Django makes of a join: two workers would both claim.
        """
        return self._let_out(now).filter(
            Q(unclear_since__isnull=True) | Q(unclear_since__gt=now - timedelta(seconds=REPEAT_SECONDS)),
            # What was uploaded is gone after three days: it goes back to be uploaded anew.
            Q(media_until__isnull=True) | Q(media_until__gt=now) | Q(unclear_since__isnull=False),
            status=Delivery.Status.PENDING,
        )

    def preparable(self, now: datetime) -> Self:
        """Deliveries whose picture or file is made, or will never be, and that nobody prepares just now."""
        return self._let_out(now).filter(
            Q(medium__isnull=True) | ~Q(medium__status="waiting"),
            Q(lease_until__isnull=True) | Q(lease_until__lt=now),
            status=Delivery.Status.PREPARING,
        )

    def _let_out(self, now: datetime) -> Self:
        """Those whose time has come, and whose company, run and subscription do not wait."""
        return self.filter(
            next_attempt_at__lte=now,
            expires_at__gt=now,
            corp__in=Corp.objects.enabled(),
        ).exclude(
            Exists(CorpQueue.objects.paused().filter(Q(corp=OuterRef("corp")) | Q(corp__isnull=True)))
            | Exists(
                Run.objects.filter(
                    Q(subscription__is_paused=True) | Q(recall_asked_at__isnull=False), pk=OuterRef("run")
                )
            )
        )

    def unqueued(self, now: datetime) -> Self:
        """Deliveries for which no task is under way, or whose task was lost."""
        return self.filter(Q(queued_until__isnull=True) | Q(queued_until__lte=now))

    def given_up(self, now: datetime) -> Self:
        """Pending deliveries that may not be tried any more: worthless by now, or unclear for too long."""
        return self.filter(
            Q(expires_at__lte=now) | Q(unclear_since__lte=now - timedelta(seconds=REPEAT_SECONDS)),
            status=Delivery.Status.PENDING,
        )

    def lease_expired(self, now: datetime) -> Self:
        return self.filter(status=Delivery.Status.SENDING, lease_until__lt=now)

    def unsettled(self) -> Self:
        return self.filter(status__in=Delivery.UNSETTLED)

    def visible_to(self, person: Person) -> Self:
        return self.filter(corp__in=Corp.objects.visible_to(person))


class Delivery(models.Model):
    """One call to WeCom: one content, one corp, at most 1000 people. Frozen before its first attempt."""

    class Status(models.TextChoices):
        PREPARING = "preparing", _("being prepared")
        PENDING = "pending", _("waiting")
        SENDING = "sending", _("sending")
        ACCEPTED = "accepted", _("accepted")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("outcome unknown")
        CANCELED = "canceled", _("canceled")

    UNSETTLED = (Status.PREPARING, Status.PENDING, Status.SENDING)

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("run"))
    corp = models.ForeignKey(Corp, on_delete=models.PROTECT, related_name="+", verbose_name=_("company"))
    channel = models.CharField(_("channel"), max_length=16, choices=Channel.choices)
    robot = models.ForeignKey(
        Robot, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("group robot"), db_index=False
    )
    message_form = models.CharField(_("message form"), max_length=16, choices=MessageForm.choices)
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority.choices, default=Priority.ORDINARY)
    created_at = models.DateTimeField(_("created"))
    # What the message page shows.
    title = models.CharField(_("title"), max_length=128)
    text = models.TextField(_("text"))
    link = models.CharField(_("link"), max_length=1024, blank=True)
    # With its tables; empty where its report has no cards.
    content = models.ForeignKey(
        FrozenContent, on_delete=models.SET_NULL, null=True, related_name="deliveries", db_index=False
    )
    # Frozen: the exact bytes of every attempt, and what they were made with.
    corpid = models.CharField("CorpId", max_length=64)
    agentid = models.PositiveBigIntegerField("AgentId")
    body = models.BinaryField(_("body"))
    # Of a message with a picture or a file. While it is being prepared its body lacks what the upload gives, and
    # `plain_body` goes out instead where that cannot be made; then the body is frozen, and `plain_body` is empty.
    medium = models.ForeignKey(
        "notifications.Medium",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("picture or file"),
        db_index=False,
    )
    plain_body = models.BinaryField(default=bytes)
    media_until = models.DateTimeField(_("uploaded until"), null=True)
    prepare_count = models.PositiveIntegerField(default=0)
    mark = models.CharField(_("mark"), max_length=32, default=new_mark)
    language = models.CharField(_("language"), max_length=16)
    recipient_count = models.PositiveIntegerField(_("recipients"))

    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.PENDING)
    next_attempt_at = models.DateTimeField(_("next attempt"))
    # Until then a task that will try it counts as under way.
    queued_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(_("worthless after"))
    # The lease: who may send and settle. Settling needs the token, so a worker thought dead cannot overwrite.
    fencing_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    # Start of the first attempt whose outcome is unclear: from then on it may stand on people's phones already.
    unclear_since = models.DateTimeField(_("unclear since"), null=True)
    attempt_count = models.PositiveIntegerField(_("attempts"), default=0)
    settled_at = models.DateTimeField(_("settled"), null=True)
    errcode = models.IntegerField(_("errcode"), null=True)
    error = models.TextField(_("error"), blank=True)
    msgid = models.CharField("msgid", max_length=255, blank=True)
    response_code = models.CharField(max_length=255, blank=True)
    recalled_at = models.DateTimeField(_("taken back"), null=True)
    recall_error = models.TextField(_("why it was not taken back"), blank=True)
    invalid_count = models.PositiveIntegerField(_("invalid"), default=0)
    unlicensed_count = models.PositiveIntegerField(_("unlicensed"), default=0)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-pk"]
        # Every index is written three times for each message: none that is not read. Why not unique=True? It makes a
        # second index for LIKE.
        constraints = [models.UniqueConstraint(fields=["mark"], name="one_delivery_per_mark")]
        indexes = [
            models.Index(fields=["robot"], condition=Q(robot__isnull=False), name="delivery_by_robot"),
            # What the database asks before it lets a content go.
            models.Index(fields=["content"], condition=Q(content__isnull=False), name="delivery_by_content"),
            models.Index(fields=["medium"], condition=Q(medium__isnull=False), name="delivery_by_medium"),
            # The log, by day, and what did not arrive; titles are searched in the index, without the rows' bodies.
            models.Index(fields=["created_at"], name="delivery_created"),
            models.Index(
                fields=["status", "-id"],
                condition=Q(status__in=["failed", "unknown", "canceled"]),
                name="delivery_exception",
            ),
            models.Index(fields=["title", "id"], name="delivery_title"),
            # The tick's queries: DeliveryQuerySet.sendable() and given_up().
            models.Index(fields=["next_attempt_at"], condition=Q(status="pending"), name="delivery_sendable"),
            # What a company has to hand out: notifications.delivery.sending.queue.
            models.Index(
                fields=["corp", "priority", "next_attempt_at"], condition=Q(status="pending"), name="delivery_queue"
            ),
            models.Index(
                fields=["corp", "queued_until"],
                condition=Q(status="pending", queued_until__isnull=False),
                name="delivery_queued",
            ),
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="delivery_expiring"),
            models.Index(fields=["unclear_since"], condition=Q(status="pending"), name="delivery_unclear"),
            # The sweep's query: DeliveryQuerySet.lease_expired().
            models.Index(fields=["lease_until"], condition=Q(status="sending"), name="delivery_leased"),
            # Is a run finished? DeliveryQuerySet.unsettled() of one run.
            models.Index(
                fields=["run"], condition=Q(status__in=["preparing", "pending", "sending"]), name="delivery_unsettled"
            ),
            # DeliveryQuerySet.preparable(), and what of it comes too late.
            models.Index(fields=["next_attempt_at"], condition=Q(status="preparing"), name="delivery_preparing"),
            # What was uploaded too long ago: notifications.delivery.sending.uploads.
            models.Index(
                fields=["media_until"],
                condition=Q(status="pending", media_until__isnull=False),
                name="delivery_uploaded",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} → {self.corp}"

    @property
    def accepted_count(self) -> int:
        if self.status != self.Status.ACCEPTED:
            return 0
        return self.recipient_count - self.invalid_count - self.unlicensed_count

    @property
    def is_accepted_on_repeat(self) -> bool:
        """Accepted, but not for certain by the first call: the answer may lack invalid recipients and the msgid."""
        return self.status == self.Status.ACCEPTED and self.unclear_since is not None


class Attempt(models.Model):
    """One try of a delivery. The row is committed before the call, so a crash in between leaves a trace."""

    class Outcome(models.TextChoices):
        STARTED = "started", _("started")
        ACCEPTED = "accepted", _("accepted")
        REFUSED = "refused", _("refused")
        NOT_SENT = "not_sent", _("not sent")
        UNCLEAR = "unclear", _("unclear")

    # Found by one_attempt_per_number.
    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="attempts", verbose_name=_("delivery"), db_index=False
    )
    number = models.PositiveIntegerField(_("number"))
    fencing_token = models.UUIDField()
    started_at = models.DateTimeField(_("began"))
    finished_at = models.DateTimeField(_("ended"), null=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices, default=Outcome.STARTED)
    errcode = models.IntegerField(_("errcode"), null=True)
    duration_ms = models.PositiveIntegerField(_("milliseconds"), null=True)
    answer = models.CharField(_("answer"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["delivery_id", "number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="one_attempt_per_number")]
        # What the limiter must know when its store was emptied: notifications.delivery.sending.limit_history.
        indexes = [models.Index(fields=["started_at"], name="attempt_started")]

    def __str__(self) -> str:
        return f"#{self.number} {self.get_outcome_display()}"


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    def visible_to(self, person: Person) -> Self:
        """Receipts of visible deliveries; of skipped people, who have none, the visible ones of visible runs."""
        skipped = Q(delivery__isnull=True, run__in=Run.objects.visible_to(person))
        if not sees_all_corps(person):
            skipped &= Q(user__in=people_visible_to(person))
        return self.filter(Q(delivery__corp__in=Corp.objects.visible_to(person)) | skipped)

    def with_status(self, status: str) -> Self:
        """What became of it for the person: the receipt's own status, else its delivery's.

        Why two ways? Nearly every receipt is accepted, so the newest ones are found by walking down from the top;
        all others are few, and an OR over two tables would read the whole log to find them.
        """
        inherited = Q(status="", delivery__status=status)
        if status == Receipt.Status.ACCEPTED:
            return self.filter(Q(status=status) | inherited)
        own = Receipt.objects.filter(status=status).order_by().values("pk")
        return self.filter(pk__in=own.union(Receipt.objects.filter(inherited).order_by().values("pk"), all=True))

    def arrived(self) -> Self:
        """Receipts of messages that stand, or may stand, on the person's phone."""
        return self.filter(delivery__status__in=[Delivery.Status.ACCEPTED, Delivery.Status.UNKNOWN], status="")

    def unreached(self, run: Run, *, with_unknown: bool = False) -> Self:
        """Of people who did not get the run: skipped, invalid, without licence, failed, canceled as worthless.

        Not of those who had paused or declined it, also where they have resumed since: they got what they had asked
        for; nor of those for whom the report had no rows.
        """
        lost = [Delivery.Status.FAILED, Delivery.Status.CANCELED]
        if with_unknown:
            lost.append(Delivery.Status.UNKNOWN)
        own = Q(status__in=[Receipt.Status.SKIPPED, Receipt.Status.INVALID, Receipt.Status.UNLICENSED])
        found = self.filter(own | Q(status="", delivery__status__in=lost), run=run)
        return found.exclude(reason__in=Receipt.NOT_SENT_AGAIN)

    def unknown(self, run: Run) -> Self:
        """Of people who may have got the run."""
        return self.filter(run=run, status="", delivery__status=Delivery.Status.UNKNOWN)


class Receipt(models.Model):
    """What became of a run for one person. Its status is empty while it is the delivery's own."""

    class Status(models.TextChoices):
        ACCEPTED = "accepted", _("accepted")
        INVALID = "invalid", _("invalid account")
        UNLICENSED = "unlicensed", _("no licence")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("outcome unknown")
        SKIPPED = "skipped", _("skipped")

    class Reason(models.TextChoices):
        NO_COMPANY = "no_company", _("WeCom company name is missing")
        NO_USERID = "no_userid", _("WeCom account is missing")
        NO_ACCOUNT = "no_account", _("not linked to WeCom")
        BAD_USERID = "bad_userid", _("the WeCom account has characters that WeCom does not know")
        CORP_DISABLED = "corp_disabled", _("the company is disabled")
        OTHER_CORP = "other_corp", _("the report is for another company")
        USER_DISABLED = "user_disabled", _("the user is disabled")
        NO_EMAIL = "no_email", _("no e-mail address")
        BARRED = "barred", _("deleted, disabled or out of scope in WeCom")
        PAUSED = "paused", _("the person has paused this subscription")
        DECLINED = "declined", _("the person does not want this subscription")
        NO_ROWS = "no_rows", _("the report has no rows for the person")

    # What people have decided themselves: nothing there is to be put right, nor sent again.
    BY_CHOICE = frozenset({Reason.PAUSED, Reason.DECLINED})
    # Beside them, what was meant not to be sent: sending it again would change nothing.
    NOT_SENT_AGAIN = BY_CHOICE | {Reason.NO_ROWS}

    # Found by one_receipt_per_address.
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="receipts", verbose_name=_("run"), db_index=False
    )
    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, null=True, related_name="receipts", verbose_name=_("delivery")
    )
    # Found by receipt_of_person.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("user"),
        db_index=False,
    )
    channel = models.CharField(_("channel"), max_length=16, choices=Channel.choices)
    # Where it goes, unique in a run: "<corp id>:<folded userid>" in WeCom, "mail:<id>:<address>", "robot:<id>",
    # and "user:<id>" for a person without address.
    address = models.CharField(_("address"), max_length=128)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, blank=True)
    reason = models.CharField(_("reason"), max_length=16, choices=Reason.choices, blank=True)
    read_at = models.DateTimeField(_("read"), null=True)

    objects = ReceiptQuerySet.as_manager()

    class Meta:
        verbose_name = _("receipt")
        verbose_name_plural = _("receipts")
        constraints = [models.UniqueConstraint(fields=["run", "channel", "address"], name="one_receipt_per_address")]
        indexes = [
            # A person's messages, newest first.
            models.Index(F("user"), F("id").desc(), name="receipt_of_person"),
            # The log, by what a receipt has of its own: ReceiptQuerySet.with_status().
            models.Index(fields=["status", "-id"], condition=~Q(status=""), name="receipt_exception"),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.address} {self.get_status_display()}".strip()


class TickClaim(models.Model):
    """The last period for which a tick was done: of several beats, the one that moves it on does the work."""

    name = models.CharField(max_length=64, primary_key=True)
    period = models.BigIntegerField()

    class Meta:
        verbose_name = _("tick")
        verbose_name_plural = _("ticks")

    def __str__(self) -> str:
        return f"{self.name} {self.period}"
