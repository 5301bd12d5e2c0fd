"""The outbox: deliveries with their frozen bytes, attempts, receipts, and the queue of each company."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User, WeComAccount
from accounts.users.roles import sees_rows_without_corp
from integrations.core.sentences import translate_stored
from integrations.models import Corp
from integrations.models.fields import Person
from notifications.models.recipients import Channel, Robot, ScopedQuerySet
from notifications.models.runs import Run, run_condition
from notifications.models.subscriptions import MessageForm, Priority


class CorpQueueQuerySet(ScopedQuerySet["CorpQueue"]):
    def paused(self) -> Self:
        return self.filter(is_paused=True)

    def blocked(self) -> Self:
        return self.filter(blocked_since__isnull=False)


class CorpQueue(models.Model):
    """The send queue of a company. The row without a company pauses all of them."""

    corp = models.OneToOneField(
        Corp, on_delete=models.CASCADE, null=True, editable=False, related_name="+", verbose_name=_("company")
    )
    is_paused = models.BooleanField(
        _("paused"),
        default=False,
        help_text=_("Nothing is sent while it is paused. Waiting messages go out afterwards unless they have expired."),
    )
    daily_budget = models.PositiveIntegerField(
        _("daily budget (person-messages)"),
        default=0,
        help_text=_(
            "What WeCom lets this app send per day: 200 times the number of accounts that the company may have. A "
            "message to 1000 people counts as 1000. Further messages wait until midnight in China. 0: no limit."
        ),
    )
    # Set only by notifications.delivery.sending.queue: the company is blocked (in guides: held up) until its
    # configuration is repaired.
    blocked_since = models.DateTimeField(_("blocked since"), null=True, editable=False)
    blocked_errcode = models.IntegerField(_("WeCom's error code"), null=True, editable=False)
    blocked_error = models.TextField(_("error"), blank=True, editable=False)
    # When one message may probe whether it works again.
    probe_at = models.DateTimeField(null=True, editable=False)
    notified_at = models.DateTimeField(_("administrators notified"), null=True, editable=False)

    objects = CorpQueueQuerySet.as_manager()

    class Meta:
        verbose_name = _("send queue")
        verbose_name_plural = _("send queues")
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                models.functions.Coalesce("corp", 0), condition=Q(corp__isnull=True), name="one_queue_of_all"
            )
        ]

    def __str__(self) -> str:
        return str(self.corp or _("all companies"))


# How long the same bytes may be sent again after an unclear attempt. WeCom drops identical JSON for 4 hours at most.
REPEAT_SECONDS = int(3.5 * 3600)


def new_mark() -> str:
    """Make the mark that names a delivery in links and in WeCom's events: unguessable, letters and digits only."""
    return secrets.token_hex(16)


def tidy_mark(mark: str) -> str:
    """Return `mark`, or an empty string if it cannot be a mark: PostgreSQL fails on a NUL."""
    return mark if mark.isascii() and mark.isalnum() else ""


