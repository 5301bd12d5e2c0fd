"""Heartbeats of processes, and what operators were notified of."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Heartbeat(models.Model):
    """The last sign of life of one process; written by integrations.core.heartbeats alone."""

    class Kind(models.TextChoices):
        WEB = "web"
        WORKER = "worker"
        BEAT = "beat"
        MAIL = "mail"

    kind = models.CharField(max_length=16, choices=Kind.choices)
    # Host and process id.
    name = models.CharField(max_length=255)
    # Those that a worker takes from, sorted, separated by commas.
    queues = models.CharField(max_length=500, blank=True)
    beat_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")
        ordering = ["kind", "name"]
        constraints = [models.UniqueConstraint(fields=["kind", "name"], name="one_heartbeat_per_process")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class EngineWatch(models.Model):
    """One row: what the latest check of the engine found, and what operators were notified of.

    `found` and `notified` are codes of parts that fail, sorted, separated by commas; empty: all is well.
    """

    checked_at = models.DateTimeField(null=True)
    found = models.TextField(blank=True)
    found_since = models.DateTimeField(null=True)
    notified = models.TextField(blank=True)

    class Meta:
        default_permissions = ()
        verbose_name = _("watch over the engine")
        verbose_name_plural = _("watches over the engine")

    def __str__(self) -> str:
        return self.found or "well"
