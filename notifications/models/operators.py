"""Who is told when the product stands still."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import validate_email
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from notifications.models.robots import Robot

THE_ONE = 1


def check_addresses(text: str) -> None:
    """Raises ValidationError for a line that is no mail address."""
    for address in text.split():
        validate_email(address)


class OperatorContactsQuerySet(models.QuerySet["OperatorContacts"]):
    def with_emails(self) -> OperatorContactsQuerySet:
        return self.exclude(emails="")

    def addresses(self) -> list[str]:
        """Those of the environment and those that were saved, each once."""
        saved = self.values_list("emails", flat=True).first() or ""
        return list(dict.fromkeys([*settings.OPERATOR_EMAILS, *saved.split()]))

    def chosen_robot(self) -> Robot | None:
        """With its company."""
        return Robot.objects.select_related("corp").filter(pk__in=self.values("robot")).first()


class OperatorContacts(models.Model):
    """One row, beside what the environment names (OPERATOR_EMAILS, OPERATOR_ROBOT_URL)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE, editable=False)
    emails = models.TextField(
        _("e-mail addresses"),
        blank=True,
        validators=[check_addresses],
        help_text=_("One a line. The mail server is set by EMAIL_URL in .env."),
    )
    robot = models.ForeignKey(
        Robot,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group robot"),
        help_text=_("Its group is told the same, also where no mail server is set."),
    )

    objects = OperatorContactsQuerySet.as_manager()

    class Meta:
        verbose_name = pgettext_lazy("menu", "Standstills")
        verbose_name_plural = pgettext_lazy("menu", "Standstills")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=THE_ONE), name="one_row_of_operator_contacts")]

    def __str__(self) -> str:
        return str(_("who is told of standstills"))