class FrozenContent(models.Model):
    """The full content, with tables, for the recipients of a run who see the same rows. Message pages show it.

    It is written with the deliveries, or with the request of a notice; never changed, and purged with the run.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="contents", verbose_name=_("run"))
    # Written by dump_content(), read by load_content() of notifications.reports.contents.
    document = models.BinaryField()

    class Meta:
        verbose_name = _("content of messages")
        verbose_name_plural = _("contents of messages")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.run_id}/{self.pk}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def sendable(self, now: datetime) -> Self:
        """Pending deliveries that may be tried now. Disabled companies, paused pushes and paused queues make them wait.

        It has no join, which Django would turn into a subquery on the same table. After waiting for a lock, PostgreSQL
        checks an update's own conditions again, but not those in such a subquery: two workers would both claim.
        """
        return self._due_and_not_held(now).filter(
            Q(unclear_since__isnull=True) | Q(unclear_since__gt=now - timedelta(seconds=REPEAT_SECONDS)),
            status=Delivery.Status.PENDING,
        )

    def preparable(self, now: datetime) -> Self:
        """Deliveries whose medium is made, has failed or was deleted."""
        return self._due_and_not_held(now).filter(
            Q(medium__isnull=True) | ~Q(medium__status="waiting"), status=Delivery.Status.PREPARING
        )

    def _due_and_not_held(self, now: datetime) -> Self:
        """Due deliveries that no disabled company, paused queue, paused subscription or recall holds back."""
        return self.filter(
            next_attempt_at__lte=now,
            expires_at__gt=now,
            recall_requested_at__isnull=True,
            corp__in=Corp.objects.enabled(),
        ).exclude(
            Exists(CorpQueue.objects.paused().filter(Q(corp=OuterRef("corp")) | Q(corp__isnull=True)))
            | Exists(
                Run.objects.filter(
                    Q(subscription__is_paused=True) | Q(recall_requested_at__isnull=False), pk=OuterRef("run")
                )
            )
        )

    def unqueued(self, now: datetime) -> Self:
        """Deliveries that are queued for no task, or whose task was lost."""
        return self.filter(Q(queued_until__isnull=True) | Q(queued_until__lte=now))

    def unsettled(self) -> Self:
        return self.filter(status__in=Delivery.UNSETTLED)

    def visible_to(self, person: Person) -> Self:
        return (
            self.all() if sees_rows_without_corp(person) else self.filter(corp__in=Corp.objects.keys_visible_to(person))
        )


class Delivery(models.Model):
    """A message, sent by one call over one channel: one content, one corp, at most 1000 people. It is frozen before its
    first attempt."""

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
    # Shown on the message's page.
    title = models.CharField(_("title"), max_length=128)
    text = models.TextField(_("text"))
    link = models.CharField(_("link"), max_length=1024, blank=True)
    # The content with tables; empty if the report has no cards.
    content = models.ForeignKey(
        FrozenContent, on_delete=models.SET_NULL, null=True, related_name="deliveries", db_index=False
    )
    # Frozen: the exact bytes of every attempt, and what they were made with.
    corpid = models.CharField("CorpId", max_length=64)
    agentid = models.PositiveBigIntegerField("AgentId")
    body = models.BinaryField(_("body"))
    # The picture or file. Until it is uploaded, `body` lacks its media id; if it cannot be made, `plain_body` is sent
    # instead. After that, `body` is frozen and `plain_body` emptied.
    medium = models.ForeignKey(
        "notifications.Medium",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("picture or file"),
        db_index=False,
    )
    plain_body = models.BinaryField(default=bytes)
    # What the message's page shows, in order: pairs of a medium's key and a title. JSON instead of rows, because they
    # are always read together; a medium that was deleted is left out.
    shown_media = models.JSONField(default=list)
    prepare_count = models.PositiveIntegerField(default=0)
    mark = models.CharField(_("mark"), max_length=32, default=new_mark)
    language = models.CharField(_("language"), max_length=16)
    recipient_count = models.PositiveIntegerField(_("recipients"))

    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.PENDING)
    next_attempt_at = models.DateTimeField(_("next attempt"))
    # Until then a task is expected to try it; later it is queued for another one.
    queued_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(_("expires after"))
    # The lease of the worker that may send and settle. Settling needs the token, so that a worker whose lease has ended
    # cannot overwrite the outcome.
    fencing_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    # Start of the first unclear attempt: from then on the message may be on people's phones.
    unclear_since = models.DateTimeField(_("unclear since"), null=True)
    attempt_count = models.PositiveIntegerField(_("attempts"), default=0)
    settled_at = models.DateTimeField(_("settled"), null=True)
    errcode = models.IntegerField(_("WeCom's error code"), null=True)
    error = models.TextField(_("error"), blank=True)
    msgid = models.CharField("msgid", max_length=255, blank=True)
    response_code = models.CharField(max_length=255, blank=True)
    # For this message alone; runs have their own column.
    recall_requested_at = models.DateTimeField(null=True)
    recalled_at = models.DateTimeField(_("taken back"), null=True)
    recall_error = models.TextField(_("why it was not taken back"), blank=True)
    invalid_count = models.PositiveIntegerField(_("invalid"), default=0)
    unlicensed_count = models.PositiveIntegerField(_("unlicensed"), default=0)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-pk"]
        # Each index is written three times per message, so only those that are read exist. A constraint replaces
        # unique=True, which would add a second index for LIKE.
        constraints = [models.UniqueConstraint(fields=["mark"], name="one_delivery_per_mark")]
        indexes = [
            models.Index(fields=["robot"], condition=Q(robot__isnull=False), name="delivery_by_robot"),
            # For deletions of contents and media: PostgreSQL looks up these references.
            models.Index(fields=["content"], condition=Q(content__isnull=False), name="delivery_by_content"),
            models.Index(fields=["medium"], condition=Q(medium__isnull=False), name="delivery_by_medium"),
            # The log by day, and by what did not arrive; titles are searched in the index, without reading bodies.
            models.Index(fields=["created_at"], name="delivery_created"),
            models.Index(
                fields=["status", "-id"],
                condition=Q(status__in=["failed", "unknown", "canceled"]),
                name="delivery_exception",
            ),
            models.Index(fields=["title", "id"], name="delivery_title"),
            # For the tick: DeliveryQuerySet.sendable().
            models.Index(fields=["next_attempt_at"], condition=Q(status="pending"), name="delivery_sendable"),
            # For notifications.delivery.sending.queue: waiting deliveries of a company, and of robots and mail, in
            # order, so that only the first are read, however many wait.
            models.Index(
                fields=["corp", "priority", "next_attempt_at", "id"],
                condition=Q(status="pending"),
                name="delivery_corp_queue",
            ),
            models.Index(
                fields=["priority", "next_attempt_at", "id"],
                condition=Q(status="pending") & ~Q(channel="wecom"),
                name="delivery_other_queue",
            ),
            models.Index(
                fields=["corp", "queued_until"],
                condition=Q(status="pending", queued_until__isnull=False),
                name="delivery_queued",
            ),
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="delivery_expiring"),
            # For notifications.delivery.runs.recall.
            models.Index(
                fields=["recall_requested_at"], condition=Q(recall_requested_at__isnull=False), name="delivery_recalled"
            ),
            models.Index(fields=["unclear_since"], condition=Q(status="pending"), name="delivery_unclear"),
            # For the sweep: ended leases.
            models.Index(fields=["lease_until"], condition=Q(status="sending"), name="delivery_leased"),
            # Whether a run is finished: DeliveryQuerySet.unsettled() of one run.
            models.Index(
                fields=["run"], condition=Q(status__in=["preparing", "pending", "sending"]), name="delivery_unsettled"
            ),
            # DeliveryQuerySet.preparable(), and those that expired.
            models.Index(fields=["next_attempt_at"], condition=Q(status="preparing"), name="delivery_preparing"),
        ]

    def __str__(self) -> str:
        return f"{self.title} → {self.corp}"

    @property
    def accepted_count(self) -> int:
        if self.status != self.Status.ACCEPTED:
            return 0
        return self.recipient_count - self.invalid_count - self.unlicensed_count

    @property
    def is_recall_requested(self) -> bool:
        """Return whether the message or its run is to be recalled."""
        return self.recall_requested_at is not None or self.run.recall_requested_at is not None

    @property
    def is_accepted_on_repeat(self) -> bool:
        """Return whether a repeat was accepted: the answer may lack invalid recipients and the msgid."""
        return self.status == self.Status.ACCEPTED and self.unclear_since is not None


class Attempt(models.Model):
    """A try of a delivery. The row is committed before the call, so a crash in between leaves a trace."""

    class Outcome(models.TextChoices):
        STARTED = "started", pgettext_lazy("attempt", "started")
        ACCEPTED = "accepted", _("accepted")
        REFUSED = "refused", _("refused")
        NOT_SENT = "not_sent", _("not sent")
        UNCLEAR = "unclear", _("unclear")

    # Indexed by one_attempt_per_number.
    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="attempts", verbose_name=_("delivery"), db_index=False
    )
    number = models.PositiveIntegerField(_("number"))
    fencing_token = models.UUIDField()
    started_at = models.DateTimeField(_("began"))
    finished_at = models.DateTimeField(_("ended"), null=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices, default=Outcome.STARTED)
    errcode = models.IntegerField(_("WeCom's error code"), null=True)
    duration_ms = models.PositiveIntegerField(_("milliseconds"), null=True)
    answer = models.CharField(_("answer"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["delivery_id", "number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="one_attempt_per_number")]
        # For refilling the limiter (notifications.delivery.sending.send), and for statistics.
        indexes = [models.Index(fields=["started_at"], name="attempt_started")]

    def __str__(self) -> str:
        return f"#{self.number} {self.get_outcome_display()}"


# --- Receipts: the outcome of a run for each person ---

# Statuses of deliveries that certainly did not arrive.
_LOST = (Delivery.Status.FAILED, Delivery.Status.CANCELED)


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    def visible_to(self, person: Person) -> Self:
        """Receipts of visible deliveries; receipts without a delivery (skipped people) of visible people and runs."""
        if sees_rows_without_corp(person):
            return self.all()
        corp_ids = Corp.objects.keys_visible_to(person)
        people = WeComAccount.objects.filter(corp__in=corp_ids).values("user")
        # Joins, because a subquery over all runs would be evaluated whole, even for few receipts.
        skipped = Q(run_condition(person, path="run__"), delivery__isnull=True, user__in=people)
        return self.filter(Q(delivery__corp__in=corp_ids) | skipped)

    def perhaps_unreached(self) -> Self:
        """Receipts of people whose message did not arrive, or may not have, by their own status or the delivery's.

        A union of two queries, because an OR over two tables would read all receipts of a run.
        """
        lost = self.filter(status="", delivery__status__in=[*_LOST, Delivery.Status.UNKNOWN])
        return self._union(self.exclude(status=""), lost)

    def arrived(self) -> Self:
        """Receipts of messages that are, or may be, on the person's phone."""
        return self.filter(delivery__status__in=[Delivery.Status.ACCEPTED, Delivery.Status.UNKNOWN], status="")

    def of_message(self, person: User, mark: str) -> Self:
        """The person's own receipt of the message with this mark, with its content.

        It is found also during sending: the phone shows a message before we have read WeCom's answer.
        """
        return self.filter(user=person, delivery__mark=tidy_mark(mark)).select_related("delivery__content")

    def unreached(self, run: Run, *, mark: str = "", with_unknown: bool = False) -> Self:
        """Receipts of people who did not get the run: skipped, invalid, without licence, failed or canceled. `mark`:
        only of the run's message with this mark.

        It leaves out people who had paused or declined it, even if they resumed since; people for whom the report had
        no rows; recalled messages; and people to whom it was sent again since.
        """
        lost = [*_LOST, Delivery.Status.UNKNOWN] if with_unknown else _LOST
        all_of_run = self._of_run(run, mark)
        inherited = all_of_run.filter(status="", delivery__in=run.deliveries.filter(status__in=lost))
        found = self._union(all_of_run.exclude(status=""), inherited)
        found = found.exclude(reason__in=Receipt.NOT_RESENT).exclude(delivery__recall_requested_at__isnull=False)
        return found._exclude_resent(run, lost)

    def unknown(self, run: Run, *, mark: str = "") -> Self:
        """Receipts of people who may have got the run."""
        found = self._of_run(run, mark).filter(status="", delivery__status=Delivery.Status.UNKNOWN)
        return found._exclude_resent(run, [*_LOST, Delivery.Status.UNKNOWN])

    def _union(self, first: Self, second: Self) -> Self:
        return self.filter(pk__in=first.order_by().values("pk").union(second.order_by().values("pk"), all=True))

    def _of_run(self, run: Run, mark: str) -> Self:
        return self.filter(run=run, delivery__mark=mark) if mark else self.filter(run=run)

    def _exclude_resent(self, run: Run, lost: Sequence[Delivery.Status]) -> Self:
        """Leave out receipts of people to whom a later run sent it again, or is sending it."""
        later = run.find_later_resends()
        if not later:
            return self
        sent = Receipt.objects.filter(run__in=later, delivery__isnull=False, status="")
        sent = sent.exclude(delivery__status__in=lost).order_by()
        people, groups = sent.filter(user__isnull=False), sent.filter(user__isnull=True)
        return self.exclude(user__in=people.values("user")).exclude(user=None, address__in=groups.values("address"))


