"""Beat's scheduler, with a heartbeat."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import Error, InterfaceError, OperationalError
from django_celery_beat.schedulers import DatabaseScheduler

from guanwecom.operations import copies
from guanwecom.operations.pulse import Pulse
from integrations.core import installation
from integrations.models import Heartbeat

logger = logging.getLogger(__name__)

# It turns every settings.CELERY_BEAT_MAX_LOOP_INTERVAL seconds at least.
STUCK_SECONDS = 15
# How soon beat begins once a copy was confirmed.
COPY_SECONDS = 2.0


class LivingScheduler(DatabaseScheduler):  # type: ignore[misc]  # django_celery_beat has no types
    """Named in settings.CELERY_BEAT_SCHEDULER."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turned_at = time.monotonic()
        self._pulse: Pulse | None = None

    def setup_schedule(self) -> None:
        """Without its database beat cannot begin: it says so in one line and ends, to be started again."""
        try:
            super().setup_schedule()
        except (OperationalError, InterfaceError) as error:
            logger.error("beat does not start: the database cannot be asked (%s)", type(error).__name__)
            raise SystemExit(1) from None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if _is_copy():
            copies.warn("beat queues no task")
            wait = COPY_SECONDS
        else:
            wait = super().tick(*args, **kwargs)
        self._turned_at = time.monotonic()
        if self._pulse is None:
            self._pulse = Pulse(Heartbeat.Kind.BEAT, self._queues, watches=True)
            self._pulse.start()
        return wait

    def close(self) -> None:
        super().close()
        if self._pulse is not None:
            self._pulse.forget()

    def _queues(self) -> tuple[()] | None:
        """It takes from none; None while the scheduler does not turn."""
        return () if time.monotonic() - self._turned_at < STUCK_SECONDS else None


def _is_copy() -> bool:
    """False where the database cannot be asked: the scheduler says so itself."""
    try:
        return installation.is_known_copy()
    except Error:
        return False
