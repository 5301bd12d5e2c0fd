"""Runs all tests, once for each database named: `python -m tools.test sqlite postgresql [-- arguments for pytest]`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.services import DATABASES, find_chromium

ROOT = Path(__file__).resolve().parent.parent
USAGE = f"usage: python -m tools.test {{{'|'.join(DATABASES)}}}... [-- arguments for pytest]"
# One more than processors: the tests that start processes wait most of their time. More than four start more servers
# than they save time.
WORKERS_BESIDE, WORKERS_AT_MOST = 1, 4
INTERRUPTED = 2  # pytest's exit status after Ctrl-C
NO_CHROMIUM = (
    "No Chromium found: the browser tests {what}. Install one (Debian, Ubuntu: apt install chromium), or name the "
    "program in the variable CHROMIUM."
)


def main(arguments: list[str]) -> int:
    """Returns 0 if every run passed, else the first other exit status of pytest. A run that was stopped is the last."""
    databases, for_pytest = split(arguments)
    if not databases or not set(databases) <= set(DATABASES):
        print(USAGE, file=sys.stderr)
        return 2
    if find_chromium() is None:
        if os.environ.get("CI", "").lower() == "true":
            print(NO_CHROMIUM.format(what="cannot run, and CI=true asks for them"), file=sys.stderr)
            return 1
        print(NO_CHROMIUM.format(what="are skipped"), flush=True)
    statuses = []
    for database in databases:
        statuses.append(run_pytest(database, ["--passes", ",".join(databases), *for_pytest]))
        if statuses[-1] < 0 or statuses[-1] == INTERRUPTED:
            break
    return next((abs(status) for status in statuses if status), 0)


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and after the first `--`."""
    position = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:position], arguments[position + 1 :]


def run_pytest(database: str, for_pytest: list[str]) -> int:
    """One run of the suite. The tests of a file share a worker, and what they start; tests/workers.py has the order."""
    workers = min((os.cpu_count() or 1) + WORKERS_BESIDE, WORKERS_AT_MOST)
    parallel = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", "--database", database, *parallel, *for_pytest]
    # Byte code is kept, whatever the environment says: dozens of our programs are started, and two runs read the tests.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
