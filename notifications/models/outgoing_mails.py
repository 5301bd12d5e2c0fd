"""Mails that the mail door sends itself: what its sender is told, and mails passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from notifications.models.inbound import InboundChannel
from notifications.models.lookups import Moment
from notifications.models.messages import TITLE_CHARACTERS, IncomingMessage

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

# RFC 5321, 4.5.3.1: of a whole address.
ADDRESS_CHARACTERS = 320


class OutgoingMailQuerySet(models.QuerySet["OutgoingMail"]):
    def due(self, now: Moment) -> Self:
        """Those to be sent now. What a sender is told waits until its message is settled."""
        waiting = self.filter(status=OutgoingMail.Status.WAITING, next_attempt_at__lte=now)
        settled = IncomingMessage.objects.settled().order_by().values("pk")
        return waiting.filter(Q(kind=OutgoingMail.Kind.FORWARD) | Q(message__isnull=True) | Q(message__in=settled))

    def left(self, now: Moment) -> Self:
        """Those whose worker died between the beginning and the end of an attempt: nobody knows its outcome."""
        return self.filter(status=OutgoingMail.Status.STARTED, next_attempt_at__lte=now)

    def bounces_since(self, channel_id: int, moment: Moment) -> Self:
        """What senders were told, or are being told."""
        return self.filter(channel=channel_id, kind=OutgoingMail.Kind.BOUNCE, started_at__gt=moment)

    def forwards_since(self, channel_id: int, moment: Moment) -> Self:
        """Mails passed on: they count for the day's limit of their channel."""
        return self.filter(channel=channel_id, kind=OutgoingMail.Kind.FORWARD, created_at__gte=moment)

    def old(self, before: Moment) -> Self:
        """Of mails that became no message; the others go with theirs."""
        return self.filter(message__isnull=True, created_at__lte=before)


class OutgoingMail(models.Model):
    """A mail to one address, written in the transaction that accepted the mail from which it came."""

    class Kind(models.TextChoices):
        BOUNCE = "bounce"
        FORWARD = "forward"

    class Status(models.TextChoices):
        WAITING = "waiting"
        # An attempt is under way; it is not made twice.
        STARTED = "started"
        SENT = "sent"
        # Everybody was reached: there is nothing to tell.
        NEEDLESS = "needless"
        FAILED = "failed"

    # Of kind, mail and recipient: a mail that comes twice causes one.
    key = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    channel = models.ForeignKey(InboundChannel, on_delete=models.CASCADE, related_name="+")
    # Empty where nobody was found for any of its addresses.
    message = models.ForeignKey(IncomingMessage, on_delete=models.CASCADE, null=True, related_name="+")
    recipient = models.CharField(max_length=ADDRESS_CHARACTERS)
    subject = models.CharField(max_length=TITLE_CHARACTERS, blank=True)
    # Of a bounce: the addresses for which nobody was found, as they were written.
    unknown = models.JSONField(default=list)
    # The mail and its page where it is passed on without a message; as in IncomingMessage.
    original = models.BinaryField()
    page = models.BinaryField(default=b"", db_default=b"")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.WAITING)
    next_attempt_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    # The last attempt; empty: there was none.
    started_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    # Of the last attempt; English, for the log.
    error = models.CharField(max_length=200, blank=True)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()

    objects = OutgoingMailQuerySet.as_manager()

    class Meta:
        verbose_name = _("mail of the mail door")
        verbose_name_plural = _("mails of the mail door")
        default_permissions = ()
        indexes = [
            # OutgoingMailQuerySet.due() and left().
            models.Index(
                fields=["next_attempt_at"], condition=Q(status__in=["waiting", "started"]), name="outgoing_mail_waiting"
            ),
            # OutgoingMailQuerySet.bounces_since().
            models.Index(
                fields=["channel", "started_at"],
                condition=Q(kind="bounce", started_at__isnull=False),
                name="outgoing_mail_bounces",
            ),
            # OutgoingMailQuerySet.old().
            models.Index(fields=["created_at"], condition=Q(message__isnull=True), name="outgoing_mail_alone"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
