"""Transfers of people between companies; and a table that only processes of release 1.0.0 use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User
from integrations.models import Corp
from integrations.models.jobs import BackgroundJob, BackgroundJobQuerySet

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.scoping import Person


class LinkRequest(models.Model):
    """Unused; processes of release 1.0.0 write it during an upgrade. Its rows are deleted after 90 days."""

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+", verbose_name=_("WeCom company name"))
    userid = models.CharField(_("WeCom account"), max_length=64)
    userid_folded = models.CharField(max_length=64, editable=False)
    first_requested_at = models.DateTimeField(_("first requested"))
    requested_at = models.DateTimeField(_("last requested"))
    request_count = models.PositiveIntegerField(_("times requested"), default=1)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("link with the user"),
    )

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["corp", "userid_folded"], name="one_link_request_per_identity"),
        ]
        indexes = [models.Index(fields=["requested_at"], name="link_request_last")]

    def __str__(self) -> str:
        return f"{self.corp} / {self.userid}"


# --- Moves of everybody from one company to another, which a worker carries out ---


class PeopleMoveQuerySet(BackgroundJobQuerySet["PeopleMove"]):
    def visible_to(self, person: Person) -> Self:
        """Both companies have to be."""
        corps = Corp.objects.visible_to(person)
        return self.filter(source__in=corps, target__in=corps)


class PeopleMove(BackgroundJob):
    """One move. Its row is the progress, too: each step commits its accounts and its count together."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        STOPPED = "stopped", _("stopped")

    source = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+", verbose_name=_("From"))
    target = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+", verbose_name=_("To"))
    # In whose name it is carried out: with the rights that this person has then.
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("administrator")
    )
    requested_by_name = models.CharField(_("administrator"), max_length=255)
    ip = models.GenericIPAddressField(_("IP address"), null=True)
    requested_at = models.DateTimeField(_("requested"))
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    # Accounts with a greater key came later and stay. Those up to `done_up_to` are dealt with.
    last_account = models.BigIntegerField(default=0)
    done_up_to = models.BigIntegerField(default=0)
    total_count = models.PositiveIntegerField(_("accounts"), default=0)
    done_count = models.PositiveIntegerField(_("accounts looked at"), default=0)
    moved_count = models.PositiveIntegerField(_("accounts moved"), default=0)
    # {"taken": [how many, [the first names]], "there": …}: accounts.directory.transfer_batches.Change.
    left = models.JSONField(_("left as before"), default=dict)

    objects = PeopleMoveQuerySet.as_manager()

    class Meta:
        verbose_name = _("move of people")
        verbose_name_plural = _("moves of people")
        ordering = ["-pk"]
        default_permissions = ()  # who may link people may move them
        indexes = [
            # The few that a tick looks for: BackgroundJobQuerySet.claimable.
            models.Index(
                fields=["lease_until"], condition=Q(status__in=["waiting", "running"]), name="claimable_people_moves"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.target} {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M}"

    @property
    def untouched_count(self) -> int:
        """Accounts looked at that neither moved nor stand in the way there: of people whom the asker may not change."""
        left_count: int = sum(count for count, _names in self.left.values())
        return self.done_count - self.moved_count - left_count
