"""`python -m tests.chaos.drills [NAME …]`: one fault at a time, under messages that are due second after second.

Prints, of each: how long the fault lasted, how many messages were due at its end and had not arrived, how long after
its end they had, and how many of all messages were lost or doubled. Settings are those of a deployment; programs that
end are started again after as long as systemd waits (deploy/systemd).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import redis

from tests.services import ENVIRON
from tools.services import Service, start_postgresql, start_valkey

if TYPE_CHECKING:
    from tests.e2e.stack import Program, Stack

MESSAGES = 45
FIRST_AFTER_SECONDS, FAULT_AT_SECONDS = 5, 15
# As RestartSec in deploy/systemd.
RESTART_SECONDS = 3
PATIENCE_SECONDS = 300
# For what is sent twice: sooner or later than the one that was waited for.
AFTER_SECONDS = 5
DISK_MEGABYTES = 300


@dataclass
class Site:
    """A running deployment. `network`: what leads to database and broker, where one of the drills cuts it."""

    stack: Stack
    exits: ExitStack
    database: Service
    broker: Service
    disk: Path | None
    programs: dict[str, Program] = field(default_factory=dict)

    def start(self, name: str) -> None:
        begin = {"web": self.stack.begin_web, "worker": self.stack.begin_worker, "beat": self.stack.begin_beat}
        self.programs[name] = begin[name](self.exits)

    def revive(self) -> None:
        """As a service manager does."""
        for service in (self.database, self.broker):
            if service.process.poll() is not None:
                service.restart()
        for name, program in self.programs.items():
            if name != "network" and program.process.poll() is not None:
                time.sleep(RESTART_SECONDS)
                self.start(name)


# --- Faults: each ends when it returns --------------------------------------------------------------------------------


def kill_server(name: str, seconds: float, site: Site) -> None:
    service: Service = getattr(site, name)
    service.kill()
    time.sleep(seconds)
    service.restart()


def kill_program(name: str, site: Site) -> None:
    from tests.chaos.town import kill_with_children

    kill_with_children(site.programs[name])
    time.sleep(RESTART_SECONDS)
    site.start(name)


def freeze(name: str, seconds: float, site: Site) -> None:
    """It does nothing (SIGSTOP), and then goes on."""
    owner = site.programs[name].process if name in site.programs else getattr(site, name).process
    first = psutil.Process(owner.pid)
    processes = [first, *first.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


def fill_disk(seconds: float, site: Site) -> None:
    """The database's, to the last byte."""
    assert site.disk is not None
    ballast = site.disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    time.sleep(seconds)
    ballast.unlink()


def fill_broker(seconds: float, site: Site) -> None:
    with redis.Redis.from_url(site.broker.url) as store:
        store.config_set("maxmemory", 1)
        time.sleep(seconds)
        store.config_set("maxmemory", 0)


FAULTS: dict[str, Callable[[Site], None]] = {
    "postgresql-killed": partial(kill_server, "database", 10),
    "valkey-killed": partial(kill_server, "broker", 10),
    "worker-killed": partial(kill_program, "worker"),
    "beat-killed": partial(kill_program, "beat"),
    "web-killed": partial(kill_program, "web"),
    "disk-full": partial(fill_disk, 15),
    "broker-full": partial(fill_broker, 15),
    "postgresql-stopped": partial(freeze, "database", 15),
    "valkey-stopped": partial(freeze, "broker", 15),
    "worker-stopped": partial(freeze, "worker", 15),
    "beat-stopped": partial(freeze, "beat", 15),
    "partition": partial(freeze, "network", 40),
}


