"""What people ask administrators for when they cannot get in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_lazy as _

from accounts.models.people import WeComAccount
from integrations.models import Corp

if TYPE_CHECKING:
    from typing import Self

    from integrations.visibility import Person


class LinkRequestQuerySet(models.QuerySet["LinkRequest"]):
    def visible_to(self, person: Person) -> Self:
        return self.filter(corp__in=Corp.objects.visible_to(person))

    def open(self) -> Self:
        """Requests of people who are still not linked, by whatever way an administrator might have done it."""
        linked = WeComAccount.objects.filter(corp=OuterRef("corp"), userid_folded=OuterRef("userid_folded"))
        return self.filter(~Exists(linked))


class LinkRequest(models.Model):
    """Somebody whom WeCom has confirmed, and who is linked with nobody here, asks to be. One row for each identity."""

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+", verbose_name=_("WeCom company name"))
    userid = models.CharField(_("WeCom account"), max_length=64)
    userid_folded = models.CharField(max_length=64, editable=False)
    first_asked_at = models.DateTimeField(_("first asked"))
    asked_at = models.DateTimeField(_("last asked"))
    ask_count = models.PositiveIntegerField(_("times asked"), default=1)
    # Set on the request's page: whom an administrator linked the account with.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("link with the user"),
    )

    objects = LinkRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("request to be linked")
        verbose_name_plural = _("requests to be linked")
        ordering = ["-asked_at"]
        default_permissions = ("view", "change", "delete")
        constraints = [
            models.UniqueConstraint(fields=["corp", "userid_folded"], name="one_link_request_per_identity"),
        ]
        indexes = [models.Index(fields=["asked_at"], name="link_request_asked")]

    def __str__(self) -> str:
        return f"{self.corp} / {self.userid}"
