"""What comes from other systems: inbound channels with the log of their calls, messages, and mails to be passed on."""

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
from accounts.users.roles import rights_changeable_by, scope_condition
from integrations.core import sentences
from integrations.models import Corp, Department
from integrations.models.fields import NOTHING, EncryptedTextField
from integrations.models.jobs import Moment
from notifications.models.alerts import AlertSource
from notifications.models.recipients import Succeeded
from notifications.models.runs import Run
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


class InboundPayload(models.Model):
    """What came in last, for an hour, so that an editor picks fields from it. `content`: JSON."""

    channel = models.OneToOneField(InboundChannel, on_delete=models.CASCADE, related_name="last_payload")
    content = EncryptedTextField()
    received_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("last payload of an inbound channel")
        verbose_name_plural = _("last payloads of inbound channels")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.channel_id} {self.received_at:%Y-%m-%d %H:%M:%S}"


class InboundCallQuerySet(models.QuerySet["InboundCall"]):
    def newest_first(self) -> Self:
        return self.order_by("-last_at", "-pk")


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


class InboundFetch(models.Model):
    """A call whose pictures and files a job has to fetch before its message is made. Deleted then."""

    channel = models.ForeignKey(InboundChannel, on_delete=models.CASCADE, related_name="+")
    # Of the message to be.
    key = models.CharField(max_length=128, unique=True)
    # JSON.
    payload = EncryptedTextField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = _("call that waits for its pictures and files")
        verbose_name_plural = _("calls that wait for their pictures and files")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.channel_id} {self.created_at:%Y-%m-%d %H:%M:%S}"


TITLE_CHARACTERS = 128
LINK_CHARACTERS = 1024
# More is cut: what WeCom shows of it is 2 KB, the rest stands on the message's page.
TEXT_CHARACTERS = 50_000
FIGURES_AT_MOST = 20


class IncomingMessageQuerySet(models.QuerySet["IncomingMessage"]):
    def visible_to(self, person: Person) -> Self:
        """As reports; and of one's own also those to people of every company."""
        own = Q(requested_by=person.pk, corp__isnull=True) if isinstance(person, User) else NOTHING
        return self.filter(scope_condition(person) | own)

    def settled(self) -> Self:
        """Those of which every run has ended."""
        under_way = Run.objects.filter(message=OuterRef("pk"), status__in=[Run.Status.WAITING, Run.Status.SENDING])
        return self.filter(~Exists(under_way))

    def to_call_back(self, now: Moment) -> Self:
        """Settled messages whose sender is to be told now."""
        return self.filter(callback_state=IncomingMessage.Callback.WAITING, callback_after__lte=now).settled()

    def forgotten(self, before: Moment) -> Self:
        """Those whose runs are purged."""
        return self.filter(~Exists(Run.objects.filter(message=OuterRef("pk"))), created_at__lt=before)


class IncomingMessage(models.Model):
    """One message of another system. Its runs send it: one for the message, and one for each further file.

    Written in one transaction with its runs and their pictures and files; only the callback's state changes later.
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

    origin = models.CharField(_("came by"), max_length=16, choices=Origin.choices)
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
    # What is handed in twice has the same, and exists once.
    key = models.CharField(max_length=128, unique=True)
    # As it came, without control characters; escaped when a message is made of it.
    title = models.CharField(_("title"), max_length=TITLE_CHARACTERS)
    text = models.TextField(_("text"), blank=True)
    markup = models.CharField(_("markup"), max_length=16, choices=Markup.choices, default=Markup.PLAIN)
    link = models.CharField(_("link"), max_length=LINK_CHARACTERS, blank=True)
    # A list of [caption, words].
    figures = models.JSONField(_("key figures"), default=list)
    # As chosen, by the sender or by what came.
    form = models.CharField(_("message form"), max_length=16, choices=INCOMING_FORMS)
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority.choices, default=Priority.ORDINARY)
    lifetime_hours = models.PositiveIntegerField(
        _("expires after (hours)"), default=24, validators=[MinValueValidator(1), MaxValueValidator(MAX_LIFETIME_HOURS)]
    )
    corp = models.ForeignKey(
        Corp, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("only for the company")
    )
    # Whom its addresses named when it was accepted, and the addresses that named nobody: a list of address and reason.
    people = models.ManyToManyField(User, related_name="+", verbose_name=_("people"))
    unknown = models.JSONField(_("unknown addresses"), default=list)
    # People times runs: what counts for the sender's daily limit.
    person_count = models.PositiveIntegerField(_("person-messages"), default=0)
    # A whole mail, compressed with zlib; empty for what came otherwise.
    original = models.BinaryField()
    # The body of the page that shows the whole mail, cleaned and compressed with zlib.
    page = models.BinaryField(default=b"", db_default=b"")
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("requested by")
    )
    created_at = models.DateTimeField(_("received"))
    # Where its sender is told what became of it. Encrypted: an address may hold a secret.
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
        # To add one means to send one, by a token or a channel of one's own.
        default_permissions = ("view", "add")
        indexes = [
            # The list, by day, and what is too old.
            models.Index(fields=["created_at"], name="message_created"),
            # Titles are searched in the index, without the rows' texts.
            models.Index(fields=["title", "id"], name="message_title"),
            # How many a sender sent today: notifications.inbound.accept.
            models.Index(fields=["token", "created_at"], condition=Q(token__isnull=False), name="message_token"),
            models.Index(fields=["channel", "created_at"], condition=Q(channel__isnull=False), name="message_channel"),
            # IncomingMessageQuerySet.to_call_back().
            models.Index(fields=["callback_after"], condition=Q(callback_state="waiting"), name="message_callback"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def origin_name(self) -> str:
        """Where it came from, by the name of its token or channel; else how it came."""
        sender = self.token or self.channel
        return sender.name if sender is not None else str(self.get_origin_display())

    @property
    def callback_error_text(self) -> str:
        """Its error in the language in force."""
        return sentences.shown(self.callback_error)


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
            # What senders were told in the last hour: notifications.inbound.mail.outgoing.
            models.Index(
                fields=["channel", "started_at"],
                condition=Q(kind="bounce", started_at__isnull=False),
                name="outgoing_mail_bounces",
            ),
            # What is to be forgotten: notifications.inbound.mail.outgoing.old.
            models.Index(fields=["created_at"], condition=Q(message__isnull=True), name="outgoing_mail_alone"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
