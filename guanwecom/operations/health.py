"""Health of the push engine: beat, workers of each queue, mail door, web, last tick, overdue slots.

Each failure is explained with the command that repairs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django_celery_beat.models import PeriodicTask

from integrations.clients.errors import Explanation
from integrations.core import heartbeats, installation
from integrations.core.background import AnyRowQuery, database_now
from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import Heartbeat, Installation
from notifications.delivery.attachments import CHARTS_QUEUE, SNAPSHOTS_QUEUE, count_overdue, find_overdue
from notifications.delivery.maintenance import TASK_NAMES
from notifications.delivery.runs import scheduler
from notifications.models import AlertRule, Subscription

# Seconds after which a tick, or a slot (the time at which a push or an alert rule is due), is overdue.
TICK_STALE_SECONDS = 30
SLOT_OVERDUE_SECONDS = 30
# Queues that an installation may leave unserved while it needs no pictures or files.
OPTIONAL_QUEUES = (CHARTS_QUEUE, SNAPSHOTS_QUEUE)
# Names of beat's entries, which an administrator can disable.
PERIODIC_TASKS = tuple(settings.CELERY_BEAT_SCHEDULE)
# Overdue slots are counted up to this number.
COUNTED_AT_MOST = 1000


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of beat, a queue, the mail door or web. `process_count`: how many are alive. `silent_seconds`:
    time since the latest heartbeat; None if there was never one, or if the last process ended normally.
    `waiting_count`: overdue work of an optional queue."""

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
    # A copy of an installation's database sends nothing.
    is_copy: bool
    # Why Valkey accepts no writes; empty if it does.
    valkey_failure: str
    beat: ProcessGroup
    queues: tuple[ProcessGroup, ...]
    mail_door: ProcessGroup
    web: ProcessGroup
    # Seconds since the last tick; None before the first one.
    tick_seconds: float | None
    # Names of PERIODIC_TASKS that are switched off, or missing although beat runs, which creates them at its start.
    idle_tasks: tuple[str, ...]
    # Overdue subscriptions and alert rules, counted up to COUNTED_AT_MOST, and the seconds since the oldest one was
    # due.
    overdue_count: int
    overdue_seconds: float

    @property
    def is_tick_old(self) -> bool:
        slowest = max(TICK_STALE_SECONDS, 3 * settings.DISPATCH_INTERVAL_SECONDS)
        return self.tick_seconds is None or self.tick_seconds > slowest

    @property
    def problems(self) -> list[str]:
        """Codes of failures: "valkey" or "valkey:<why>", "beat", "queue:<name>", "task:<name>", "mail" and "web"; also
        "tick" and "slots" if none of the first four explains them. In a copy only "copy"."""
        if self.is_copy:
            return ["copy"]
        failure = self.valkey_failure
        found = ["valkey" if failure == heartbeats.NO_ANSWER else f"valkey:{failure}"] if failure else []
        found += [] if self.beat.process_count else ["beat"]
        if not failure:  # without Valkey no worker can take a task
            found += [f"queue:{queue.name}" for queue in self.queues if queue.is_failing]
        found += [f"task:{name}" for name in self.idle_tasks]
        found = found or ["tick"] * self.is_tick_old + ["slots"] * (self.overdue_count > 0)
        return found + ["mail"] * self.mail_door.is_failing + ["web"] * self.web.is_failing


_OVERDUE = timedelta(seconds=SLOT_OVERDUE_SECONDS)
# One short query in place of several long ones, since usually nothing is late.
_ANYTHING_LATE = AnyRowQuery(
    lambda now: [Subscription.objects.due(now - _OVERDUE), AlertRule.objects.due(now - _OVERDUE), find_overdue(now)]
)


