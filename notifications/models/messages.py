"""Incoming messages: what another system handed in, over the API, by mail or through an inbound channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.scopes import scope_condition
from integrations.core import sentences
from integrations.models import Corp
from integrations.models.fields import NOTHING, EncryptedTextField
from notifications.models.lookups import Moment
from notifications.models.runs import Run
from notifications.models.subscriptions import INCOMING_FORMS, MAX_LIFETIME_HOURS, Priority

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.fields import Person

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
