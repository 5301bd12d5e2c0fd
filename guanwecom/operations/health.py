"""Health of the push engine: beat, the workers of each queue, the mail door, the last tick, overdue slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django_celery_beat.models import PeriodicTask

from integrations.core import heartbeats, installation
from integrations.core.background import AnyRow, database_clock
from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import Heartbeat
from notifications.delivery.attachments import jobs
from notifications.delivery.runs import scheduler
from notifications.models import AlertRule, Subscription, TickClaim

# A tick is overdue after so long, and so is a slot, in seconds.
TICK_STALE_SECONDS = 30
SLOT_OVERDUE_SECONDS = 30
# Queues that an installation may leave unserved: nothing waits in them while nothing is asked of them.
OPTIONAL_QUEUES = (jobs.CHARTS_QUEUE, jobs.SNAPSHOTS_QUEUE)
# Beat's entries. An administrator may switch them off.
PERIODIC_TASKS = tuple(settings.CELERY_BEAT_SCHEDULE)
COUNTED = 1000


@dataclass(frozen=True)
class Served:
    """Beat, a queue, or the mail door: how many live processes do its work, and how long ago the latest was heard, in
    seconds.

    `silent_seconds` is None where none was ever heard, or the last one ended in order.
    """

    name: str
    process_count: int
    silent_seconds: float | None
    is_optional: bool = False
    waiting_count: int = 0

    @property
    def is_failing(self) -> bool:
        if self.process_count:
            return False
        return not self.is_optional or self.silent_seconds is not None or self.waiting_count > 0


@dataclass(frozen=True)
class EngineHealth:
    # Of a copy of an installation's database nothing goes out.
    is_copy: bool
    # Why Valkey takes no writes; empty where it does.
    valkey_failure: str
    beat: Served
    queues: tuple[Served, ...]
    mail_door: Served
    web: Served
    # Since the last tick, in seconds; None where there was none yet.
    tick_seconds: float | None
    # Names of PERIODIC_TASKS that are switched off, or missing although beat runs, which makes them as it starts.
    idle_tasks: tuple[str, ...]
    # Subscriptions and alert rules whose time has passed, counted up to COUNTED, and how long ago the oldest one's did.
    overdue_count: int
    overdue_seconds: float

    @property
    def is_tick_old(self) -> bool:
        slowest = max(TICK_STALE_SECONDS, 3 * settings.DISPATCH_INTERVAL_SECONDS)
        return self.tick_seconds is None or self.tick_seconds > slowest

    @property
    def problems(self) -> list[str]:
        """Codes of what fails: "copy" alone in a copy, else "valkey" or "valkey:<why>", "beat", "queue:<name>",
        "task:<name>", and "tick" and "slots" where nothing of that explains them; and "mail" and "web". What operators
        are told of."""
        if self.is_copy:
            return ["copy"]
        failure = self.valkey_failure
        found = ["valkey" if failure == heartbeats.NO_ANSWER else f"valkey:{failure}"] if failure else []
        found += [] if self.beat.process_count else ["beat"]
        if not failure:  # without it no worker can take anything
            found += [f"queue:{queue.name}" for queue in self.queues if queue.is_failing]
        found += [f"task:{name}" for name in self.idle_tasks]
        found = found or ["tick"] * self.is_tick_old + ["slots"] * (self.overdue_count > 0)
        return found + ["mail"] * self.mail_door.is_failing + ["web"] * self.web.is_failing


_OVERDUE = timedelta(seconds=SLOT_OVERDUE_SECONDS)
# Most of the time nothing is late, and this one question spares several long ones.
_LATE = AnyRow(
    lambda now: [Subscription.objects.due(now - _OVERDUE), AlertRule.objects.due(now - _OVERDUE), jobs.overdue(now)]
)


def read() -> EngineHealth:
    """Raises django.db.Error."""
    now = database_clock()()
    beats = list(Heartbeat.objects.values_list("kind", "queues", "beat_at"))
    is_late = _LATE.exists()
    count, oldest = _overdue(now) if is_late else (0, None)
    waiting = jobs.overdue_counts(OPTIONAL_QUEUES, now=now, at_most=COUNTED) if is_late else {}
    period = TickClaim.objects.filter(name=scheduler.TICK).values_list("period", flat=True).first()
    heard = {which: [at for kind, _queues, at in beats if kind == which] for which in Heartbeat.Kind}
    workers = [(queues, at) for kind, queues, at in beats if kind == Heartbeat.Kind.WORKER]
    beat = _served("beat", heard[Heartbeat.Kind.BEAT], now)
    return EngineHealth(
        is_copy=installation.is_copy(),
        valkey_failure=heartbeats.valkey_failure(),
        beat=beat,
        queues=tuple(_queues(workers, waiting, now)),
        mail_door=_served("mail", heard[Heartbeat.Kind.MAIL], now, is_optional=True),
        web=_served("web", heard[Heartbeat.Kind.WEB], now, is_optional=True),
        tick_seconds=None if period is None else max(0.0, now.timestamp() - period),
        idle_tasks=_idle_tasks(is_beat_up=beat.process_count > 0),
        overdue_count=count,
        overdue_seconds=0.0 if oldest is None else (now - oldest).total_seconds(),
    )


def _queues(beats: Iterable[tuple[str, datetime]], waiting: Mapping[str, int], now: datetime) -> Iterable[Served]:
    heard: dict[str, list[datetime]] = {}
    for queues, at in beats:
        for name in queues.split(","):
            heard.setdefault(name, []).append(at)
    for queue in settings.CELERY_TASK_QUEUES:
        yield _served(queue.name, heard.get(queue.name, []), now)
    for name in OPTIONAL_QUEUES:
        yield _served(name, heard.get(name, []), now, is_optional=True, waiting_count=waiting.get(name, 0))


def _idle_tasks(*, is_beat_up: bool) -> tuple[str, ...]:
    is_enabled = dict(PeriodicTask.objects.filter(name__in=PERIODIC_TASKS).values_list("name", "enabled"))
    return tuple(name for name in PERIODIC_TASKS if not is_enabled.get(name, not is_beat_up))


def _served(
    name: str, heard: list[datetime], now: datetime, *, is_optional: bool = False, waiting_count: int = 0
) -> Served:
    live = [at for at in heard if (now - at).total_seconds() < STALE_SECONDS]
    silent = max(0.0, (now - max(heard)).total_seconds()) if heard else None
    return Served(name, len(live), silent, is_optional, waiting_count)


def _overdue(now: datetime) -> tuple[int, datetime | None]:
    """Times that nobody has claimed."""
    before = now - _OVERDUE
    times: list[datetime | None] = []
    subscriptions = Subscription.objects.due(before)
    claimable = scheduler.claimable(before) if subscriptions.exists() else subscriptions.none()
    for rows in (claimable, AlertRule.objects.due(before)):
        times += rows.order_by("next_run_at").values_list("next_run_at", flat=True)[:COUNTED]
    return min(len(times), COUNTED), min(filter(None, times), default=None)
