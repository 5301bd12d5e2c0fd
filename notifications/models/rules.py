"""Recipients by their attributes: rules of a subscription that people match or not, decided when a run begins."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Attribute
from notifications.models.orders import Subscription

RULES_AT_MOST = 20
VALUES_AT_MOST = 500


class Operator(models.TextChoices):
    """How a person's values of the attribute compare with those of the rule, in whatever letters."""

    IS = "is", pgettext_lazy("attribute rule", "is")
    CONTAINS = "contains", pgettext_lazy("attribute rule", "contains")
    ONE_OF = "one_of", pgettext_lazy("attribute rule", "is one of")


class AttributeRule(models.Model):
    """One condition on one attribute. Several of a subscription are joined by its `rules_match`.

    Why PROTECT? A rule that goes with its attribute would leave the others, and these reach more people.
    """

    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="attribute_rules", verbose_name=_("subscription")
    )
    attribute = models.ForeignKey(
        Attribute, on_delete=models.PROTECT, related_name="subscription_rules", verbose_name=_("user attribute")
    )
    operator = models.CharField(_("comparison"), max_length=8, choices=Operator.choices)
    # As entered, one or more: exactly one unless the operator is ONE_OF.
    values = models.JSONField(_("values"), default=list)

    class Meta:
        verbose_name = _("attribute rule")
        verbose_name_plural = _("attribute rules")
        ordering = ["pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.subscription}: {self.attribute} {self.get_operator_display()} {', '.join(self.values)}"
