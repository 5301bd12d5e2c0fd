"""Beat's scheduler, which shows that it still turns."""

from __future__ import annotations

import time
from typing import Any

from django_celery_beat.schedulers import DatabaseScheduler

from guanwecom.operations.pulse import Pulse
from integrations.models import Heartbeat

# It turns every settings.CELERY_BEAT_MAX_LOOP_INTERVAL seconds at least.
STUCK_SECONDS = 15


class LivingScheduler(DatabaseScheduler):  # type: ignore[misc]  # django_celery_beat has no types
    """Named in settings.CELERY_BEAT_SCHEDULER."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turned_at = time.monotonic()
        self._pulse: Pulse | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        wait: float = super().tick(*args, **kwargs)
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