class Receipt(models.Model):
    """The outcome of a run for one person. An empty status means that the delivery's status counts for this person."""

    class Status(models.TextChoices):
        INVALID = "invalid", _("invalid account")
        UNLICENSED = "unlicensed", _("no licence")
        SKIPPED = "skipped", _("skipped")

    class Reason(models.TextChoices):
        NO_COMPANY = "no_company", _("WeCom company name is missing")
        NO_USERID = "no_userid", _("WeCom account is missing")
        NO_ACCOUNT = "no_account", _("not linked to WeCom")
        BAD_USERID = "bad_userid", _("the WeCom account has characters that WeCom does not allow")
        CORP_DISABLED = "corp_disabled", _("the company is disabled")
        OTHER_CORP = "other_corp", _("the content is only for another company")
        USER_DISABLED = "user_disabled", _("the person is disabled")
        NO_EMAIL = "no_email", _("no e-mail address")
        BARRED = "barred", _("deleted, disabled or out of scope in WeCom")
        PAUSED = "paused", _("the person has paused this push")
        DECLINED = "declined", _("the person does not want this push")
        NO_ROWS = "no_rows", _("the content has no rows for the person")
        NO_VALUE = "no_value", _("an attribute that chooses the person's rows is empty")
        NO_MESSAGE = "no_message", _("the person's message could not be made")
        NO_BI_IDENTITY = "no_bi_identity", _("no BI account with whose rights the page could be shown")

    # Reasons that people chose themselves: nothing is to be repaired or sent again.
    BY_CHOICE = frozenset({Reason.PAUSED, Reason.DECLINED})
    # Reasons with which sending again would change nothing.
    NOT_RESENT = BY_CHOICE | {Reason.NO_ROWS}
    # Reasons that depend on the content, and may differ the next time.
    OF_CONTENT = frozenset({Reason.NO_ROWS, Reason.NO_VALUE, Reason.NO_BI_IDENTITY})

    # Indexed by one_receipt_per_address.
    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="receipts", verbose_name=_("run"), db_index=False
    )
    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, null=True, related_name="receipts", verbose_name=_("delivery")
    )
    # Indexed by receipt_of_person.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("person"),
        db_index=False,
    )
    channel = models.CharField(_("channel"), max_length=16, choices=Channel.choices)
    # The address, unique in a run: "<corp id>:<folded userid>" in WeCom, "mail:<id>:<address>", "robot:<id>", and
    # "user:<id>" for a person without address.
    address = models.CharField(pgettext_lazy("receipt", "address"), max_length=128)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, blank=True)
    reason = models.CharField(_("reason"), max_length=16, choices=Reason.choices, blank=True)
    # A stored sentence that details the reason.
    detail = models.TextField(blank=True, default="", db_default="")
    read_at = models.DateTimeField(_("read"), null=True)

    objects = ReceiptQuerySet.as_manager()

    class Meta:
        verbose_name = _("receipt")
        verbose_name_plural = _("receipts")
        constraints = [models.UniqueConstraint(fields=["run", "channel", "address"], name="one_receipt_per_address")]
        indexes = [
            # A person's messages, newest first.
            models.Index(F("user"), F("id").desc(), name="receipt_of_person"),
            # The log by own status and by reason: notifications.admin.log_pages.ReceiptFilter.
            models.Index(fields=["status", "-id"], condition=~Q(status=""), name="receipt_exception"),
            models.Index(fields=["reason", "-id"], condition=~Q(reason=""), name="receipt_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.address} {self.get_status_display()}".strip()

    @property
    def reason_text(self) -> str:
        """The most exact known reason in the active language; empty if there is none."""
        return translate_stored(self.detail) or str(self.get_reason_display())
