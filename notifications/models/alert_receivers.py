"""Who is notified of the alerts of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.users.scopes import scope_condition
from integrations.models import Corp
from notifications.models.recipients import Addressed

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.fields import Person


class AlertReceiverQuerySet(models.QuerySet["AlertReceiver"]):
    def visible_to(self, person: Person) -> Self:
        """Of one corp: for those who may see the corp; of all corps: for those who may see all."""
        return self.filter(scope_condition(person))


class AlertReceiver(Addressed):
    """Who is told of the alerts of one rule, and on which way. They are chosen on the rule's page."""

    # That of the rule.
    name = models.CharField(_("name"), max_length=128)
    corp = models.ForeignKey(
        Corp,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        verbose_name=_("only for the company"),
        help_text=_("Empty: for people of every company."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = AlertReceiverQuerySet.as_manager()

    class Meta:
        verbose_name = _("recipients of an alert rule")
        verbose_name_plural = _("recipients of alert rules")
        ordering = ["name", "pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    @property
    def only_corp_id(self) -> int | None:
        return self.corp_id
