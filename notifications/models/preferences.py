"""People's own choices about subscriptions: paused, declined."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from notifications.models.subscriptions import Subscription


class SubscriptionChoice(models.Model):
    """A person takes a break from a subscription, or wants none of it. Without a row it is sent to them."""

    class Kind(models.TextChoices):
        PAUSED = "paused", _("paused")
        DECLINED = "declined", _("not for me")

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="choices")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    chosen_at = models.DateTimeField()

    class Meta:
        verbose_name = _("choice of a recipient")
        verbose_name_plural = _("choices of recipients")
        # Each person makes their own; administrators read it as the reason of a receipt.
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["subscription", "user"], name="one_choice_per_recipient")]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.user_id} {self.kind}"
