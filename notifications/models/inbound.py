"""Inbound channels: addresses that other systems send to, the last payload of each, and the log of its calls."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.scopes import rights_changeable_by
from integrations.models import Corp, Department
from integrations.models.fields import EncryptedTextField
from integrations.models.jobs import Leased, LeasedQuerySet
from notifications.models.alerts import AlertSource
from notifications.models.lookups import Moment
from notifications.models.recipients import Succeeded
from notifications.models.subscriptions import INCOMING_FORMS, MAX_LIFETIME_HOURS, Priority

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from integrations.models.fields import Person

MAY_SEND = "notifications.add_incomingmessage"
RIGHTS = "django.contrib.auth.backends.ModelBackend"
PUBLIC_ID_BYTES = 16
MAX_DAILY_LIMIT = 1_000_000


def new_public_id() -> str:
    """32 hexadecimal digits: names the channel in its address and proves nothing."""
    return secrets.token_hex(PUBLIC_ID_BYTES)


def senders() -> QuerySet[User]:
    """The people with whose rights messages of other systems are sent: staff who hold MAY_SEND."""
    return User.objects.with_perm(MAY_SEND, backend=RIGHTS).filter(is_staff=True)


class InboundChannelQuerySet(models.QuerySet["InboundChannel"]):
    def visible_to(self, person: Person) -> Self:
        """One's own, and those of people whose rights `person` may change: a channel lends its owner's rights, also
        those that the owner does without for a while."""
        own = Q(owner=person.pk) if isinstance(person, User) else Q(pk__in=[])
        return self.filter(own | Q(owner__in=rights_changeable_by(person)))

    def usable(self) -> Self:
        """Of somebody who may send messages, and enter the administration."""
        return self.filter(owner__in=senders())


class InboundChannel(AlertSource, Succeeded):
    """An address that takes what another system sends, and makes messages or incidents of it with its owner's rights.

    Of the secret a channel keeps what its scheme needs: a digest where the sender sends the secret itself, the
    encrypted secret where the sender signs with it.
    """

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", pgettext_lazy("inbound channel", "webhook")
        MAIL = "mail", _("mail")

    class Reach(models.TextChoices):
        EVERYONE = "everyone", _("everyone whom the owner may reach")
        CHOSEN = "chosen", _("only the people chosen here")

    name = models.CharField(_("name"), max_length=128, help_text=_("Which system sends, for example Grafana."))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices, default=Kind.WEBHOOK)
    public_id = models.CharField(max_length=32, unique=True, default=new_public_id, editable=False)
    is_enabled = models.BooleanField(_("enabled"), default=False)
    owner = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("owner"),
        help_text=_("The channel reaches only people whom its owner may reach."),
    )
    corp = models.ForeignKey(
        Corp,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("only for the company"),
        help_text=_("Empty: for people of every company that its owner manages."),
    )
    # Of notifications.inbound.mapping, and of notifications.inbound.channels.
    preset = models.CharField(_("sender"), max_length=32, blank=True)
    scheme = models.CharField(_("proof"), max_length=32, default="bearer")
    # SHA-256 of the secret, in hexadecimal digits; empty where the secret itself is needed.
    digest = models.CharField(max_length=64, blank=True, editable=False)
    secret = EncryptedTextField(blank=True, editable=False)
    mapping = models.JSONField(default=dict, blank=True)
    is_alert = models.BooleanField(
        _("as an alert"),
        default=False,
        db_default=False,
        help_text=_(
            "For Alertmanager, Grafana and Nightingale. Each alert opens an incident with one card, which people take "
            "over and which changes once the alert is over. The texts below are not used then."
        ),
    )
    reach = models.CharField(_("reaches"), max_length=16, choices=Reach.choices, default=Reach.EVERYONE)
    users = models.ManyToManyField(User, blank=True, related_name="+", verbose_name=_("users"))
    groups = models.ManyToManyField(Group, blank=True, related_name="+", verbose_name=_("groups"))
    departments = models.ManyToManyField(
        Department, blank=True, related_name="+", verbose_name=_("departments of WeCom")
    )
    with_subdepartments = models.BooleanField(_("with the departments below them"), default=True)
    form = models.CharField(
        _("message form"),
        max_length=16,
        blank=True,
        choices=INCOMING_FORMS,
        help_text=_("Empty: chosen by what comes in."),
    )
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority.choices, default=Priority.ORDINARY)
    lifetime_hours = models.PositiveIntegerField(
        _("expires after (hours)"),
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_LIFETIME_HOURS)],
        help_text=_("A message that could not be sent within this time is canceled."),
    )
    daily_limit = models.PositiveIntegerField(
        _("messages a day at most"),
        default=10_000,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAILY_LIMIT)],
        help_text=_("Counted by person: a message to five people is five."),
    )
    allows_private_addresses = models.BooleanField(
        _("may fetch pictures from the internal network"),
        default=False,
        help_text=_("Pictures and files that a payload names by their address. Only superusers switch this on."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = InboundChannelQuerySet.as_manager()

    class Meta:
        verbose_name = _("inbound channel")
        verbose_name_plural = _("inbound channels")
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class InboundPayloadQuerySet(models.QuerySet["InboundPayload"]):
    def older_than(self, moment: Moment) -> Self:
        return self.filter(received_at__lte=moment)


class InboundPayload(models.Model):
    """What came in last, for an hour, so that an editor picks fields from it. `content`: JSON."""

    channel = models.OneToOneField(InboundChannel, on_delete=models.CASCADE, related_name="last_payload")
    content = EncryptedTextField()
    received_at = models.DateTimeField(db_index=True)

    objects = InboundPayloadQuerySet.as_manager()

    class Meta:
        verbose_name = _("last payload of an inbound channel")
        verbose_name_plural = _("last payloads of inbound channels")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.channel_id} {self.received_at:%Y-%m-%d %H:%M:%S}"


class InboundCallQuerySet(models.QuerySet["InboundCall"]):
    def newest_first(self) -> Self:
        return self.order_by("-last_at", "-pk")

    def crowded(self, at_most: int) -> list[int]:
        """Channels with more calls than that."""
        counted = self.order_by().values("channel").annotate(call_count=Count("pk")).filter(call_count__gt=at_most)
        return list(counted.values_list("channel", flat=True))


class InboundCall(models.Model):
    """What became of a call: neither its payload nor its secret. Equal refusals in a row are one row with a count."""

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted", _("accepted")
        REPEATED = "repeated", _("repeated: nothing was sent again")
        LEFT_OUT = "left_out", _("left out by the condition")
        NOTED = "noted", _("noted only: the channel is not enabled")
        WITHOUT_FILE = "without_file", _("accepted without a picture or file")
        REFUSED = "refused", _("refused")

    channel = models.ForeignKey(InboundChannel, on_delete=models.CASCADE, related_name="calls", db_index=False)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices)
    message = models.ForeignKey(
        "notifications.IncomingMessage",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("message"),
    )
    # A stored sentence; empty where the outcome says it all.
    reason = models.TextField(blank=True)
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = InboundCallQuerySet.as_manager()

    class Meta:
        verbose_name = _("call of an inbound channel")
        verbose_name_plural = _("calls of inbound channels")
        default_permissions = ()
        # InboundCallQuerySet.newest_first, of one channel.
        indexes = [models.Index(fields=["channel", "-last_at"], name="inbound_call_newest")]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.outcome}"


class InboundFetchQuerySet(LeasedQuerySet["InboundFetch"]):
    def takeable(self, now: datetime) -> Self:
        """Those that were handed to a task, which nobody has begun with, and those whose worker died."""
        return self.filter(Q(lease_token="") | Q(lease_until__lte=now))


class InboundFetch(Leased):
    """A call whose pictures and files a worker has to fetch before its message is made. Deleted then.

    Its lease is also that of the task to which it was handed: nobody hands it out again before.
    """

    channel = models.ForeignKey(InboundChannel, on_delete=models.CASCADE, related_name="+")
    # Of the message to be.
    key = models.CharField(max_length=128, unique=True)
    # JSON.
    payload = EncryptedTextField()
    try_count = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()

    objects = InboundFetchQuerySet.as_manager()

    class Meta:
        verbose_name = _("call that waits for its pictures and files")
        verbose_name_plural = _("calls that wait for their pictures and files")
        default_permissions = ()
        # LeasedQuerySet.free, of every tick.
        indexes = [models.Index(fields=["lease_until"], name="inbound_fetch_free")]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.created_at:%Y-%m-%d %H:%M:%S}"
