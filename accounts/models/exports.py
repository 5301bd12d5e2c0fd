"""Sheets of many people that a worker makes for an administrator, who downloads them within a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models.people import User

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self


class PeopleExportQuerySet(models.QuerySet["PeopleExport"]):
    def claimable(self, now: datetime) -> Self:
        """New ones, and those whose worker died."""
        status = PeopleExport.Status
        return self.filter(Q(status=status.WAITING) | Q(status=status.RUNNING, lease_until__lte=now))

    def expired(self, now: datetime) -> Self:
        return self.filter(expires_at__lte=now)


class PeopleExport(models.Model):
    """One sheet. It holds what whoever asked for it may see, and nobody else gets it."""

    class Status(models.TextChoices):
        WAITING = "waiting", pgettext_lazy("sheet", "waiting")
        RUNNING = "running", pgettext_lazy("sheet", "being made")
        DONE = "done", pgettext_lazy("sheet", "ready")
        FAILED = "failed", pgettext_lazy("sheet", "stopped")

    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    requested_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    requested_at = models.DateTimeField(_("requested"), default=timezone.now)
    # In which its columns are named: that of the page on which it was asked for.
    language = models.CharField(max_length=10)
    # The keys of the people in the list as it was filtered.
    user_ids = models.JSONField(default=list)
    row_count = models.PositiveIntegerField(pgettext_lazy("sheet", "people"), default=0)
    done_count = models.PositiveIntegerField(default=0)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True)
    try_count = models.PositiveSmallIntegerField(default=0)
    finished_at = models.DateTimeField(_("finished"), null=True)
    # Until then it can be downloaded; then the row goes away with its file.
    expires_at = models.DateTimeField(_("kept until"))

    objects = PeopleExportQuerySet.as_manager()

    class Meta:
        verbose_name = _("sheet of people")
        verbose_name_plural = _("sheets of people")
        ordering = ["-pk"]
        # Whoever may import people may export them: accounts.import_pages.may_import.
        default_permissions = ()

    def __str__(self) -> str:
        return f"{timezone.localtime(self.requested_at):%Y-%m-%d %H:%M}"

    @property
    def is_busy(self) -> bool:
        return self.status in {self.Status.WAITING, self.Status.RUNNING}


class ExportFile(models.Model):
    """The sheet: the web process that hands it out may be on another machine than the worker that made it."""

    export = models.OneToOneField(PeopleExport, on_delete=models.CASCADE, primary_key=True, related_name="file")
    content = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)
