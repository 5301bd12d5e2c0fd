"""What several models share that belongs to none: points in time, and the states of a run."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from django.db import models
from django.db.models.expressions import Combinable
from django.utils.translation import gettext_lazy as _

# A time, or an expression for one, as the database's own Now().
Moment: TypeAlias = datetime | Combinable


class RunStatus(models.TextChoices):
    """Of notifications.models.runs.Run, by which queries of other models ask, too."""

    WAITING = "waiting", _("waiting")
    SENDING = "sending", _("sending")
    FINISHED = "finished", _("finished")
    MISSED = "missed", _("missed")
    FAILED = "failed", _("failed")
    # Not worth sending, by what the subscription asks of its data; no failure.
    SKIPPED = "skipped", _("not sent")
