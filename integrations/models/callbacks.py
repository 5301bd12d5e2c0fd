"""Event work: one row per event and consumer, and one lane per company and consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from integrations.models.companies import Corp
from integrations.models.jobs import Leased, LeasedQuerySet, Moment
from integrations.models.site import CallbackEvent
from integrations.models.sync_runs import SyncRun

if TYPE_CHECKING:
    from typing import Self


class EventWorkQuerySet(models.QuerySet["EventWork"]):
    def waiting(self) -> Self:
        return self.filter(status=EventWork.Status.WAITING)

    def due(self, now: Moment) -> Self:
        """Those that a worker should take now."""
        return self.waiting().filter(Q(next_try_at__isnull=True) | Q(next_try_at__lte=now))

    def given_up(self) -> Self:
        """Those of which nobody takes care any more, and that no run of the whole directory has made good since."""
        run = SyncRun.objects.filter(corp=OuterRef("corp"), status=SyncRun.Status.DONE)
        later = run.filter(started_at__gte=OuterRef("event__received_at"))
        return self.filter(~Exists(later), status=EventWork.Status.FAILED)


class EventWork(models.Model):
    """What one consumer has made of one event. Written with the event, so that no event is stored without its work."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        FAILED = "failed", _("given up")

    event = models.ForeignKey(CallbackEvent, on_delete=models.CASCADE, related_name="works")
    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+")
    # A name of integrations.callbacks.registry.
    consumer = models.CharField(max_length=64)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.WAITING)
    try_count = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), null=True)
    done_at = models.DateTimeField(_("done"), null=True)
    # Keys of the rows that it has changed, for the consumers that come after it. Of a batch, the first row has all.
    touched = models.JSONField(default=list)
    # Why it was tried again or given up, without content of the event.
    problem = models.CharField(_("problem"), max_length=255, blank=True)

    objects = EventWorkQuerySet.as_manager()

    class Meta:
        verbose_name = _("work on an event")
        verbose_name_plural = _("works on events")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["event", "consumer"], name="one_work_per_event_and_consumer"),
        ]
        indexes = [
            # A lane's next batch, and the lanes in which something is due: few rows, whatever is stored.
            models.Index(
                fields=["corp", "consumer", "next_try_at"], condition=Q(status="waiting"), name="waiting_event_works"
            ),
            # What an administrator is told of: hopefully none.
            models.Index(fields=["corp"], condition=Q(status="failed"), name="given_up_event_works"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} {self.consumer} {self.status}"


class EventLane(Leased):
    """The events of one company for one consumer: one worker at a time holds the lane, under a lease that expires."""

    corp = models.ForeignKey(Corp, on_delete=models.CASCADE, related_name="+")
    consumer = models.CharField(max_length=64)
    # When something was last worked off in it: longer ago than events are kept, perhaps.
    worked_at = models.DateTimeField(_("last event"), null=True)

    objects = LeasedQuerySet["EventLane"].as_manager()

    class Meta:
        verbose_name = _("lane of events")
        verbose_name_plural = _("lanes of events")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["corp", "consumer"], name="one_lane_per_corp_and_consumer"),
        ]

    def __str__(self) -> str:
        return f"{self.corp_id} {self.consumer}"
