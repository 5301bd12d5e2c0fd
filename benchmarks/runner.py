"""Servers, measuring processes and result files, which the benchmarks share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import goals
from benchmarks.goals import Goal
from tests.services import ENVIRON
from tools.services import start_postgresql, start_valkey

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Servers:
    """Started servers. `env`: for programs that use them. `pids`: of PostgreSQL and Valkey, by name."""

    env: dict[str, str]
    pids: dict[str, int]


@contextmanager
def run_servers(**environ: str) -> Iterator[Servers]:
    """Run PostgreSQL, without tables, and Valkey. `environ`: settings to measure with."""
    with ExitStack() as exits:
        postgresql = start_postgresql()
        exits.callback(postgresql.stop)
        valkey = start_valkey()
        exits.callback(valkey.stop)
        values = {"DATABASE_URL": postgresql.url, "VALKEY_URL": valkey.url, "LOG_LEVEL": "WARNING"}
        values |= {"DJANGO_SETTINGS_MODULE": "guanwecom.settings", **environ}
        pids = {"postgresql": postgresql.process.pid, "valkey": valkey.process.pid}
        yield Servers({**os.environ, **ENVIRON, **values}, pids)


def migrate(env: dict[str, str]) -> None:
    """Make the tables, in a process of its own."""
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=env, check=True)


def run_and_read(module: str, *arguments: str, env: dict[str, str]) -> Any:
    """Run `python -m benchmarks.module` and return the JSON of the last line it prints. Raise CalledProcessError."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves
    return json.loads(done.stdout.splitlines()[-1])


def run_each(module: str, names: Iterable[str], *arguments: str) -> int:
    """Run `python -m benchmarks.module NAME` for each name: a process can set up Django for one database only. Return
    the highest exit status. If goals are recorded, a process that fails without any counts as a missed one."""
    statuses, path = [0], os.environ.get(goals.FILE_VARIABLE)
    for name in names:
        before = goals.read_reported_goals(path) if path else []
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments, name]
        statuses.append(subprocess.run(command, check=False).returncode)  # noqa: S603  # ourselves
        if path and statuses[-1] and goals.read_reported_goals(path) == before:
            goals.report_goals([Goal.of_failure(f"{module} {name}", statuses[-1])])
    return max(statuses, key=abs)


def read_processor_milliseconds(connection: Any) -> float:
    """Return the processor time so far of this process and of the PostgreSQL process that serves `connection`."""
    connection.ensure_connection()
    nanoseconds = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat").read_text().split()[0]
    return time.process_time() * 1000 + int(nanoseconds) / 1e6


def read_load() -> float:
    """Return the machine's load of the last minute."""
    return round(os.getloadavg()[0], 1)


def add_result(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Add a line to the results `name`.jsonl. Return it: the time, and the figures."""
    line = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", **figures}
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return line


def report_result(name: str, figures: dict[str, Any], reached: Sequence[Goal]) -> int:
    """Store and print the figures, then the goals. Return the exit status: 1 if a goal is missed."""
    line = add_result(name, {**figures, **goals.make_goals_json(reached)})
    print(json.dumps(line, ensure_ascii=False, indent=2))
    return 0 if goals.report_goals(reached) else 1
