"""Tables that only processes of release 1.0.0 use. Their rows are deleted after 90 days."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User
from integrations.models import Corp
from integrations.models.jobs import BackgroundJob


class LinkRequest(models.Model):
    """Unused; processes of release 1.0.0 write it during an upgrade."""

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


class PeopleMove(BackgroundJob):
    """Unused; processes of release 1.0.0 write it while they move people to another company."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        STOPPED = "stopped", _("stopped")

    source = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+", verbose_name=_("From"))
    target = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+", verbose_name=_("To"))
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("administrator")
    )
    requested_by_name = models.CharField(_("administrator"), max_length=255)
    ip = models.GenericIPAddressField(_("IP address"), null=True)
    requested_at = models.DateTimeField(_("requested"))
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    last_account = models.BigIntegerField(default=0)
    done_up_to = models.BigIntegerField(default=0)
    total_count = models.PositiveIntegerField(_("accounts"), default=0)
    done_count = models.PositiveIntegerField(_("accounts looked at"), default=0)
    moved_count = models.PositiveIntegerField(_("accounts moved"), default=0)
    left = models.JSONField(_("left as before"), default=dict)

    class Meta:
        verbose_name = _("move of people")
        verbose_name_plural = _("moves of people")
        ordering = ["-pk"]
        default_permissions = ()
        indexes = [
            # The few that a tick looks for: BackgroundJobQuerySet.claimable.
            models.Index(
                fields=["lease_until"], condition=Q(status__in=["waiting", "running"]), name="claimable_people_moves"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.target} {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M}"
