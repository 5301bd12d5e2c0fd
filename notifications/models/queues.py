"""A company's send queue: what operators set, and what blocks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from integrations.models import Corp
from notifications.models.scoping import scope_condition

if TYPE_CHECKING:
    from typing import Self

    from integrations.models.scoping import Person


class CorpQueueQuerySet(models.QuerySet["CorpQueue"]):
    def visible_to(self, person: Person) -> Self:
        """The queues of visible companies; the row of all of them is for those who see all."""
        return self.filter(scope_condition(person))

    def paused(self) -> Self:
        return self.filter(is_paused=True)

    def blocked(self) -> Self:
        return self.filter(blocked_since__isnull=False)

    def daily_budgets(self) -> dict[int, int]:
        """Person-messages a day by company, for those that have a limit."""
        limited = self.filter(daily_budget__gt=0, corp__isnull=False)
        return {corp_id: budget for corp_id, budget in limited.values_list("corp_id", "daily_budget") if corp_id}


class CorpQueue(models.Model):
    """The queue of one company, and one row without a company for all of them."""

    corp = models.OneToOneField(
        Corp, on_delete=models.CASCADE, null=True, editable=False, related_name="+", verbose_name=_("company")
    )
    is_paused = models.BooleanField(
        _("paused"),
        default=False,
        help_text=_("Nothing is sent meanwhile. What waits goes out afterwards, unless it is worthless by then."),
    )
    daily_budget = models.PositiveIntegerField(
        _("daily budget (person-messages)"),
        default=0,
        help_text=_(
            "What WeCom lets this app send in a day: 200 times the number of accounts that the company may have. A "
            "message to 1000 people counts 1000. What is over it waits until midnight in China. 0: no limit."
        ),
    )
    # Set by notifications.delivery.sending.circuit_breaker alone: the company cannot be sent to until somebody mends
    # its configuration.
    blocked_since = models.DateTimeField(_("blocked since"), null=True, editable=False)
    blocked_errcode = models.IntegerField(_("errcode"), null=True, editable=False)
    blocked_error = models.TextField(_("error"), blank=True, editable=False)
    # When one message may find out whether it works again.
    probe_at = models.DateTimeField(null=True, editable=False)
    notified_at = models.DateTimeField(_("administrators notified"), null=True, editable=False)

    objects = CorpQueueQuerySet.as_manager()

    class Meta:
        verbose_name = _("send queue")
        verbose_name_plural = _("send queues")
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                models.functions.Coalesce("corp", 0), condition=Q(corp__isnull=True), name="one_queue_of_all"
            )
        ]

    def __str__(self) -> str:
        return str(self.corp or _("all companies"))
