"""The installation to which this database belongs: one row."""

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
