"""Verification files, and callback events as they arrived."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from integrations.models.companies import Corp
from integrations.models.fields import EncryptedTextField


class VerificationFile(models.Model):
    """A file WW_verify_<code>.txt, by which WeCom sees that a domain is ours: served at the root of every address.

    The body of such a file is its code, so the code is all that is kept. What a look at the public address found
    stands beside it.
    """

    class Outcome(models.TextChoices):
        FOUND = "found", _("answers rightly")
        WRONG_CONTENT = "wrong_content", _("something else answers")
        WRONG_STATUS = "wrong_status", _("not found there")
        REDIRECTED = "redirected", _("redirected")
        UNTRUSTED = "untrusted", _("certificate not trusted")
        UNREACHABLE = "unreachable", _("cannot be reached")

    corp = models.ForeignKey(
        Corp, on_delete=models.CASCADE, related_name="verification_files", verbose_name=_("company")
    )
    code = models.CharField(_("code"), max_length=16, db_index=True)
    uploaded_at = models.DateTimeField(_("uploaded"))
    check_requested_at = models.DateTimeField(_("check requested"), null=True)
    checked_at = models.DateTimeField(_("checked"), null=True)
    # Where the check looked: it says nothing of an address that was saved since.
    checked_url = models.CharField(_("checked address"), max_length=512, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices, blank=True)
    detail = models.CharField(_("detail"), max_length=255, blank=True)

    class Meta:
        verbose_name = _("verification file")
        verbose_name_plural = _("verification files")
        ordering = ["pk"]
        default_permissions = ()  # part of the corp's page: who may change the corp may change its files
        # Not by the code alone: two apps of one company may be given the same file; each keeps its own.
        constraints = [models.UniqueConstraint(fields=["corp", "code"], name="one_file_per_corp_and_code")]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"WW_verify_{self.code}.txt"

    @property
    def is_being_checked(self) -> bool:
        if self.check_requested_at is None:
            return False
        return self.checked_at is None or self.checked_at < self.check_requested_at


class CallbackEvent(models.Model):
    """Something that WeCom told one of a corp's two callback addresses, stored once however often it was delivered."""

    class Kind(models.TextChoices):
        APP = "app", _("app")
        CONTACTS = "contacts", _("contacts assistant")

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="callback_events", verbose_name=_("company"))
    kind = models.CharField(_("address"), max_length=16, choices=Kind.choices)
    # MsgId of a message, digest of an event's plaintext: all else differs between WeCom's deliveries of one event.
    key = models.CharField(max_length=80)
    # The event's name, or a message's type; two names occur as both.
    event = models.CharField(_("event"), max_length=64)
    is_event = models.BooleanField()
    change = models.CharField(_("kind of change"), max_length=64, blank=True)
    userid = models.CharField("userid", max_length=128, blank=True)
    happened_at = models.DateTimeField(_("happened"))
    received_at = models.DateTimeField(_("received"))
    # The whole plaintext. Encrypted: it holds what people write, and their mobile numbers and addresses.
    body = EncryptedTextField(_("content"))

    class Meta:
        verbose_name = _("callback event")
        verbose_name_plural = _("callback events")
        ordering = ["pk"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["corp", "kind", "key"], name="one_row_per_callback_event")]
        # The newest event of an address, and the oldest ones of a corp, which are deleted.
        indexes = [models.Index(fields=["corp", "kind", "received_at"], name="events_by_age")]

    def __str__(self) -> str:
        return f"{self.corp_id} {self.kind} {self.event} {timezone.localtime(self.received_at):%Y-%m-%d %H:%M}"
