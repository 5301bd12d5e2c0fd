"""What somebody typed into a page of the administration and has not saved."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models

from accounts.models import User
from notifications.models.lookups import Moment

if TYPE_CHECKING:
    from typing import Self

KEPT = timedelta(days=30)


class DraftQuerySet(models.QuerySet["Draft"]):
    def old(self, now: Moment) -> Self:
        """Those to which nobody came back within KEPT."""
        return self.filter(saved_at__lte=now - KEPT)


class Draft(models.Model):
    """One for each person and page. It holds no secret: no page that keeps drafts has a field for one."""

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    # "push:7", or "push:new" of the page for a new one.
    page = models.CharField(max_length=32)
    # As the page sends its form: application/x-www-form-urlencoded.
    values = models.TextField()
    saved_at = models.DateTimeField(db_index=True)

    objects = DraftQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["person", "page"], name="one_draft_per_person_and_page")]

    def __str__(self) -> str:
        return f"{self.person_id} {self.page}"