# --- A drill ----------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk() -> Iterator[Path]:
    """Raises CalledProcessError where this user may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="guanwecom-disk-"))
    options = f"size={DISK_MEGABYTES}m,mode=1777"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def servers() -> Iterator[tuple[Service, Service, Path | None]]:
    """PostgreSQL on a small disk of its own, where this user may mount one, and Valkey; named in the environment."""
    with ExitStack() as exits:
        disk = exits.enter_context(small_disk()) if os.geteuid() == 0 else None
        tempfile.tempdir = None if disk is None else str(disk)
        database = start_postgresql(keeps_commits=True)
        tempfile.tempdir = None
        exits.callback(database.stop)
        broker = start_valkey()
        exits.callback(broker.stop)
        names = {"DATABASE_URL": database.url, "VALKEY_URL": broker.url, "DJANGO_SETTINGS_MODULE": "guanwecom.settings"}
        os.environ.update({**ENVIRON, **names, "PYTHONUNBUFFERED": "1"})
        yield database, broker, disk


def lead_over_network(site: Site) -> None:
    """Programs that start from now on reach both servers through one program that can be stopped."""
    from tests.chaos.network import ways
    from tests.e2e.stack import wait_for_log

    command, env = ways(site.database, site.broker, site.stack.folder)
    site.programs["network"] = site.stack.start("network", command, site.exits)
    wait_for_log("leads", site.programs["network"])
    site.stack.env = {**site.stack.env, **env}


def order_messages(first: datetime) -> None:
    """One for each person, a second after the other."""
    from accounts.models import User
    from notifications.models import MessageForm
    from tests.notifications.factories import make_report, make_run, make_subscription

    report = make_report()
    for number, person in enumerate(User.objects.order_by("pk")):
        push = make_subscription(person, report=report, message_form=MessageForm.TEXT, next_run_at=None)
        make_run(push, now=first + timedelta(seconds=number))


@contextmanager
def running_site(*, has_network: bool) -> Iterator[Site]:
    """A company with a person for each message, and one web, worker and beat."""
    with servers() as (database, broker, disk), tempfile.TemporaryDirectory() as folder:
        # Models can be imported once Django knows the servers, which have addresses only now.
        import django

        django.setup()
        from django.core.management import call_command

        from tests.crowd import crowd
        from tests.e2e.stack import wait_for_log
        from tests.sandbox_process import ROOT

        call_command("migrate", verbosity=0)
        with (
            crowd(MESSAGES, env=dict(os.environ), root=ROOT, folder=Path(folder)) as stack,
            ExitStack() as exits,
        ):
            site = Site(stack, exits, database, broker, disk)
            if has_network:
                lead_over_network(site)
            for program in ("web", "worker", "beat"):
                site.start(program)
            stack.wait_for_web()
            wait_for_log("ready.", site.programs["worker"])
            wait_for_log("is starting", site.programs["beat"])
            yield site


def drill(name: str, site: Site) -> dict[str, object]:
    from django.db import connection

    from tests.crowd import arrived_by_person

    before = arrived_by_person(site.stack)
    first = datetime.now(UTC) + timedelta(seconds=FIRST_AFTER_SECONDS)
    order_messages(first)
    connection.close()
    time.sleep(FAULT_AT_SECONDS)
    began = time.monotonic()
    FAULTS[name](site)
    ended = time.monotonic()
    due = min(MESSAGES, int((datetime.now(UTC) - first).total_seconds()))
    held_back = due - (_arrived(site) - before.total())
    recovered = _until_arrived(site, before.total() + due) - ended
    _until_arrived(site, before.total() + MESSAGES)
    time.sleep(AFTER_SECONDS)
    after = arrived_by_person(site.stack)
    counts = {userid: count - before[userid] for userid, count in after.items()}
    return {
        "fault": name,
        "fault_seconds": round(ended - began, 1),
        "held_back": held_back,
        "recovery_seconds": round(max(0.0, recovered), 1),
        "messages": MESSAGES,
        "lost": sum(count == 0 for count in counts.values()),
        "doubled": sum(count > 1 for count in counts.values()),
        "load": round(os.getloadavg()[0], 1),
    }


def _until_arrived(site: Site, count: int) -> float:
    """When so many messages stand on phones, of time.monotonic()."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if _arrived(site) >= count:
            return time.monotonic()
        site.revive()
        time.sleep(0.2)
    return time.monotonic()


def _arrived(site: Site) -> int:
    """How many messages stand on phones."""
    from tests.sandbox_process import CORPID

    return len(site.stack.sandbox.control("GET", f"companies/{CORPID}/messages")["messages"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *FAULTS])
    names = parser.parse_args().names or list(FAULTS)
    on_network = [name for name in names if name == "partition"]
    if 0 < len(on_network) < len(names):
        # In processes of their own: Django is set up once for one database.
        command, others = [sys.executable, "-m", "tests.chaos.drills"], [n for n in names if n not in on_network]
        return max(subprocess.run([*command, *these], check=False).returncode for these in (others, on_network))
    found = []
    with running_site(has_network=bool(on_network)) as site:
        for name in names:
            found.append(drill(name, site))
            sys.stdout.write(json.dumps(found[-1]) + "\n")
            sys.stdout.flush()
    return int(any(one["lost"] or one["doubled"] for one in found))


if __name__ == "__main__":
    sys.exit(main())
