"""The installation to which this database belongs, and the processes that give a sign of life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Func
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from datetime import datetime, timedelta


THE_ONE = 1


class Place(Func):
    """Where the database lies. A restored, a copied and a replicated database lie elsewhere; a physical standby that
    takes over, a moved data directory and VACUUM FULL change nothing.

    The server's system identifier, the database's number, and the number of our own table, which a restore into the
    same database creates anew.
    """

    output_field = models.CharField()
    template = (
        "concat_ws('/', (SELECT system_identifier FROM pg_control_system()),"
        " (SELECT oid FROM pg_database WHERE datname = current_database()),"
        " 'integrations_installation'::regclass::oid)"
    )


class Installation(models.Model):
    """Written by integrations.core.installation and by guanwecom.operations alone.

    Where it lies elsewhere than `place` says, or runs under another name than `deployment`, the database is a copy.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE, editable=False)
    place = models.CharField(max_length=128)
    # settings.INSTALLATION_NAME of then.
    deployment = models.CharField(max_length=64, blank=True)
    # A copy whatever its place: `manage.py restore` and `manage.py installation --hold` say so.
    is_held = models.BooleanField(default=False)
    confirmed_at = models.DateTimeField(_("confirmed"))
    # The highest version of guanwecom that ran here.
    version = models.CharField(max_length=32, blank=True)
    # When `manage.py backup` last wrote a file.
    backed_up_at = models.DateTimeField(null=True)
    # The timeline that was seen last, and when another one was seen: a standby had taken over.
    timeline = models.BigIntegerField(null=True)
    failed_over_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        verbose_name = _("installation")
        verbose_name_plural = _("installations")

    def __str__(self) -> str:
        return self.place

    def backup_age(self, now: datetime) -> timedelta:
        """Return how long ago a backup was last written; where none was, since when this is the installation."""
        return now - (self.backed_up_at or self.confirmed_at)


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
