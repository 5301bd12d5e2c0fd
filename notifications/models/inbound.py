"""Input from other systems: inbound channels with their calls, messages, and mails to pass on."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.roles import find_people_with_changeable_rights, make_scope_condition
from integrations.core import sentences
from integrations.models import Corp, Department
from integrations.models.fields import NOTHING, EncryptedTextField
from integrations.models.jobs import Moment
from notifications.models.alerts import AlertSource
from notifications.models.recipients import WithSuccessor
from notifications.models.runs import Run
from notifications.models.subscriptions import INCOMING_FORMS, MAX_LIFETIME_HOURS, Priority

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from integrations.models.fields import Person


MAY_SEND = "notifications.add_incomingmessage"
PERMISSION_BACKEND = "django.contrib.auth.backends.ModelBackend"
PUBLIC_ID_BYTES = 16
MAX_DAILY_LIMIT = 1_000_000


def new_public_id() -> str:
    """Make 32 hexadecimal digits that name the channel in its address. They are no secret."""
    return secrets.token_hex(PUBLIC_ID_BYTES)


def find_senders() -> QuerySet[User]:
    """Return the staff who hold MAY_SEND. Messages of other systems are sent with the rights of one of them."""
    return User.objects.with_perm(MAY_SEND, backend=PERMISSION_BACKEND).filter(is_staff=True)


class InboundChannelQuerySet(models.QuerySet["InboundChannel"]):
    def visible_to(self, person: Person) -> Self:
        """Channels of `person`, and of people whose rights `person` may change, because a channel acts with its owner's
        rights. Rights of an owner who is not staff at present count too."""
        own = Q(owner=person.pk) if isinstance(person, User) else Q(pk__in=[])
        # Check only the owners, not every user.
        owners = find_people_with_changeable_rights(person).filter(pk__in=self.model._base_manager.values("owner"))
        return self.filter(own | Q(owner__in=owners))

    def usable(self) -> Self:
        """Channels whose owner may send messages and enter the administration."""
        return self.filter(owner__in=find_senders())


AllChannels = models.Manager.from_queryset(InboundChannelQuerySet)


class InboundChannelManager(AllChannels["InboundChannel"]):
    def get_queryset(self) -> InboundChannelQuerySet:
        """Return the channels without their last payloads: they are large, and a save of a channel must not overwrite
        the payload that a call stored meanwhile."""
        return InboundChannelQuerySet(self.model, using=self._db).defer("last_payload", "last_payload_at")


class InboundChannel(AlertSource, WithSuccessor):
    """An address that takes what another system sends, and makes messages or incidents of it with its owner's rights.

    Stored is what its scheme needs: a digest if the sender sends the secret itself, the encrypted secret if the sender
    signs with it.
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
    # `preset`: a name in notifications.inbound.mapping. `scheme`: a name in notifications.inbound.channels.
    preset = models.CharField(_("sender"), max_length=32, blank=True)
    scheme = models.CharField(_("verification"), max_length=32, default="bearer")
    # SHA-256 of the secret, in hexadecimal digits; empty if the secret itself is stored.
    digest = models.CharField(max_length=64, blank=True, editable=False)
    secret = EncryptedTextField(blank=True, editable=False)
    mapping = models.JSONField(default=dict, blank=True)
    is_alert = models.BooleanField(
        _("as an alert"),
        default=False,
        db_default=False,
        help_text=_(
            "For Alertmanager, Grafana and Nightingale. Each alert opens an incident with one message card. People "
            "can take it, and the card changes when the alert ends. The texts below are then not used."
        ),
    )
    reach = models.CharField(_("reaches"), max_length=16, choices=Reach.choices, default=Reach.EVERYONE)
    users = models.ManyToManyField(User, blank=True, related_name="+", verbose_name=_("people"))
    groups = models.ManyToManyField(Group, blank=True, related_name="+", verbose_name=_("groups"))
    departments = models.ManyToManyField(
        Department, blank=True, related_name="+", verbose_name=_("departments of WeCom")
    )
    with_subdepartments = models.BooleanField(_("including their subdepartments"), default=True)
    form = models.CharField(
        _("message form"),
        max_length=16,
        blank=True,
        choices=INCOMING_FORMS,
        help_text=_("Empty: chosen according to the incoming message."),
    )
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority.choices, default=Priority.ORDINARY)
    lifetime_hours = models.PositiveIntegerField(
        _("expires after (hours)"),
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_LIFETIME_HOURS)],
        help_text=_("A message that could not be sent within this time is canceled."),
    )
    daily_limit = models.PositiveIntegerField(
        _("messages per day at most"),
        default=10_000,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAILY_LIMIT)],
        help_text=_("Counted per person: a message to five people counts as five."),
    )
    allows_private_addresses = models.BooleanField(
        _("may fetch pictures from the internal network"),
        default=False,
        help_text=_("For pictures and files that a payload names by address. Only superusers can switch this on."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    # JSON, kept for an hour, so that an editor can pick fields from it. Read by notifications.inbound.calls alone.
    last_payload = EncryptedTextField(blank=True, editable=False)
    # Without an index, because channels are few, and each call changes it.
    last_payload_at: models.DateTimeField[Moment | None, datetime | None] = models.DateTimeField(
        null=True, editable=False
    )

    objects = InboundChannelManager()

    class Meta:
        verbose_name = _("inbound channel")
        verbose_name_plural = _("inbound channels")
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class InboundCallQuerySet(models.QuerySet["InboundCall"]):
    def newest_first(self) -> Self:
        return self.order_by("-last_at", "-pk")


class InboundCall(models.Model):
    """The outcome of a call, without payload or secret. Equal calls one after another share a row, unless accepted."""

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
    # A stored sentence; empty if the outcome needs no reason.
    reason = models.TextField(blank=True)
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = InboundCallQuerySet.as_manager()

    class Meta:
        verbose_name = _("call of an inbound channel")
        verbose_name_plural = _("calls of inbound channels")
        default_permissions = ()
        # InboundCallQuerySet.newest_first() of one channel.
        indexes = [models.Index(fields=["channel", "-last_at"], name="inbound_call_newest")]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.outcome}"


TITLE_CHARACTERS = 128
LINK_CHARACTERS = 1024
# Longer texts are cut. WeCom shows 2 KB; the message's page shows the rest.
TEXT_CHARACTERS = 50_000
FIGURES_AT_MOST = 20


class IncomingMessageQuerySet(models.QuerySet["IncomingMessage"]):
    def visible_to(self, person: Person) -> Self:
        """Messages of visible companies, and those that `person` sent to all companies."""
        own = Q(requested_by=person.pk, corp__isnull=True) if isinstance(person, User) else NOTHING
        return self.filter(make_scope_condition(person) | own)

    def settled(self) -> Self:
        """Messages whose runs have all ended."""
        under_way = Run.objects.filter(message=OuterRef("pk"), status__in=[Run.Status.WAITING, Run.Status.SENDING])
        return self.filter(~Exists(under_way))

    def to_call_back(self, now: Moment) -> Self:
        """Settled messages whose callback is due."""
        return self.filter(callback_state=IncomingMessage.Callback.WAITING, callback_after__lte=now).settled()


class IncomingMessage(models.Model):
    """A message of another system. It has one run for the message, and one for each further file.

    It is written in one transaction with its runs, pictures and files; only the callback's state changes later.
    """

    class Origin(models.TextChoices):
        API = "api", _("API")
        MAIL = "mail", pgettext_lazy("origin of a message", "mail")
        CHANNEL = "channel", _("inbound channel")

    class Markup(models.TextChoices):
        PLAIN = "plain", _("plain text")
        MARKDOWN = "markdown", _("Markdown")

    class Callback(models.TextChoices):
        NONE = "", _("none")
        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        GIVEN_UP = "given_up", _("given up")

    origin = models.CharField(_("received by"), max_length=16, choices=Origin.choices)
    token = models.ForeignKey(
        "notifications.ApiToken",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("API token"),
        db_index=False,
    )
    channel = models.ForeignKey(
        "notifications.InboundChannel",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("inbound channel"),
        db_index=False,
    )
    # The same for two requests with the same message, so that it exists once.
    key = models.CharField(max_length=128, unique=True)
    # As received, without control characters; it is escaped when a message is made.
    title = models.CharField(_("title"), max_length=TITLE_CHARACTERS)
    text = models.TextField(_("text"), blank=True)
    markup = models.CharField(_("markup"), max_length=16, choices=Markup.choices, default=Markup.PLAIN)
    link = models.CharField(_("link"), max_length=LINK_CHARACTERS, blank=True)
    # A list of [caption, value].
    figures = models.JSONField(_("key figures"), default=list)
    # Chosen by the sender, else according to the content.
    form = models.CharField(_("message form"), max_length=16, choices=INCOMING_FORMS)
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority.choices, default=Priority.ORDINARY)
    lifetime_hours = models.PositiveIntegerField(
        _("expires after (hours)"), default=24, validators=[MinValueValidator(1), MaxValueValidator(MAX_LIFETIME_HOURS)]
    )
    corp = models.ForeignKey(
        Corp, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("only for the company")
    )
    # The people found for its addresses when it was accepted, and addresses without a person: [address, reason] each.
    people = models.ManyToManyField(User, related_name="+", verbose_name=_("people"))
    unknown = models.JSONField(_("unknown addresses"), default=list)
    # People times runs, which counts for the sender's daily limit.
    person_count = models.PositiveIntegerField(_("person-messages"), default=0)
    # A whole mail, compressed with zlib; empty for other origins.
    original = models.BinaryField()
    # The body of the page that shows the whole mail, cleaned and compressed with zlib.
    page = models.BinaryField(default=b"", db_default=b"")
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("requested by")
    )
    created_at = models.DateTimeField(_("received"))
    # The sender's address for the outcome. Encrypted: an address may hold a secret.
    callback_url = EncryptedTextField(blank=True, default="")
    callback_state = models.CharField(_("webhook"), max_length=16, choices=Callback.choices, blank=True, default="")
    callback_after = models.DateTimeField(_("next attempt"), null=True)
    callback_count = models.PositiveSmallIntegerField(_("attempts"), default=0)
    # A stored sentence: why the last attempt failed.
    callback_error = models.TextField(_("error of the webhook"), blank=True)

    objects = IncomingMessageQuerySet.as_manager()

    class Meta:
        verbose_name = _("incoming message")
        verbose_name_plural = _("incoming messages")
        ordering = ["-pk"]
        # Adding a message means sending it, by one's own token or channel.
        default_permissions = ("view", "add")
        indexes = [
            # The list by day, and the purge.
            models.Index(fields=["created_at"], name="message_created"),
            # Titles are searched in the index, without the rows' texts.
            models.Index(fields=["title", "id"], name="message_title"),
            # For a sender's daily count: notifications.inbound.accept.
            models.Index(fields=["token", "created_at"], condition=Q(token__isnull=False), name="message_token"),
            models.Index(fields=["channel", "created_at"], condition=Q(channel__isnull=False), name="message_channel"),
            # IncomingMessageQuerySet.to_call_back().
            models.Index(fields=["callback_after"], condition=Q(callback_state="waiting"), name="message_callback"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def origin_name(self) -> str:
        """The name of its token or channel, else the kind of its origin."""
        sender = self.token or self.channel
        return sender.name if sender is not None else str(self.get_origin_display())

    @property
    def callback_error_text(self) -> str:
        """The callback's error in the active language."""
        return sentences.translate_stored(self.callback_error)


# The longest address (RFC 5321, 4.5.3.1).
ADDRESS_CHARACTERS = 320


class OutgoingMailQuerySet(models.QuerySet["OutgoingMail"]):
    def due(self, now: Moment) -> Self:
        """Mails to send now. Bounces wait until their message is settled."""
        waiting = self.filter(status=OutgoingMail.Status.WAITING, next_attempt_at__lte=now)
        settled = IncomingMessage.objects.settled().order_by().values("pk")
        return waiting.filter(Q(kind=OutgoingMail.Kind.FORWARD) | Q(message__isnull=True) | Q(message__in=settled))


class OutgoingMail(models.Model):
    """A mail to one address, written in the transaction that accepted the mail that caused it."""

    class Kind(models.TextChoices):
        BOUNCE = "bounce"
        FORWARD = "forward"

    class Status(models.TextChoices):
        WAITING = "waiting"
        # An attempt is under way. It is never repeated, even if its worker dies.
        STARTED = "started"
        SENT = "sent"
        # Everybody was reached, so no bounce is needed.
        NEEDLESS = "needless"
        FAILED = "failed"

    # A digest of kind, mail and recipient, so that a mail received twice causes one.
    key = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    channel = models.ForeignKey(InboundChannel, on_delete=models.CASCADE, related_name="+")
    # Empty if no person was found for any address.
    message = models.ForeignKey(IncomingMessage, on_delete=models.CASCADE, null=True, related_name="+")
    recipient = models.CharField(max_length=ADDRESS_CHARACTERS)
    subject = models.CharField(max_length=TITLE_CHARACTERS, blank=True)
    # For a bounce: the addresses without a person, as written.
    unknown = models.JSONField(default=list)
    # The mail and its page if it is passed on without a message; as in IncomingMessage.
    original = models.BinaryField()
    page = models.BinaryField(default=b"", db_default=b"")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.WAITING)
    next_attempt_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    # The last attempt; empty if there was none.
    started_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    # The error of the last attempt, in English for the log.
    error = models.CharField(max_length=200, blank=True)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()

    objects = OutgoingMailQuerySet.as_manager()

    class Meta:
        verbose_name = _("mail of the mail door")
        verbose_name_plural = _("mails of the mail door")
        default_permissions = ()
        indexes = [
            # OutgoingMailQuerySet.due(), and attempts whose worker died.
            models.Index(
                fields=["next_attempt_at"], condition=Q(status__in=["waiting", "started"]), name="outgoing_mail_waiting"
            ),
            # For the hourly count of bounces: notifications.inbound.mail.outgoing.
            models.Index(
                fields=["channel", "started_at"],
                condition=Q(kind="bounce", started_at__isnull=False),
                name="outgoing_mail_bounces",
            ),
            # For the purge: notifications.tasks.
            models.Index(fields=["created_at"], condition=Q(message__isnull=True), name="outgoing_mail_alone"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
