"""Explanations of what fails in the engine, with the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django_celery_beat.models import PeriodicTask

from integrations.clients.errors import Explanation

if TYPE_CHECKING:
    from guanwecom.operations.health import EngineHealth, Served

CONFIRM_COMMAND = "guanwecom installation --confirm\ndocker compose run --rm backup guanwecom installation --confirm"
# Services of compose.yaml (units of systemd, after "guanwecom-") that serve a queue and are not named after it.
_WORKERS = {"celery": "worker"}


@dataclass(frozen=True, slots=True)
class EngineExplanation(Explanation):
    """`where`: also how it is mended. `command`: the one for it, or one a line; empty where there is none."""

    command: str = ""

    @property
    def lines(self) -> list[str]:
        return [*self.sentences, *(f"    {line}" for line in self.command.splitlines())]


def explain(state: EngineHealth) -> list[EngineExplanation]:
    """Explain each problem, in the active language."""
    return [_explain_problem(code, state) for code in state.problems]


def name_parts(state: EngineHealth) -> str:
    """Name the parts that fail, for the subject of a mail."""
    words = {
        "copy": _("copy of an installation"),
        "valkey": "Valkey",
        "beat": "beat",
        "mail": _("mail door"),
        "web": _("web"),
        "tick": _("scheduled work"),
        "slots": _("overdue times"),
    }
    return ", ".join(words.get(code.partition(":")[0]) or code.partition(":")[2] for code in state.problems)


def _explain_problem(code: str, state: EngineHealth) -> EngineExplanation:
    if code.startswith("queue:"):
        return _explain_queue(next(queue for queue in state.queues if code == f"queue:{queue.name}"))
    if code == "copy":
        what = _("The database is a copy of an installation: nothing is sent, and nobody signs in with WeCom.")
        where = _("Stop the original before you say that this is the real one now. What waited is not sent late.")
        return EngineExplanation(what, where=where, command=CONFIRM_COMMAND)
    if code.startswith("valkey"):
        what = _("Valkey does not answer: no worker can take anything, and nothing is pushed.")
        where = _("Start Valkey. The address /healthz/ready says whether it takes writes.")
        if state.valkey_failure == "memory full":
            what = _("Valkey's memory is full: no worker gets anything to do, and nothing is pushed.")
            where = _("Give it more memory (maxmemory), or find out by MEMORY STATS and --bigkeys what fills it.")
        elif code != "valkey":
            what = _("Valkey takes no writes, as a replica or because its disk is full: nothing is pushed.")
        return EngineExplanation(what, where=where)
    if code == "beat":
        what = _("Beat is not running: nothing that is scheduled begins.")
        return _explain_silence(what, state.beat, write_restart("beat"))
    if code == "mail":
        what = _("The mail door is not running: other systems keep their mails and try again later.")
        return _explain_silence(what, state.mail_door, write_restart("mail-door"))
    if code == "web":
        what = _("No web process is running: nobody can sign in or open a page, and callbacks of WeCom are lost.")
        return _explain_silence(what, state.web, write_restart("web-1", unit="web@1"))
    if code.startswith("task:"):
        return _explain_task(code.partition(":")[2])
    return _explain_tick(state) if code == "tick" else _explain_slots(state)


def _explain_queue(queue: Served) -> EngineExplanation:
    consequences = {
        "urgent": _("the clock, alerts and urgent pushes wait."),
        "celery": _("pushes, directory runs and imports wait."),
        "data": _("reports and alerts wait for their data."),
        "snapshots": _("messages wait for pictures of the BI's pages, and go out without them after 30 minutes."),
        "charts": _("messages wait for their pictures and files, and go out without them after 30 minutes."),
    }
    consequence = consequences.get(queue.name, _("what stands in it waits."))
    words = {"queue": queue.name, "consequence": consequence}
    what = _("No worker takes from the queue “%(queue)s”: %(consequence)s") % words
    command = write_restart(_WORKERS.get(queue.name, f"worker-{queue.name}"))
    return _explain_silence(what, queue, command)


def _explain_task(name: str) -> EngineExplanation:
    consequences = {
        "notifications.tick": _("nothing is pushed."),
        "integrations.tick": _("events, diagnoses and data that were broken off are not taken up again."),
        "accounts.directory_tick": _("no nightly directory run begins, and moves of people stand still."),
        "accounts.people_import_tick": _("imports and exports of people that were broken off are not taken up again."),
        "accounts.purge_audit": _("what is too old in the audit trail is not removed."),
        "notifications.notify_of_owners": _("nobody is told of tokens and channels that lose their owner or expire."),
    }
    words = {"task": name, "consequence": consequences[name], "page": PeriodicTask._meta.verbose_name_plural}
    what = _("The periodic task %(task)s is switched off: %(consequence)s") % words
    fix = _("Switch it on in the administration: %(page)s → %(task)s. Where it is missing, restart beat.")
    return EngineExplanation(what, where=fix % words)


def _explain_tick(state: EngineHealth) -> EngineExplanation:
    if state.tick_seconds is None:
        what = _("Beat and workers are running, but the clock has never ticked.")
    else:
        what = _("Beat and workers are running, but the clock ticked %(time)s ago for the last time.")
        what %= {"time": format_duration(state.tick_seconds)}
    return EngineExplanation(what, where=_say_logs())


def _explain_slots(state: EngineHealth) -> EngineExplanation:
    what = ngettext(
        "%(count)s time of a push or alert rule is overdue, since %(time)s.",
        "%(count)s times of pushes or alert rules are overdue, the oldest since %(time)s.",
        state.overdue_count,
    )
    words = {"count": state.overdue_count, "time": format_duration(state.overdue_seconds)}
    return EngineExplanation(what % words, where=_say_logs())


def _explain_silence(what: str, served: Served, command: str) -> EngineExplanation:
    """Explain that no process of a kind is heard, and when the last one was."""
    heard = _("None has been heard.")
    if served.silent_seconds is not None:
        heard = _("The last one was heard %(time)s ago.") % {"time": format_duration(served.silent_seconds)}
    where = _("Restart it on a server of the product, by systemd or Docker Compose:")
    return EngineExplanation(f"{what} {heard}", where=where, command=command)


def format_duration(seconds: float) -> str:
    """Write a duration roughly: in seconds, minutes or hours."""
    if seconds < 120:
        return ngettext("%(count)d second", "%(count)d seconds", int(seconds)) % {"count": seconds}
    if seconds < 7200:
        return ngettext("%(count)d minute", "%(count)d minutes", int(seconds // 60)) % {"count": seconds // 60}
    return ngettext("%(count)d hour", "%(count)d hours", int(seconds // 3600)) % {"count": seconds // 3600}


def write_restart(service: str, *, unit: str = "") -> str:
    """Write the commands that restart a service, for systemd and for Docker Compose. `unit`: its name if another."""
    return f"systemctl restart guanwecom-{unit or service}\ndocker compose restart {service}"


def _say_logs() -> str:
    return _("All threads of the workers may be busy, or their tasks fail: look into the workers' logs.")
