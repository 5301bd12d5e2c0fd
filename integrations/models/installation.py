"""The installation of this database, and heartbeats of its processes."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Func
from django.utils.translation import gettext_lazy as _

# The primary key of the only row, here and in other tables of one row.
SINGLETON_PK = 1


class Place(Func):
    """Expression for the identity of this physical database. A restored, copied or logically replicated database has
    another one; a physical standby that takes over, a moved data directory and VACUUM FULL keep it.

    It consists of the server's system identifier, the database's number, and the number of our own table, which a
    restore into the same database creates anew.
    """

    output_field = models.CharField()
    template = (
        "concat_ws('/', (SELECT system_identifier FROM pg_control_system()),"
        " (SELECT oid FROM pg_database WHERE datname = current_database()),"
        " 'integrations_installation'::regclass::oid)"
    )


class Installation(models.Model):
    """The installation of this database. integrations.core.installation and guanwecom.operations write the row; the
    task notifications.tick writes `tick_period`.

    If the database's present place differs from `place`, or the deployment's name from `deployment`, the database is a
    copy, until `manage.py installation --confirm` stores the present place and name.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK, editable=False)
    place = models.CharField(max_length=128)
    # settings.INSTALLATION_NAME when the installation was confirmed.
    deployment = models.CharField(max_length=64, blank=True)
    # True for a copy, whatever its place: `manage.py restore` and `manage.py installation --hold` set it.
    is_held = models.BooleanField(default=False)
    confirmed_at = models.DateTimeField(_("confirmed"))
    # The highest version of guanwecom that ran here.
    version = models.CharField(max_length=32, blank=True)
    # When `manage.py backup` last wrote a file.
    backed_up_at = models.DateTimeField(null=True)
    # PostgreSQL's last known timeline, and when that last changed because a standby had taken over.
    timeline = models.BigIntegerField(null=True)
    failed_over_at = models.DateTimeField(null=True)
    # The latest check of the engine. `engine_problems`: codes of failing parts, sorted, separated by commas; empty if
    # all is well. `engine_notified`: the codes of the last message to operators.
    engine_checked_at = models.DateTimeField(null=True)
    engine_problems = models.TextField(blank=True)
    engine_problems_since = models.DateTimeField(null=True)
    engine_notified = models.TextField(blank=True)
    # The beginning of the last period whose tick was claimed (claim_tick), in seconds since 1970.
    tick_period = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        verbose_name = _("installation")
        verbose_name_plural = _("installations")

    def __str__(self) -> str:
        return self.place

    def backup_age(self, now: datetime) -> timedelta:
        """Return the time since the last backup; without one, since this installation was confirmed."""
        return now - (self.backed_up_at or self.confirmed_at)


class Heartbeat(models.Model):
    """The last heartbeat of one process; only integrations.core.heartbeats writes it."""

    class Kind(models.TextChoices):
        WEB = "web"
        WORKER = "worker"
        BEAT = "beat"
        MAIL = "mail"

    kind = models.CharField(max_length=16, choices=Kind.choices)
    # Host and process id.
    name = models.CharField(max_length=255)
    # The queues that a worker consumes, sorted, separated by commas.
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