def read_state() -> EngineHealth:
    """Read the state of the engine. Raises django.db.Error."""
    now = database_now()
    heartbeats_read = list(Heartbeat.objects.values_list("kind", "queues", "beat_at"))
    overdue: list[datetime | None] = []  # when each overdue slot was due
    waiting: dict[str, int] = {}
    if _ANYTHING_LATE.exists():
        subscriptions = Subscription.objects.due(now - _OVERDUE)
        claimable = scheduler.find_claimable(now - _OVERDUE) if subscriptions.exists() else subscriptions.none()
        for rows in (claimable, AlertRule.objects.due(now - _OVERDUE)):
            overdue += rows.order_by("next_run_at").values_list("next_run_at", flat=True)[:COUNTED_AT_MOST]
        waiting = {queue: count_overdue(queue, now=now, at_most=COUNTED_AT_MOST) for queue in OPTIONAL_QUEUES}
    oldest = min(filter(None, overdue), default=now)
    last_tick = Installation.objects.values_list("tick_period", flat=True).first()  # in Unix time
    times_by_kind = {which: [at for kind, _queues, at in heartbeats_read if kind == which] for which in Heartbeat.Kind}
    times_by_queue: dict[str, list[datetime]] = {}
    for kind, queues, at in heartbeats_read:
        for name in queues.split(",") if kind == Heartbeat.Kind.WORKER else ():
            times_by_queue.setdefault(name, []).append(at)
    groups = [_make_group(queue.name, times_by_queue.get(queue.name, []), now) for queue in settings.CELERY_TASK_QUEUES]
    for name in OPTIONAL_QUEUES:
        beat_times, waiting_count = times_by_queue.get(name, []), waiting.get(name, 0)
        groups.append(_make_group(name, beat_times, now, is_optional=True, waiting_count=waiting_count))
    beat = _make_group("beat", times_by_kind[Heartbeat.Kind.BEAT], now)
    is_beat_up = beat.process_count > 0
    is_enabled = dict(PeriodicTask.objects.filter(name__in=PERIODIC_TASKS).values_list("name", "enabled"))
    return EngineHealth(
        is_copy=installation.is_copy(),
        valkey_failure=heartbeats.find_valkey_failure(),
        beat=beat,
        queues=tuple(groups),
        mail_door=_make_group("mail", times_by_kind[Heartbeat.Kind.MAIL], now, is_optional=True),
        web=_make_group("web", times_by_kind[Heartbeat.Kind.WEB], now, is_optional=True),
        tick_seconds=max(0.0, now.timestamp() - last_tick) if last_tick else None,
        idle_tasks=tuple(name for name in PERIODIC_TASKS if not is_enabled.get(name, not is_beat_up)),
        overdue_count=min(len(overdue), COUNTED_AT_MOST),
        overdue_seconds=(now - oldest).total_seconds(),
    )


def _make_group(
    name: str, beat_times: list[datetime], now: datetime, *, is_optional: bool = False, waiting_count: int = 0
) -> ProcessGroup:
    living = [at for at in beat_times if (now - at).total_seconds() < STALE_SECONDS]
    silent_seconds = max(0.0, (now - max(beat_times)).total_seconds()) if beat_times else None
    return ProcessGroup(name, len(living), silent_seconds, is_optional, waiting_count)


CONFIRM_COMMAND = "guanwecom installation --confirm\ndocker compose run --rm backup guanwecom installation --confirm"


@dataclass(frozen=True, slots=True)
class EngineExplanation(Explanation):
    """The explanation of a problem. `where`: how and where to repair it. `command`: commands for that, one a line;
    empty if none is needed."""

    command: str = ""

    @property
    def lines(self) -> list[str]:
        return [*self.sentences, *(f"    {line}" for line in self.command.splitlines())]


def explain_problems(state: EngineHealth) -> list[EngineExplanation]:
    """Explain each problem, in the active language."""
    return [_explain_problem(code, state) for code in state.problems]


def _explain_problem(code: str, state: EngineHealth) -> EngineExplanation:
    kind, _separator, name = code.partition(":")
    if kind == "copy":
        what = _("The database is a copy of an installation: nothing is sent, and nobody signs in with WeCom.")
        where = _("Stop the original before you confirm this as the real one. Waiting messages are not sent late.")
        return EngineExplanation(what, where=where, command=CONFIRM_COMMAND)
    if kind == "valkey":
        what = _("Valkey does not answer: no worker can take a task, and nothing is pushed.")
        where = _("Start Valkey. The address /healthz/ready says whether it takes writes.")
        if name == "memory full":
            what = _("Valkey's memory is full: no worker gets a task, and nothing is pushed.")
            where = _("Give it more memory (maxmemory), or find out by MEMORY STATS and --bigkeys what fills it.")
        elif name:
            what = _("Valkey takes no writes, as a replica or because its disk is full: nothing is pushed.")
        return EngineExplanation(what, where=where)
    if kind == "task":
        consequences = {
            "notifications.tick": _("nothing is pushed."),
            "integrations.tick": _("interrupted jobs, events, diagnoses and fetches of data are not resumed."),
            "accounts.directory_tick": _("no nightly directory run begins."),
            "accounts.purge_audit": _("old audit entries are not removed."),
            "notifications.notify_of_owners": _(
                "nobody is told of tokens and channels that lose their owner or expire."
            ),
        }
        words = {
            "task": TASK_NAMES[name],
            "consequence": consequences[name],
            "page": PeriodicTask._meta.verbose_name_plural,
        }
        what = _("The periodic task “%(task)s” is switched off: %(consequence)s") % words
        where = _("Switch it on in the administration: %(page)s → %(task)s. Where it is missing, restart beat.") % words
        return EngineExplanation(what, where=where)
    if kind not in {"tick", "slots"}:
        return _explain_silence(kind, name, state)
    if kind == "slots":
        what = ngettext(
            "%(count)s time of a push or alert rule is overdue, since %(time)s.",
            "%(count)s times of pushes or alert rules are overdue, the oldest since %(time)s.",
            state.overdue_count,
        )
        what %= {"count": state.overdue_count, "time": format_duration(state.overdue_seconds)}
    elif state.tick_seconds is None:
        what = _("Beat and workers are running, but no tick has ever run.")
    else:
        what = _("Beat and workers are running, but the last tick ran %(time)s ago.")
        what %= {"time": format_duration(state.tick_seconds)}
    where = _("All threads of the workers may be busy, or their tasks fail: look into the workers' logs.")
    return EngineExplanation(what, where=where)


