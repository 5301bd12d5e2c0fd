"""All benchmarks, one after the other: `python -m benchmarks` (`make bench`). Each prints its own figures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.services import ENVIRON

FOLDER = Path(__file__).resolve().parent
# The settings want them; a program that opens some starts its own.
SERVICES = {"DATABASE_URL": "sqlite:////nowhere", "VALKEY_URL": "redis://127.0.0.1:1/0"}
PROGRAMS = (
    *(
        "client_overhead.py",
        "sandbox_throughput.py",
        "sign_in.py",
        "sign_in_rate.py",
        "directory_sync.py",
        "callback_reply.py",
    ),
    *(
        "people_import.py",
        "processes.py",
        "push_engine.py",
        "own_rows.py",
        "receipts_growth.py",
        "chart_push.py",
        "mail_door.py",
    ),
    *("snapshots.py", "load", "pages.py", "fresh_clone.py"),
)


def main() -> int:
    """The first exit status that is not 0, after all have run."""
    statuses = []
    for program in PROGRAMS:
        print(f"--- {program}", flush=True)
        module = f"benchmarks.{Path(program).stem}"
        command = [sys.executable, "-m", module]
        done = subprocess.run(command, cwd=FOLDER.parent, env={**os.environ, **ENVIRON, **SERVICES}, check=False)  # noqa: S603  # our own programs
        statuses.append(done.returncode)
    return next((status for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main())
