"""New Secret or AgentId of a company, not confirmed by WeCom yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from integrations.models.companies import Corp
from integrations.models.fields import EncryptedTextField

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.jobs import Moment


class StagedCredentialsQuerySet(models.QuerySet["StagedCredentials"]):
    def due(self, now: Moment) -> Self:
        """Never tried for want of a worker, or to be tried again. Served by the index staged_credentials_due."""
        return self.filter(next_try_at__lte=now)


class StagedCredentials(models.Model):
    """AgentId and Secret that serve once WeCom says that they belong together. The last ones of each corp stay here,
    without the Secret, to say since when they are in force."""

    class State(models.TextChoices):
        WAITING = "waiting", _("being checked")
        REFUSED = "refused", _("refused")
        IN_FORCE = "in_force", _("in force")

    corp = models.OneToOneField(
        Corp, on_delete=models.CASCADE, related_name="staged_credentials", verbose_name=_("company")
    )
    agentid = models.PositiveBigIntegerField("AgentId")
    secret = EncryptedTextField("Secret", blank=True)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.WAITING)
    staged_by = models.CharField(max_length=255, blank=True)
    staged_at = models.DateTimeField()
    # Only of one that waits.
    next_try_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    # What the last try found, as in CheckRun.
    problem = models.CharField(max_length=32, blank=True)
    facts = models.JSONField(default=dict)
    errcode = models.IntegerField(null=True)
    caller_ip = models.GenericIPAddressField(null=True)

    objects = StagedCredentialsQuerySet.as_manager()

    class Meta:
        verbose_name = _("new credentials")
        verbose_name_plural = _("new credentials")
        default_permissions = ()
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(next_try_at__isnull=False), name="staged_credentials_due")
        ]

    def __str__(self) -> str:
        return f"{self.corp} · {self.agentid}"
