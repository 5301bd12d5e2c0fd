"""How soon a process is ready, and what a whole set of them holds at rest: `python -m benchmarks.processes`.

The commands are those of deploy/systemd, in production, with the packages that deploy/install.sh installs and no
others: some of ours import what developers have beside them. They start one after the other; the time of each is read
once it is ready. Then all rest together. Memory is the proportional set size, in which a page that several share counts
once.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from benchmarks import goals, runner
from benchmarks.goals import Goal
from tools.services import free_port

PACKAGES = runner.ROOT / "requirements-charts.txt"
UNITS = runner.ROOT / "deploy" / "systemd"
# The set of the smallest installation; `worker-urgent` comes with a larger one.
NAMES = ("web@1", "web@2", "worker", "worker-data", "worker-charts", "beat")
READY_SECONDS_WANTED, MIGRATE_SECONDS_WANTED, MEGABYTES_WANTED = 3.0, 4.0, 700
READY_WITHIN, REST_WITHIN = 300, 30
# A set rests when it takes less than this share of a processor.
REST_SHARE, LOOK_SECONDS = 0.1, 5


class Unit:
    """One of our services, with its processes."""

    def __init__(self, name: str, env: dict[str, str], folder: Path, exits: ExitStack) -> None:
        self.name, self.port, self.log = name, free_port(), folder / f"{name}.log"
        command = _command(name, folder)
        if name.startswith("web"):
            command += ["--bind", f"127.0.0.1:{self.port}", "--worker-tmp-dir", str(folder)]
        if name == "beat":
            command += ["--pidfile", str(folder / "beat.pid")]
        output = exits.enter_context(self.log.open("wb"))
        self.process = psutil.Popen(command, cwd=runner.ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        exits.callback(self._stop)

    def is_ready(self) -> bool:
        if not self.name.startswith("web"):
            return ("Schedule changed" if self.name == "beat" else "ready.") in self.log.read_text(errors="replace")
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/healthz/ready", timeout=10).ok
        except requests.RequestException:
            return False

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def seconds(self) -> float:
        """Processor time of all its processes."""
        return sum(one.cpu_times().user + one.cpu_times().system for one in self.processes())

    def megabytes(self) -> list[float]:
        return [one.memory_full_info().pss / 2**20 for one in self.processes()]

    def _stop(self) -> None:
        for one in self.processes():  # measured: nothing that they do matters any more
            one.kill()
        self.process.wait()


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, which say little on a busy machine, and of the processor."""

    clock: float
    processor: float

    def __str__(self) -> str:
        return f"{self.processor:5.2f} s of processor, {self.clock:5.2f} s by the clock"


def main() -> int:
    with (
        runner.servers(
            ENVIRONMENT="production", PYTHONUNBUFFERED="1", LOG_LEVEL="INFO", LOG_FORMAT="console"
        ) as servers,
        ExitStack() as exits,
    ):
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        _install(folder)
        before = runner.load()
        migrating = _migrate(folder, servers.env)
        units: list[Unit] = []
        ready = {}
        for name in NAMES:
            started = time.monotonic()
            unit = Unit(name, servers.env, folder, exits)
            units.append(unit)
            _wait(unit.is_ready, READY_WITHIN, unit)
            ready[name] = Spent(time.monotonic() - started, unit.seconds())
        _rest(units)
        held = {unit.name: [round(one, 1) for one in unit.megabytes()] for unit in units}
        _keep([before, runner.load()], migrating, ready, held)
    print("Until ready, and proportional set size at rest (parent, then its children):")
    for name in NAMES:
        print(f"  {name:14} {ready[name]}   {' + '.join(f'{one:.0f}' for one in held[name])} MB")
    slowest = Spent(max(one.clock for one in ready.values()), max(one.processor for one in ready.values()))
    megabytes = sum(map(sum, held.values()))
    wanted = [
        *_goals("migrate from nothing", migrating, MIGRATE_SECONDS_WANTED),
        *_goals("slowest process until ready", slowest, READY_SECONDS_WANTED),
        Goal.of("a set of processes: memory at rest (PSS)", megabytes, "≤", MEGABYTES_WANTED, "MB", digits=1),
    ]
    return 0 if goals.report(wanted) else 1


def _goals(work: str, spent: Spent, seconds: float) -> list[Goal]:
    return [
        Goal.of(f"{work}: of a processor", spent.processor, "≤", seconds, "s", digits=2),
        Goal.of(f"{work}: by the clock", spent.clock, "≤", seconds, "s", digits=2),
    ]


def _install(folder: Path) -> None:
    """What production has, into a virtual environment in `folder`."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True)  # noqa: S603  # our own arguments
    install = [
        *uv,
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--require-hashes",
        "--python",
        str(folder / "venv"),
    ]
    subprocess.run([*install, "-r", str(PACKAGES)], check=True)  # noqa: S603  # our own arguments


def _keep(loads: list[float], migrating: Spent, ready: dict[str, Spent], held: dict[str, list[float]]) -> None:
    figures = {
        "load": loads,
        "migrate_s": round(migrating.processor, 2),
        "migrate_clock_s": round(migrating.clock, 2),
        "ready_s": {name: round(one.processor, 2) for name, one in ready.items()},
        "ready_clock_s": {name: round(one.clock, 2) for name, one in ready.items()},
        "pss_mb": held,
    }
    runner.keep("processes", figures)


def _command(name: str, folder: Path) -> list[str]:
    """As systemd starts it, from this clone."""
    unit = UNITS / f"guanwecom-{name.partition('@')[0]}{'@' if '@' in name else ''}.service"
    [line] = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    program, *arguments = shlex.split(line.removeprefix("ExecStart=").replace("%%", "%"))
    return [str(folder / "venv" / "bin" / Path(program).name), *arguments]


def _migrate(folder: Path, env: dict[str, str]) -> Spent:
    started = time.monotonic()
    command = [str(folder / "venv" / "bin" / "python"), "manage.py", "migrate", "-v", "0"]
    process = psutil.Popen(command, cwd=runner.ROOT, env=env)
    spent = 0.0
    while process.poll() is None:
        try:
            times = process.cpu_times()
        except psutil.Error:  # it has just ended
            break
        spent = times.user + times.system
        time.sleep(0.02)
    if process.wait():
        raise SystemExit("manage.py migrate failed")
    return Spent(time.monotonic() - started, spent)


def _wait(is_ready: Callable[[], bool], seconds: float, unit: Unit) -> None:
    deadline = time.monotonic() + seconds
    while not is_ready():
        if unit.process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{unit.name} does not start:\n{unit.log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _rest(units: list[Unit]) -> None:
    deadline = time.monotonic() + REST_WITHIN
    while time.monotonic() < deadline:
        before = sum(unit.seconds() for unit in units)
        time.sleep(LOOK_SECONDS)
        if sum(unit.seconds() for unit in units) - before < REST_SHARE * LOOK_SECONDS:
            return


if __name__ == "__main__":
    sys.exit(main())
