"""Run the benchmarks, and print a table of their goals: `python -m benchmarks [NAME …]` (`make bench`)."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.goals import FILE_VARIABLE, Goal, read_reported_goals
from tests.services import ENVIRON, UNUSED_DATABASE_URL

ROOT = Path(__file__).resolve().parent.parent
# The settings require these addresses, but nothing connects to them: programs that need servers start their own.
UNUSED_SERVICES = {"DATABASE_URL": UNUSED_DATABASE_URL, "VALKEY_URL": "redis://127.0.0.1:1/0"}
PROGRAMS = ("client_overhead", "sign_in", "push_engine", "chart_push", "pages")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *PROGRAMS], help=", ".join(PROGRAMS))
    return run_benchmarks(parser.parse_args(arguments).names or PROGRAMS, root=ROOT)


def run_benchmarks(names: Sequence[str], *, root: Path) -> int:
    """Run these programs of the repository at `root` and print the table. Return the first exit status that is not 0,
    after all have run."""
    goals: list[Goal] = []
    statuses = []
    for name in names:
        status, found = _run_benchmark(name, root)
        statuses.append(status)
        goals += found
    print(f"\n{format_table(goals)}")
    return next((status for status in statuses if status), 0)


def format_table(goals: Sequence[Goal]) -> str:
    """Return a table with a line for each goal."""
    cells = [("work", "measured", "wanted", "goal")]
    cells += [(goal.work, goal.measured, goal.wanted, goal.word) for goal in goals]
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in zip(*cells, strict=True)]
    return "\n".join(" | ".join(row).rstrip() for row in zip(*padded, strict=True))


def _run_benchmark(name: str, root: Path) -> tuple[int, list[Goal]]:
    """Return the exit status of a program and its goals."""
    print(f"--- {name}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "goals.jsonl"
        env = {**os.environ, **ENVIRON, **UNUSED_SERVICES, FILE_VARIABLE: str(path)}
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        status = subprocess.run(command, cwd=root, env=env, check=False).returncode  # noqa: S603  # our own programs
        goals = read_reported_goals(path)
    return status, [*goals, Goal.of_failure(name, status)] if status and all(one.is_met for one in goals) else goals


if __name__ == "__main__":
    sys.exit(main())
