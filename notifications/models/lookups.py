"""What several models share that belongs to none: the states of a run, and points in time."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from integrations.models.jobs import Moment

__all__ = ["Moment", "RunStatus"]


class RunStatus(models.TextChoices):
    """Of notifications.models.runs.Run, by which queries of other models ask, too."""

    WAITING = "waiting", _("waiting")
    SENDING = "sending", _("sending")
    FINISHED = "finished", _("finished")
    MISSED = "missed", _("missed")
    FAILED = "failed", _("failed")
    # Not worth sending, by what the subscription asks of its data; no failure.
    SKIPPED = "skipped", _("not sent")
