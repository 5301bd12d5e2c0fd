"""Receipts: what became of a run, one per person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import WeComAccount
from accounts.users.scopes import sees_all_corps
from integrations.core.sentences import shown
from integrations.models import Corp
from notifications.models.deliveries import Delivery
from notifications.models.recipients import Channel
from notifications.models.runs import Run, run_condition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from integrations.models.fields import Person


_LOST = (Delivery.Status.FAILED, Delivery.Status.CANCELED)


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    def visible_to(self, person: Person) -> Self:
        """Receipts of visible deliveries; of skipped people, who have none, the visible ones of visible runs."""
        if sees_all_corps(person):
            return self.all()
        corp_ids = Corp.objects.keys_visible_to(person)
        people = WeComAccount.objects.filter(corp__in=corp_ids).values("user")
        # By joins: a subquery about all runs would be worked out whole, however few receipts are looked at.
        skipped = Q(run_condition(person, path="run__"), delivery__isnull=True, user__in=people)
        return self.filter(Q(delivery__corp__in=corp_ids) | skipped)

    def not_reached(self) -> Self:
        """Whose message did not arrive, or may not have: by their own status, or by their message's.

        Two ways, as in with_status: an OR over two tables would read everybody of a run.
        """
        own = self.exclude(status__in=["", Receipt.Status.ACCEPTED])
        return self._either(own, self.filter(status="", delivery__status__in=[*_LOST, Delivery.Status.UNKNOWN]))

    def with_status(self, status: str) -> Self:
        """What became of it for the person: the receipt's own status, else its delivery's.

        Two ways where both have it: nearly every receipt is accepted, so the newest ones are found by walking down
        from the top; all others are few, and an OR over two tables would read the whole log to find them.
        """
        own, inherited = self.filter(status=status), self.filter(status="", delivery__status=status)
        if status not in Delivery.Status.values:
            return own
        if status not in Receipt.Status.values:
            return inherited
        if status == Receipt.Status.ACCEPTED:
            return self.filter(Q(status=status) | Q(status="", delivery__status=status))
        return self._either(own, inherited)

    def arrived(self) -> Self:
        """Receipts of messages that stand, or may stand, on the person's phone."""
        return self.filter(delivery__status__in=[Delivery.Status.ACCEPTED, Delivery.Status.UNKNOWN], status="")

    def unreached(self, run: Run, *, mark: str = "", with_unknown: bool = False) -> Self:
        """Of people who did not get the run: skipped, invalid, without licence, failed, canceled as worthless; `mark`:
        of one of its messages alone.

        Not of those who had paused or declined it, also where they have resumed since: they got what they had asked
        for; nor of those for whom the report had no rows, from whom the message was taken back, or to whom it was sent
        again since.
        """
        lost = [*_LOST, Delivery.Status.UNKNOWN] if with_unknown else _LOST
        all_of_run = self._of(run, mark)
        own = all_of_run.filter(status__in=[Receipt.Status.SKIPPED, Receipt.Status.INVALID, Receipt.Status.UNLICENSED])
        found = self._either(own, all_of_run.filter(status="", delivery__in=run.deliveries.filter(status__in=lost)))
        found = found.exclude(reason__in=Receipt.NOT_SENT_AGAIN).exclude(delivery__recall_requested_at__isnull=False)
        return found._not_sent_again(run, lost)

    def unknown(self, run: Run, *, mark: str = "") -> Self:
        """Of people who may have got the run."""
        found = self._of(run, mark).filter(status="", delivery__status=Delivery.Status.UNKNOWN)
        return found._not_sent_again(run, [*_LOST, Delivery.Status.UNKNOWN])

    def _either(self, first: Self, second: Self) -> Self:
        return self.filter(pk__in=first.order_by().values("pk").union(second.order_by().values("pk"), all=True))

    def _of(self, run: Run, mark: str) -> Self:
        return self.filter(run=run, delivery__mark=mark) if mark else self.filter(run=run)

    def _not_sent_again(self, run: Run, lost: Sequence[Delivery.Status]) -> Self:
        """Without those to whom a later run sent it again, or does so just now."""
        later = run.resent_by()
        if not later:
            return self
        sent = Receipt.objects.filter(run__in=later, delivery__isnull=False, status__in=["", Receipt.Status.ACCEPTED])
        sent = sent.exclude(delivery__status__in=lost).order_by()
        people, groups = sent.filter(user__isnull=False), sent.filter(user__isnull=True)
        return self.exclude(user__in=people.values("user")).exclude(user=None, address__in=groups.values("address"))


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
        PAUSED = "paused", _("the person has paused this push")
        DECLINED = "declined", _("the person does not want this push")
        NO_ROWS = "no_rows", _("the report has no rows for the person")
        NO_VALUE = "no_value", _("an attribute by which their rows are chosen is empty")
        NO_MESSAGE = "no_message", _("their message could not be made")
        NO_BI_IDENTITY = "no_bi_identity", _("no account in the BI, as whom the page would be shown")

    # What people have decided themselves: nothing there is to be put right, nor sent again.
    BY_CHOICE = frozenset({Reason.PAUSED, Reason.DECLINED})
    # Beside them, what was meant not to be sent: sending it again would change nothing.
    NOT_SENT_AGAIN = BY_CHOICE | {Reason.NO_ROWS}
    # What depends on the content, and may be otherwise the next time.
    OF_CONTENT = frozenset({Reason.NO_ROWS, Reason.NO_VALUE, Reason.NO_BI_IDENTITY})

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
    address = models.CharField(pgettext_lazy("receipt", "address"), max_length=128)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, blank=True)
    reason = models.CharField(_("reason"), max_length=16, choices=Reason.choices, blank=True)
    # A stored sentence: the reason more exactly, where there is more to say.
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
            # The log, by what a receipt has of its own: ReceiptQuerySet.with_status().
            models.Index(fields=["status", "-id"], condition=~Q(status=""), name="receipt_exception"),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.address} {self.get_status_display()}".strip()

    @property
    def reason_text(self) -> str:
        """The reason in the language in force, as exactly as it is known; empty where there is none."""
        return shown(self.detail) or str(self.get_reason_display())
