"""A worker's heartbeat, while it is connected to the broker and takes from its queues."""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.signals import worker_shutdown

from guanwecom.operations.pulse import Pulse
from integrations.models import Heartbeat


class HeartbeatStep(bootsteps.StartStopStep):
    """A step of a worker's consumer (guanwecom.celery): starts with each connection to the broker, stops with it."""

    requires = ("celery.worker.consumer:Tasks",)
    pulse: Pulse | None = None

    def start(self, consumer: Any) -> None:
        # Processes that are forked again and again should not be forked while this thread sends mail.
        is_prefork = "prefork" in consumer.controller.pool_cls.__module__
        self.pulse = Pulse(Heartbeat.Kind.WORKER, lambda: _queues(consumer), watches=not is_prefork)
        self.pulse.start()
        worker_shutdown.connect(self._forget, dispatch_uid="heartbeat")

    def stop(self, _consumer: Any) -> None:
        if self.pulse is not None:
            self.pulse.end()

    def _forget(self, **_signal: Any) -> None:
        if self.pulse is not None:
            self.pulse.forget()


def _queues(consumer: Any) -> list[str] | None:
    tasks = consumer.task_consumer
    return [queue.name for queue in tasks.queues] if tasks else None
