"""Attribute rules that choose recipients of a subscription or an alert receiver when a message is made."""

from __future__ import annotations

from typing import Any, Self, cast

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Attribute
from notifications.models.alert_receivers import AlertReceiver
from notifications.models.recipients import Addressed
from notifications.models.subscriptions import Subscription

RULES_AT_MOST = 20
VALUES_AT_MOST = 500


class Operator(models.TextChoices):
    """How a person's values of the attribute compare with those of the rule, in whatever letters."""

    IS = "is", pgettext_lazy("attribute rule", "is")
    CONTAINS = "contains", pgettext_lazy("attribute rule", "contains")
    ONE_OF = "one_of", pgettext_lazy("attribute rule", "is one of")


class AttributeRuleQuerySet(models.QuerySet["AttributeRule"]):
    def of(self, order: Addressed) -> Self:
        return self.filter(**owned_by(order))


class AttributeRule(models.Model):
    """One condition on one attribute, of one subscription or alert receiver; several are joined by its `rules_match`.

    PROTECT: a rule deleted with its attribute would leave the others, and these reach more people.
    """

    subscription = models.ForeignKey(
        Subscription,
        on_delete=models.CASCADE,
        null=True,
        related_name="attribute_rules",
        verbose_name=_("push"),
    )
    receiver = models.ForeignKey(
        AlertReceiver,
        on_delete=models.CASCADE,
        null=True,
        related_name="attribute_rules",
        verbose_name=_("alert receiver"),
    )
    attribute = models.ForeignKey(
        Attribute, on_delete=models.PROTECT, related_name="subscription_rules", verbose_name=_("user attribute")
    )
    operator = models.CharField(_("comparison"), max_length=8, choices=Operator.choices)
    # As entered, one or more: exactly one unless the operator is ONE_OF.
    values = models.JSONField(_("values"), default=list)

    objects = AttributeRuleQuerySet.as_manager()

    class Meta:
        verbose_name = _("attribute rule")
        verbose_name_plural = _("attribute rules")
        ordering = ["pk"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(subscription__isnull=False, receiver__isnull=True)
                | Q(subscription__isnull=True, receiver__isnull=False),
                name="attribute_rule_of_one",
            )
        ]

    def __str__(self) -> str:
        return f"{self.order}: {self.attribute} {self.get_operator_display()} {', '.join(self.values)}"

    @property
    def order(self) -> Subscription | AlertReceiver:
        """What names its recipients by this rule."""
        return self.receiver or cast("Subscription", self.subscription)  # one of them, says the constraint


def owned_by(order: Addressed) -> dict[str, Any]:
    """The columns of a rule that belongs to `order`."""
    return {"receiver" if isinstance(order, AlertReceiver) else "subscription": order}