def _explain_silence(kind: str, queue_name: str, state: EngineHealth) -> EngineExplanation:
    """Explain that beat, the mail door, web or a queue's workers write no heartbeat: the consequence, the time of the
    last one, and the commands that restart them."""
    if kind == "beat":
        group, unit, service = state.beat, "beat", "beat"
        what = _("Beat is not running: nothing that is scheduled begins.")
    elif kind == "mail":
        group, unit, service = state.mail_door, "mail-door", "mail-door"
        what = _("The mail door is not running: other systems keep their mails and try again later.")
    elif kind == "web":
        group, unit, service = state.web, "web@1", "web-1"
        what = _("No web process is running: nobody can sign in or open a page, and callbacks of WeCom are lost.")
    else:
        group = next(queue for queue in state.queues if queue.name == queue_name)
        unit = service = "worker" if queue_name == "celery" else f"worker-{queue_name}"
        consequences = {
            "urgent": _("the clock, alerts and urgent pushes wait."),
            "celery": _("pushes, directory runs and imports wait."),
            "data": _("reports and alerts wait for their data."),
            "snapshots": _("messages wait for pictures of the BI's pages, and go out without them after 30 minutes."),
            "charts": _("messages wait for their pictures and files, and go out without them after 30 minutes."),
        }
        words = {"queue": queue_name, "consequence": consequences.get(queue_name, _("its tasks wait."))}
        what = _("No worker serves the queue “%(queue)s”: %(consequence)s") % words
    last_heartbeat = _("No heartbeat has been received.")
    if group.silent_seconds is not None:
        last_heartbeat = _("The last heartbeat was %(time)s ago.") % {"time": format_duration(group.silent_seconds)}
    where = _("Restart it on a server of the product, by systemd or Docker Compose:")
    command = f"systemctl restart guanwecom-{unit}\ndocker compose restart {service}"
    return EngineExplanation(f"{what} {last_heartbeat}", where=where, command=command)


def format_duration(seconds: float) -> str:
    """Write a duration roughly: in seconds, minutes or hours."""
    if seconds < 120:
        return ngettext("%(count)d second", "%(count)d seconds", int(seconds)) % {"count": seconds}
    if seconds < 7200:
        return ngettext("%(count)d minute", "%(count)d minutes", int(seconds // 60)) % {"count": seconds // 60}
    return ngettext("%(count)d hour", "%(count)d hours", int(seconds // 3600)) % {"count": seconds // 3600}


def describe_for_monitors(state: EngineHealth) -> dict[str, object]:
    """Return `state` for monitors. Ages are in seconds; None if there was no heartbeat."""
    return {
        "status": "down" if state.problems else "ok",
        "problems": state.problems,
        "beat": _describe_group(state.beat),
        "queues": {queue.name: _describe_group(queue) for queue in state.queues},
        "mail_door": _describe_group(state.mail_door),
        "tick": {"seconds": _round_seconds(state.tick_seconds)},
        "overdue": {"count": state.overdue_count, "seconds": _round_seconds(state.overdue_seconds)},
    }


def _describe_group(group: ProcessGroup) -> dict[str, object]:
    return {"processes": group.process_count, "silent_seconds": _round_seconds(group.silent_seconds)}


def _round_seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
